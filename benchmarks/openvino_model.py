"""A checkpoint as OpenVINO runs it: transformers' model, converted, in fp32 on this processor.

Used by `benchmarks/encode.py --openvino`; neither is a dependency of the package.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HINTS = ("LATENCY", "THROUGHPUT")
TOGETHER = 8
"""Images of one call where the hint is LATENCY; with THROUGHPUT each has a request of its own, several at once."""


def compiled(folder: Path) -> dict[str, Any]:
    """The model of a checkpoint's folder by the hint it was compiled with."""
    if importlib.util.find_spec("openvino") is None:
        sys.exit("openvino is not installed; `pip install openvino` does it")
    import torch
    from transformers import AutoModel

    openvino = importlib.import_module("openvino")

    class ClassToken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(folder).eval()

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values).last_hidden_state[:, 0]

    with torch.inference_mode():
        model = openvino.convert_model(ClassToken().eval(), example_input=torch.zeros(1, 3, 224, 224))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return {hint: openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": hint, **exact}) for hint in HINTS}


def runner(model: Any, hint: str, pixels: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
    """A function from these pixels, (n, 3, height, width), to class tokens (n, width)."""
    openvino = importlib.import_module("openvino")

    def at_once() -> NDArray[np.float32]:
        parts = [model(pixels[at : at + TOGETHER])[0] for at in range(0, len(pixels), TOGETHER)]
        return np.concatenate(parts)

    def side_by_side() -> NDArray[np.float32]:
        rows: dict[int, NDArray[np.float32]] = {}
        queue = openvino.AsyncInferQueue(model)
        queue.set_callback(lambda request, at: rows.update({at: np.array(request.get_output_tensor().data[0])}))
        for at in range(len(pixels)):
            queue.start_async(pixels[at : at + 1], at)
        queue.wait_all()
        return np.stack([rows[at] for at in range(len(pixels))])

    return at_once if hint == "LATENCY" else side_by_side
