"""A graph on ONNX Runtime to the time that each kind of operator takes, and its arithmetic speed.

Used by `benchmarks/encode.py --operators`. ONNX Runtime's own profile has the time and the shapes of every node.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.build import POSITIONS, BuiltGraphs
from lookalike.encoders.graph import CLS
from lookalike.encoders.graph_files import SLOW_FUSIONS, graph_options
from lookalike.utils.cores import cores

Event = dict[str, Any]
Shape = list[int]
HEAD = ["", "operator", "nodes", "of the time", "ms an image", "GFLOP an image", "GFLOP/s", "of peak", "time over peak"]


@dataclass
class Cost:
    """What the nodes of one kind took in one run."""

    nodes: int = 0
    seconds: float = 0.0
    operations: float = 0.0

    def add(self, seconds: float, operations: float, nodes: int = 1) -> None:
        self.nodes, self.seconds, self.operations = (
            self.nodes + nodes,
            self.seconds + seconds,
            self.operations + operations,
        )


def _product(inputs: list[Shape], outputs: list[Shape]) -> float:
    """A matrix product: the last side of the rows is summed over."""
    return 2.0 * math.prod(outputs[0]) * inputs[0][-1]


def _convolution(inputs: list[Shape], outputs: list[Shape]) -> float:
    return 2.0 * math.prod(outputs[0]) * math.prod(inputs[1][1:])


def _attention(inputs: list[Shape], _: list[Shape]) -> float:
    """Two products: queries with keys, and what comes of it with values."""
    return 4.0 * math.prod(inputs[0]) * inputs[1][1]


def _nothing(_: list[Shape], __: list[Shape]) -> float:
    return 0.0


OPERATIONS: dict[str, Callable[[list[Shape], list[Shape]], float]] = {
    "Gemm": _product,
    "DynamicQuantizeMatMul": _product,
    "MatMulIntegerToFloat": _product,
    "Conv": _convolution,
    "MultiHeadAttention": _attention,
}
"""Multiplications and additions by the shapes of inputs and outputs; of the other operators they count for nothing."""


def profile(built: BuiltGraphs, precision: str, pixels: NDArray[np.uint8], rounds: int) -> dict[str, Cost]:
    """Kinds of operators to their cost in the fastest of some runs, the most costly first.

    "between" is the time of the run in which no operator was at work.
    """
    import onnxruntime

    options, patch = graph_options(precision, cores()), built.architecture.patch
    stored = np.load(built.folder / POSITIONS, allow_pickle=False)
    positions = built.architecture.place(stored, pixels.shape[1] // patch, pixels.shape[2] // patch)
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            built.folder / CLS, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
        for _ in range(rounds + 1):  # the first warms up
            session.run(None, {"pixels": pixels, "positions": positions})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return costs(events)


def costs(events: list[Event]) -> dict[str, Cost]:
    """The events of a profile to the costs of its fastest run."""
    run = min((event for event in events if event["name"] == "model_run"), key=lambda event: float(event["dur"]))
    found: dict[str, Cost] = {}
    for kind, seconds, operations in _nodes(events, run):
        found.setdefault(kind, Cost()).add(seconds, operations)
    busy = sum(cost.seconds for cost in found.values())
    found["between"] = Cost(0, run["dur"] / 1e6 - busy)
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def _nodes(events: list[Event], run: Event) -> Iterator[tuple[str, float, float]]:
    """Kind, seconds and operations of every node of a run."""
    for event in events:
        if event["name"].endswith("_kernel_time") and run["ts"] <= event["ts"] < run["ts"] + run["dur"]:
            kind = event["args"]["op_name"]
            inputs, outputs = (_shapes(event["args"][f"{side}_type_shape"]) for side in ("input", "output"))
            yield kind, event["dur"] / 1e6, OPERATIONS.get(kind, _nothing)(inputs, outputs)


def _shapes(described: list[dict[str, Shape]]) -> list[Shape]:
    return [shape for value in described for shape in value.values()]


def rows(label: str, kinds: dict[str, Cost], images: int, peak: float) -> list[list[str]]:
    """A row a kind and one for all; `peak` in GFLOP/s. Kinds under one per cent of the time are one row."""
    whole = Cost()
    for cost in kinds.values():
        whole.add(cost.seconds, cost.operations, cost.nodes)
    shown, rest = {"all": whole}, Cost()
    for kind, cost in kinds.items():
        if cost.seconds >= whole.seconds / 100:
            shown[kind] = cost
        else:
            rest.add(cost.seconds, cost.operations, cost.nodes)
    return [[label, *_row(kind, cost, whole, images, peak)] for kind, cost in (shown | {"others": rest}).items()]


def _row(kind: str, cost: Cost, whole: Cost, images: int, peak: float) -> list[str]:
    needed = cost.operations / peak / 1e9
    speed = cost.operations / cost.seconds / 1e9 if cost.seconds else 0.0
    over = f"{(cost.seconds - needed) / whole.seconds:.1%}"
    times = [f"{cost.seconds / whole.seconds:.1%}", f"{1000 * cost.seconds / images:.2f}"]
    if not cost.operations:
        return [kind, str(cost.nodes), *times, "", "", "", over]
    arithmetic = [f"{cost.operations / images / 1e9:.2f}", f"{speed:.0f}", f"{speed / peak:.0%}"]
    return [kind, str(cost.nodes), *times, *arithmetic, over]
