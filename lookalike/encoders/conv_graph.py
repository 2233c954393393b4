"""Convolutional networks to ONNX: pixels in, one vector an image out; no torch, no exporter.

Batch norms are folded into the convolutions before them, and the deviation of the pixels into the first one. Their mean
is subtracted in the graph: a convolution pads with zeros, which must mean "the mean of all pictures" and not black.

In int8 a convolution is written between QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses to one operator.
Weights have a scale a channel; activations have one for the whole map, from ranges that were measured once, so that a
vector depends on its own picture alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError
from lookalike.utils.onnx_writer import Graph, Weights

VERSION = 2  # of the graphs; a change rebuilds every cached graph
MODEL, MAP_MODEL, WEIGHTS = "model.onnx", "map.onnx", "weights.bin"
PIXELS, VECTORS, MAP = "pixels", "vectors", "map"
Tensors = Mapping[str, NDArray[Any]]
Ranges = Mapping[str, tuple[float, float]]
"""The least and largest value of an activation, by its name in the graph."""


class Checkpoint:
    """The tensors of a file, whose names and shapes are checked where they are used."""

    def __init__(self, path: Path, tensors: Tensors, kind: str) -> None:
        """`kind` is what the file should hold, for messages."""
        self.path, self._tensors, self._kind = path, tensors, kind
        self._used: set[str] = set()

    def tensor(self, name: str, *shape: int) -> NDArray[np.float64]:
        """A tensor of this shape, in double precision; raises EncoderError."""
        self._used.add(name)
        if name not in self._tensors:
            raise EncoderError(f"{self.path} has no tensor {name}; it is no checkpoint of {self._kind}")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise EncoderError(f"{self.path}: tensor {name} has shape {tensor.shape}, not {shape} as in {self._kind}")
        if not np.isfinite(tensor).all():
            raise EncoderError(f"{self.path}: tensor {name} holds a NaN or an infinity; fetch the file again")
        return np.asarray(tensor, np.float64)

    def refuse_others(self) -> None:
        """Raise EncoderError for a tensor that was not used: it is of another, larger network."""
        others = sorted(name for name in {*self._tensors} - self._used if not name.endswith("num_batches_tracked"))
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise EncoderError(f"{self.path} has a tensor {others[0]!r}{more} that {self._kind} has not")


@dataclass(frozen=True)
class Layer:
    """A convolution as networks describe it; `padding` None is TensorFlow's SAME: an odd number more at the end."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    padding: int | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of its weight."""
        return (self.outputs, 1 if self.depthwise else self.inputs, self.kernel, self.kernel)

    def attributes(self) -> dict[str, Any]:
        """The attributes of ONNX' Conv."""
        padding = {"auto_pad": "SAME_UPPER"} if self.padding is None else {"pads": [self.padding] * 4}
        group = self.inputs if self.depthwise else 1
        return {"kernel_shape": [self.kernel] * 2, "strides": [self.stride] * 2, "group": group, **padding}


