"""Small ONNX graphs whose outputs can be computed by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
Shape = Sequence[int | str]


def write(
    path: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[int, Shape | None]],
    outputs: Mapping[str, tuple[int, Shape | None]],
    stored: dict[str, NDArray[Any]] | None = None,
    functions: Sequence[tuple[str, int]] = (("", 17),),
) -> Path:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in functions]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def colours(path: Path, shape: Shape = ("n", 3, 4, 4), kind: int = FLOAT) -> Path:
    """(n, 3, height, width) to the mean of each channel, (n, 3): a vector that has the colours in order."""
    nodes = [node("Cast", "image", "full", to=FLOAT), node("ReduceMean", "full", "vector", axes=[2, 3], keepdims=0)]
    return write(path, nodes, {"image": (kind, shape)}, {"vector": (FLOAT, (shape[0], 3))})


def colours_of_rows(path: Path, shape: Shape = ("n", 4, 4, 3), kind: int = BYTE) -> Path:
    """(n, height, width, 3) to the mean of each channel, (n, 3)."""
    nodes = [node("Cast", "image", "full", to=FLOAT), node("ReduceMean", "full", "vector", axes=[1, 2], keepdims=0)]
    return write(path, nodes, {"image": (kind, shape)}, {"vector": (FLOAT, (shape[0], 3))})


def tokens(path: Path, with_class: bool = True) -> Path:
    """(n, 3, 4, 4) to its 16 pixels as tokens of 3 numbers; the class token before them is the largest of each."""
    nodes = [
        node("Reshape", "image sixteen", "flat"),
        node("Transpose", "flat", "pixels", perm=[0, 2, 1]),
        node("ReduceMax", "pixels", "largest", axes=[1], keepdims=1),
        node("Concat", "largest pixels", "tokens", axis=1) if with_class else node("Identity", "pixels", "tokens"),
    ]
    count = 17 if with_class else 16
    stored = {"sixteen": np.array([0, 3, 16], np.int64)}
    return write(path, nodes, {"image": (FLOAT, ("n", 3, 4, 4))}, {"tokens": (FLOAT, ("n", count, 3))}, stored)


def maps(path: Path) -> Path:
    """(n, 3, 4, 4) to a feature map that is the picture itself."""
    shape = ("n", 3, 4, 4)
    return write(path, [node("Identity", "image", "map")], {"image": (FLOAT, shape)}, {"map": (FLOAT, shape)})


def weighted(path: Path, location: str | None = None, data: bool = True) -> Path:
    """The colours times 1, 2, 3; these three numbers lie in a file of their own where `location` names one."""
    import onnx

    nodes = [node("ReduceMean", "image", "means", axes=[2, 3], keepdims=0), node("Mul", "means weights", "vector")]
    stored = {"weights": np.array([1, 2, 3], np.float32)}
    write(path, nodes, {"image": (FLOAT, ("n", 3, 4, 4))}, {"vector": (FLOAT, ("n", 3))}, stored)
    if location is None:
        return path
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    raw = tensor.raw_data
    if data:
        (path.parent / location).write_bytes(raw)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(raw)))):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path
