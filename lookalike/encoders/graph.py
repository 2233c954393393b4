"""A DINOv2 or DINOv3 checkpoint to ONNX graphs, written tensor by tensor: no torch, no exporter.

The inputs are pixels (n, height, width, 3) uint8 and the positions of their grid (learned embeddings, or the rotations
of queries and keys), so that one graph serves every size. Mean and deviation are folded into the patch convolution,
LayerScale into the projections before it. The tokens of all images form one matrix, so that a projection with its bias
is one operator; only attention separates them by image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.checkpoint import AnyArchitecture, AnyCheckpoint
from lookalike.encoders.rotation import Rotated
from lookalike.encoders.tensors import Tensor
from lookalike.utils.onnx_writer import Graph, Weights

VERSION = 3  # of the graphs; a change rebuilds every cached graph
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WEIGHTS, CLS, TOKENS = "weights.bin", "cls.onnx", "tokens.onnx"
GELU_ZERO, SWIGLU_ZERO = 24, 128  # the uint8 that stands for 0: what GELU returns is above -0.17, so most is positive
END = np.iinfo(np.int64).max
Block = Callable[[str], Tensor]
Readout = tuple[Tensor, Tensor]


def write_graphs(checkpoint: AnyCheckpoint | Rotated, folder: Path, readout: Readout | None = None) -> None:
    """Write cls.onnx (class token, (n, 1, width)), tokens.onnx (all tokens) and their weights.bin into `folder`.

    With `readout`, that of a `Rotated` checkpoint, projections are int8, but for those that cls.onnx computes for the
    class token alone. Rounding these made a quarter of the error on trained weights, and a row takes no time.
    """
    with (folder / WEIGHTS).open("wb") as file:
        writer = _Writer(checkpoint, Graph(Weights(file, WEIGHTS)), readout)
        writer.trunk()
        class_only = writer.fork()
        writer.end(folder / TOKENS)
        class_only.end(folder / CLS, only_class=True)


@dataclass
class _Writer:
    """`stream` is the name of the current residual stream, (n * tokens, width)."""

    checkpoint: AnyCheckpoint | Rotated
    graph: Graph
    readout: Readout | None = None
    stream: str = ""
    class_alone: bool = False  # whether the stream is down to the class tokens

    @property
    def shape(self) -> AnyArchitecture:
        return self.checkpoint.architecture

    def fork(self) -> "_Writer":
        """A copy of the graph so far, for another ending."""
        return _Writer(self.checkpoint, self.graph.copy(), self.readout, self.stream)

    def trunk(self) -> None:
        """All but the last block."""
        self._embed()
        for number in range(self.shape.depth - 1):
            self._block(number)

    def end(self, path: Path, only_class: bool = False) -> None:
        """Write the last block and norm; for the class token alone they take a quarter of the work."""
        self._block(self.shape.depth - 1, only_class)
        tensor = self.checkpoint.tensor
        rows = self._norm("out", tensor("layernorm.weight"), tensor("layernorm.bias"))
        if self.readout:
            weight, bias = self.readout
            rows = self._exact("readout", rows, weight, self._constant("readout bias", bias))
        self._split_images(rows, "tokens")
        self.graph.output("tokens", "float32", ["n", "t", self.shape.width])
        self.graph.write(path)

    def _embed(self) -> None:
        graph, shape, tensor = self.graph, self.shape, self.checkpoint.tensor
        pixels = graph.input("pixels", "uint8", ["n", "h", "w", 3])
        images = graph.add("Shape", [pixels], "images", start=0, end=1)
        for name, width in {"by image": shape.width, "by image, thirds": 3 * shape.width}.items():
            graph.add("Concat", [images, self._ints(f"{name}: sides", -1, width)], name, axis=0)
        floats = graph.add("Cast", [pixels], "floats", to=1)
        planes = graph.add("Transpose", [floats], "planes", perm=[0, 3, 1, 2])
        weight, bias = _patch_projection(tensor)
        inputs = [planes, graph.constant("patch weight", weight), graph.constant("patch bias", bias)]
        side = [shape.patch, shape.patch]
        grid = graph.add("Conv", inputs, "grid", kernel_shape=side, strides=side)
        flat = graph.add("Reshape", [grid, self._ints("flat shape", 0, shape.width, -1)], "flat")
        patches = graph.add("Transpose", [flat], "patches", perm=[0, 2, 1])
        self.stream = self._join_images(self._rotated(patches) if shape.rotary else self._placed(patches), "stream")

    def _placed(self, patches: str) -> str:
        """All tokens, with learned position embeddings added."""
        graph, shape = self.graph, self.shape
        positions = graph.input("positions", "float32", [1, "p", shape.width])
        joined = graph.add("Concat", [self._repeated("cls_token", 1), patches], "joined", axis=1)
        placed = graph.add("Add", [joined, positions], "placed")
        if shape.registers:  # they follow the class token, and have no position
            parts = [self._slice("placed", "class row", 0, 1), self._repeated("register_tokens", shape.registers)]
            parts.append(self._slice("placed", "patch rows", 1, END))
            placed = graph.add("Concat", parts, "with registers", axis=1)
        return placed

    def _rotated(self, patches: str) -> str:
        """All tokens, without positions: queries and keys are rotated in each block, by the cosines and sines here."""
        graph, half = self.graph, self.shape.width // self.shape.heads // 2
        positions = graph.input("positions", "float32", [2, "p", half])
        for number, name in enumerate(("cosines", "sines")):
            graph.add("Gather", [positions, graph.constant(f"{name} at", np.array(number))], name, axis=0)
        tokens = [self._repeated("cls_token", 1), self._repeated("register_tokens", self.shape.registers), patches]
        return graph.add("Concat", tokens, "joined", axis=1)

    def _rotate(self, value: str) -> str:
        """Queries or keys of all tokens, turned by their positions."""
        inputs = [value, self._ints("first position", 0), "cosines", "sines"]
        return self.graph.fused("RotaryEmbedding", inputs, f"{value} rotated")

    def _repeated(self, name: str, rows: int) -> str:
        """Learned tokens, repeated for each image of the batch."""
        graph, inputs = self.graph, ["images", self._ints(f"{name} rows", rows, self.shape.width)]
        size = graph.add("Concat", inputs, f"{name} size", axis=0)
        token = graph.constant(name, self.checkpoint.tensor(f"embeddings.{name}"))
        return graph.add("Expand", [token, size], f"{name} of each")

    def _block(self, number: int, only_class: bool = False) -> None:
        block, at = self.checkpoint.block(number), f"block {number}"
        self._attention(at, block, block("layer_scale1.lambda1"), only_class)
        feed_forward = self._swiglu if self.shape.swiglu else self._mlp
        feed_forward(at, block, block("layer_scale2.lambda1"))

    def _attention(self, at: str, block: Block, factor: Tensor, only_class: bool) -> None:
        names = [f"attention.attention.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([_weight(block, name) for name in names], axis=1)
        bias = np.concatenate([block(f"{name}.bias") for name in names])
        out = _weight(block, "attention.output.dense") * factor
        normal = self._norm(f"{at} norm1", block("norm1.weight"), block("norm1.bias"))
        joint = self._split_images(self._linear(f"{at} qkv", normal, weight, bias), f"{at} qkv of each", 3)
        query, key, value = (f"{at} {part}" for part in ("query", "key", "value"))
        sizes = self._ints("thirds", *[self.shape.width] * 3)
        self.graph.add("Split", [joint, sizes], query, key, value, axis=2)
        if self.shape.rotary:
            query, key = self._rotate(query), self._rotate(key)
        if only_class:
            query = self._slice(query, f"{at} class query", 0, 1)
            stream = self._split_images(self.stream, f"{at} stream of each")
            self.stream = self._join_images(self._slice(stream, f"{at} class stream", 0, 1), f"{at} class rows")
            self.class_alone = True
        mixed = self.graph.fused("MultiHeadAttention", [query, key, value], f"{at} mixed", num_heads=self.shape.heads)
        attended = self._join_images(mixed, f"{at} attended")
        output_bias = block("attention.output.dense.bias") * factor
        self._add(self._linear(f"{at} out", attended, out, output_bias))

    def _mlp(self, at: str, block: Block, factor: Tensor) -> None:
        normal = self._norm(f"{at} norm2", block("norm2.weight"), block("norm2.bias"))
        hidden = self._linear(f"{at} fc1", normal, _weight(block, "mlp.fc1"), block("mlp.fc1.bias"))
        active = self.graph.fused("Gelu", [hidden], f"{at} gelu")
        down = _weight(block, "mlp.fc2") * factor
        self._add(self._linear(f"{at} fc2", active, down, block("mlp.fc2.bias") * factor, GELU_ZERO))

    def _swiglu(self, at: str, block: Block, factor: Tensor) -> None:
        graph = self.graph
        normal = self._norm(f"{at} norm2", block("norm2.weight"), block("norm2.bias"))
        both = self._linear(f"{at} in", normal, _weight(block, "mlp.weights_in"), block("mlp.weights_in.bias"))
        sizes = self._ints("halves", self.shape.hidden, self.shape.hidden)
        graph.add("Split", [both, sizes], f"{at} gate", f"{at} up", axis=1)
        gate = graph.fused("QuickGelu", [f"{at} gate"], f"{at} silu", alpha=1.0)  # x * sigmoid(x)
        active = graph.add("Mul", [gate, f"{at} up"], f"{at} gated")
        down = _weight(block, "mlp.weights_out") * factor
        self._add(self._linear(f"{at} down", active, down, block("mlp.weights_out.bias") * factor, SWIGLU_ZERO))

    def _norm(self, name: str, gamma: Tensor, beta: Tensor) -> str:
        # ONNX Runtime's SkipLayerNormalization, which adds too, takes five times as long as the two operators.
        inputs = [self.stream, self._constant(f"{name} gamma", gamma), self._constant(f"{name} beta", beta)]
        return self.graph.add("LayerNormalization", inputs, name, axis=-1, epsilon=self.shape.epsilon)

    def _add(self, value: str) -> None:
        self.stream = self.graph.add("Add", [self.stream, value], f"{value} added")

    def _linear(self, name: str, value: str, weight: Tensor, bias: Tensor, zero: int | None = None) -> str:
        """Rows times a weight (in, out), plus a bias; with `zero`, in int8 every row has a scale of its own."""
        bias_name = self._constant(f"{name} bias", bias)
        if self.readout is None or self.class_alone:
            return self._exact(name, value, weight, bias_name)
        rounded, scales = quantized(weight)
        inputs = [self._constant(f"{name} int8", rounded), self._constant(f"{name} scales", scales)]
        if zero is not None:
            return self._by_row(name, value, inputs, bias_name, zero)
        return self.graph.fused("DynamicQuantizeMatMul", [value, *inputs, "", bias_name], name)

    def _exact(self, name: str, value: str, weight: Tensor, bias: str) -> str:
        return self.graph.add("Gemm", [value, self._constant(f"{name} weight", weight), bias], name)

    def _by_row(self, name: str, value: str, weight: list[str], bias: str, zero: int) -> str:
        """An int8 product whose rows are rounded each by its own range: nothing evens out the hidden layer's."""
        graph, scale = self.graph, self._row_scales(name, value, zero)
        zeros = [self._constant(f"zero {zero}", np.array(zero, np.uint8)), graph.add("Shape", [scale], f"{name} rows")]
        rounded = [value, scale, graph.add("Expand", zeros, f"{name} zeros")]
        graph.add("QuantizeLinear", rounded, f"{name} uint8", axis=0)
        inputs = [f"{name} uint8", weight[0], self._constant("one", np.array(1, np.float32)), weight[1], zeros[0]]
        product = graph.fused("MatMulIntegerToFloat", inputs, f"{name} product")
        column = graph.add("Unsqueeze", [scale, self._ints("as column", 1)], f"{name} scale column")
        return graph.add("Add", [graph.add("Mul", [product, column], f"{name} scaled"), bias], name)

    def _row_scales(self, name: str, value: str, zero: int) -> str:
        """(rows,): the step with which 0 at `zero` leaves room for the largest and the smallest number of a row."""
        steps = {"ReduceMax": 1 / (255 - zero), "ReduceMin": -1 / zero}
        scales = [self._constant("smallest scale", np.array(1e-12, np.float32))]
        for kind, step in steps.items():
            bound = self.graph.add(kind, [value], f"{name} {kind}", axes=[1], keepdims=0)
            factor = self._constant(f"step of {kind}, {zero}", np.array(step, np.float32))
            scales.append(self.graph.add("Mul", [bound, factor], f"{name} scale by {kind}"))
        return self.graph.add("Max", scales, f"{name} scale")

    def _split_images(self, rows: str, output: str, times: int = 1) -> str:
        """(n * tokens, times * width) to (n, tokens, times * width)."""
        return self.graph.add("Reshape", [rows, "by image, thirds" if times == 3 else "by image"], output)

    def _join_images(self, value: str, output: str) -> str:
        """(n, tokens, width) to (n * tokens, width)."""
        return self.graph.add("Reshape", [value, self._ints("all rows", -1, self.shape.width)], output)

    def _constant(self, name: str, array: NDArray[np.generic]) -> str:
        return self.graph.constant(name, array)

    def _slice(self, value: str, output: str, start: int, end: int) -> str:
        """Tokens from `start` to `end` of every image."""
        bounds = {"from": start, "to": end, "axis": 1}
        inputs = [self._ints(f"{output} {word}", number) for word, number in bounds.items()]
        return self.graph.add("Slice", [value, *inputs], output)

    def _ints(self, name: str, *values: int) -> str:
        return self.graph.constant(name, np.array(values, np.int64))


def quantized(weight: Tensor) -> tuple[NDArray[np.int8], Tensor]:
    """A weight (in, out) as int8 with one scale for each output, symmetric around zero."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
    return np.rint(weight / scales).astype(np.int8), scales.astype(np.float32)


def _weight(block: Block, name: str) -> Tensor:
    """A weight as ONNX multiplies it: (in, out)."""
    return np.ascontiguousarray(block(f"{name}.weight").T)


def _patch_projection(tensor: Block) -> tuple[Tensor, Tensor]:
    """The convolution's weight and bias for pixels from 0 to 255."""
    weight = tensor("embeddings.patch_embeddings.projection.weight").astype(np.float64)
    bias = tensor("embeddings.patch_embeddings.projection.bias").astype(np.float64)
    scaled = weight / STD[None, :, None, None]
    shift = (scaled * MEAN[None, :, None, None]).sum(axis=(1, 2, 3))
    return (scaled / 255).astype(np.float32), (bias - shift).astype(np.float32)