@dataclass
class ConvGraph:
    """A graph under construction; each method adds nodes and returns the name of their output."""

    checkpoint: Checkpoint
    weights: Weights
    epsilon: float
    ranges: Ranges | None = None
    """What int8 needs; None for fp32."""
    graph: Graph = field(init=False)
    observable: list[str] = field(default_factory=list)
    """The activations of which int8 needs the range."""

    def __post_init__(self) -> None:
        self.graph = Graph(self.weights)
        self._scales: dict[str, float] = {}  # of activations in 8 bits, by their names

    def pixels(self, mean: NDArray[np.float64]) -> str:
        """The input: pixels (n, height, width, 3) uint8 to planes with this mean (3,) of the channels subtracted."""
        self.graph.input(PIXELS, "uint8", ("n", "height", "width", 3))
        floats = self.graph.add("Cast", [PIXELS], "floats", to=1)
        centred = self.graph.add("Sub", [floats, self._constant("mean", mean)], "centred")
        return self.graph.add("Transpose", [centred], "planes", perm=[0, 3, 1, 2])

    def rounded_conv(self, source: str, name: str, norm: str, layer: Layer) -> str:
        """A convolution as `conv`, which is in int8 where there are ranges."""
        restored = self.rounded(source)
        if self.ranges is None:
            return self.conv(source, name, norm, layer)
        weight, bias = self._folded(name, norm, layer)
        scales = np.abs(weight).max(axis=(1, 2, 3)) / 127
        scales = np.where(scales > 0, scales, 1.0)
        products = scales * self._scales[restored]
        integers = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
        sums = np.clip(np.rint(bias / products), -(2**31), 2**31 - 1).astype(np.int32)
        weights = self._restored(f"{name}.w8", integers, scales), self._restored(f"{name}.b32", sums, products)
        return self.graph.add("Conv", [restored, *weights], f"{name}.out", **layer.attributes())

    def rounded(self, source: str) -> str:
        """The activation in 8 bits where there are ranges; else itself, noted as observable."""
        if self.ranges is None:
            self.observable += [source] if source not in self.observable else []
            return source
        restored = f"{source}.rounded"
        if source in self._scales or restored in self._scales:
            return source if source in self._scales else restored
        # The fp32 graph, of which the ranges are, has the same names without this word.
        self._scales[restored], zero = _scale(*self.ranges[source.replace(".rounded", "")])
        scale = self._constant(f"{source}.scale", np.array(self._scales[restored]))
        places = [scale, self.graph.constant(f"{source}.zero", np.array(zero, np.uint8))]
        small = self.graph.add("QuantizeLinear", [source, *places], f"{source}.small")
        return self.graph.add("DequantizeLinear", [small, *places], restored)

    def conv(
        self, source: str, name: str, norm: str, layer: Layer, deviation: NDArray[np.float64] | None = None
    ) -> str:
        """A convolution and the batch norm after it; `deviation` (inputs,) divides what comes in."""
        weight, bias = self._folded(name, norm, layer)
        if deviation is not None:
            weight = weight / deviation[:, None, None]
        inputs = [source, *(self._constant(f"{name}.{part}", array) for part, array in (("w", weight), ("b", bias)))]
        return self.graph.add("Conv", inputs, f"{name}.out", **layer.attributes())

    def relu(self, source: str, most: float | None = None) -> str:
        """max(0, x), or with `most` (6 in mobile networks) no more than that."""
        if most is None:
            return self.graph.add("Relu", [source], f"{source}.relu")
        bounds = [self._constant(f"bound.{value}", np.array(value)) for value in (0.0, most)]
        return self.graph.add("Clip", [source, *bounds], f"{source}.relu")

    def add(self, source: str, other: str) -> str:
        """A residual connection."""
        return self.graph.add("Add", [source, other], f"{source}.sum")

    def max_pool(self, source: str, kernel: int, stride: int, padding: int) -> str:
        """The largest value of each window."""
        sides, strides, pads = [kernel] * 2, [stride] * 2, [padding] * 4
        return self.graph.add("MaxPool", [source], f"{source}.pool", kernel_shape=sides, strides=strides, pads=pads)

    def mean(self, source: str) -> str:
        """The mean of a map: (n, channels)."""
        return self.graph.add("ReduceMean", [source], f"{source}.mean", axes=[2, 3], keepdims=0)

    def gem(self, source: str, power: float, least: float) -> str:
        """The generalised mean of a map whose values are at least `least`: (n, channels)."""
        clipped = self.graph.add("Max", [source, self._constant("gem.least", np.array(least))], f"{source}.clipped")
        raised = self.graph.add("Pow", [clipped, self._constant("gem.power", np.array(power))], f"{source}.raised")
        mean = self.mean(raised)
        return self.graph.add("Pow", [mean, self._constant("gem.root", np.array(1 / power))], f"{source}.gem")

    def write_map(self, source: str, channels: int, folder: Path) -> None:
        """Write a model of its own, with the same weights, whose output is this map (n, channels, rows, columns)."""
        graph = self.graph.copy()
        graph.output(graph.add("Identity", [source], MAP), "float32", ("n", channels, "rows", "columns"))
        graph.write(folder / MAP_MODEL)

    def linear(self, source: str, name: str, inputs: int, outputs: int) -> str:
        """A linear layer with its bias."""
        weight = self._constant(f"{name}.w", self.checkpoint.tensor(f"{name}.weight", outputs, inputs))
        bias = self._constant(f"{name}.b", self.checkpoint.tensor(f"{name}.bias", outputs))
        return self.graph.add("Gemm", [source, weight, bias], f"{name}.out", transB=1)

    def write(self, source: str, dim: int, folder: Path, observe: bool = False) -> None:
        """Make (n, dim) the output, with `observe` what is observable too, and write the model."""
        for name in self.observable if observe else ():
            self.graph.output(name, "float32", ("n", f"{name} channels", f"{name} rows", f"{name} columns"))
        self.graph.output(self.graph.add("Identity", [source], VECTORS), "float32", ("n", dim))
        self.graph.write(folder / MODEL)

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        return self.graph.constant(name, np.asarray(array, np.float32))

    def _restored(self, name: str, integers: NDArray[Any], scales: NDArray[np.float64]) -> str:
        """Integers with a scale for each output channel, as floats."""
        inputs = [self.graph.constant(name, integers), self._constant(f"{name}.scale", scales)]
        if integers.dtype == np.int8:
            inputs.append(self.graph.constant(f"{name}.zero", np.zeros(len(scales), np.int8)))
        return self.graph.add("DequantizeLinear", inputs, f"{name}.restored", axis=0)

    def _folded(self, name: str, norm: str, layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight and bias of the convolution with its batch norm."""
        gamma, beta, mean, variance = (
            self.checkpoint.tensor(f"{norm}.{part}", layer.outputs)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance < 0).any():
            raise EncoderError(f"{self.checkpoint.path}: tensor {norm}.running_var has numbers below zero")
        scale = gamma / np.sqrt(variance + self.epsilon)
        weight = self.checkpoint.tensor(f"{name}.weight", *layer.shape)
        return weight * scale[:, None, None, None], beta - mean * scale


def _scale(least: float, most: float) -> tuple[float, int]:
    """The scale of 8 bits that cover a range, and the integer that stands for zero, which is in the range."""
    scale = (max(0.0, most) - min(0.0, least)) / 255 or 1.0
    return scale, round(-min(0.0, least) / scale)
