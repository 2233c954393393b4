"""An ONNX file to a session on ONNX Runtime: a file of `graph`, or an untrusted one whose references are checked."""

import functools
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.protobuf import Buffer, fields, reading
from lookalike.errors import EncoderError

# Field numbers of onnx.proto3: the fields of each message in which a tensor can be nested, and the messages they hold.
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
# ONNX Runtime would fuse operators that `graph` separates because they are faster apart.
SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasSkipLayerNormFusion"]
DEEPEST = 100
# The name under which ONNX Runtime looks for weights at an address in its own memory.
MEMORY = "_ORT_MEM_ADDR_"
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def open_session(path: Path, threads: int = 0, rounded: bool = False) -> Any:
    """An ONNX Runtime session of this file on the CPU; `threads` 0: one per core. `rounded`: its products are int8.

    Raises EncoderError for a file that is missing, no ONNX graph, or keeps its weights outside its own folder.
    """
    check_external(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if rounded and not _adds_products_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    # The errors of ONNX Runtime have no common base class.
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EncoderError(f"{path} cannot be loaded by ONNX Runtime ({_line(error)})") from error


def open_graph(path: Path, precision: str, threads: int) -> Any:
    """A session of a graph that `graph` wrote; raises EncoderError where ONNX Runtime cannot use it."""
    import onnxruntime

    options = graph_options(precision, threads)
    # The errors of ONNX Runtime have no common base class.
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise EncoderError(f"{path.parent} cannot be used ({reason}); delete it, and it is made again") from error


def graph_options(precision: str, threads: int) -> Any:
    """ONNX Runtime's options for a graph that `graph` wrote."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if precision == "fp32":
        # Repacking the weights costs half a second and a second copy in memory, and makes nothing faster: they are used
        # as mapped from the file.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    elif not _adds_products_exactly():
        # Slower by half, but correct.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@functools.cache
def _adds_products_exactly() -> bool:
    """False for Intel and AMD processors without VNNI: they add int8 products in 16 bits, which may overflow."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def run_session(session: Any, path: Path, inputs: dict[str, Any], outputs: list[str] | None = None) -> list[Any]:
    """The outputs of one run; raises EncoderError where the graph does not take the inputs."""
    try:
        return list(session.run(outputs, inputs))
    except Exception as error:
        raise EncoderError(f"{path} failed ({_line(error)})") from error


def rows_of(session: Any, path: Path, inputs: dict[str, Any], output: str) -> NDArray[np.float32]:
    """One output of one run, as float32; raises EncoderError."""
    return np.asarray(run_session(session, path, inputs, [output])[0], np.float32)


def check_external(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights; raises EncoderError for one outside its folder."""
    locations = inner_locations(path)
    if missing := next((location for location in locations if not (path.parent / location).is_file()), None):
        raise EncoderError(f"{path} needs {missing!r} beside it, which is missing")
    return [path.parent / location for location in locations]


def inner_locations(path: Path) -> list[str]:
    """As `external_locations`; raises EncoderError for one outside the folder of the file."""
    locations = external_locations(path)
    for location in locations:
        inner, windows = PurePosixPath(location), PureWindowsPath(location)
        is_outside = inner.is_absolute() or windows.drive or windows.root or ".." in (*inner.parts, *windows.parts)
        if is_outside or MEMORY in location:
            raise EncoderError(f"{path} wants to read {location!r}, which is outside its folder; do not use this file")
    return locations


def external_locations(path: Path) -> list[str]:
    """The names of the files that hold the weights of an ONNX file, read without loading it."""
    with reading(path) as model:
        return sorted(set(_locations(model, "model", 0)))


def _locations(message: Buffer, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    nested = NESTED[kind]
    for field, value in fields(message):
        if nested.get(field) == "entry":
            entry = dict(fields(value))
            if bytes(entry.get(1, b"")) == b"location":
                yield bytes(entry.get(2, b"")).decode("utf-8")
        elif field in nested:
            yield from _locations(value, nested[field], depth + 1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
