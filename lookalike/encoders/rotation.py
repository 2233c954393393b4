"""A checkpoint to the same network in another basis, in which no channel stands out: the form that int8 needs.

In trained ViTs a few channels are far larger than the others, and leave those few of the 256 steps of one common scale.
A rotation of the residual stream spreads them over all channels (QuaRot, Ashkboos et al., NeurIPS 2024). It is folded
into the weights before and after, so it costs no time. LayerNorm permits it because the mean is kept (the vector of
ones is mapped to itself) and the norm's own weight and bias go into the projections after it. Values are rotated within
each head, as attention only averages them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.checkpoint import AnyArchitecture, AnyCheckpoint
from lookalike.encoders.tensors import Tensor

Matrix = NDArray[np.float64]
Block = Callable[[str], Tensor]
READS = {
    "attention.attention.query": "norm1",
    "attention.attention.key": "norm1",
    "attention.attention.value": "norm1",
    "mlp.fc1": "norm2",
    "mlp.weights_in": "norm2",
}
"""Projections of the residual stream, and the norm before each."""
VALUE, OUTPUT = "attention.attention.value", "attention.output.dense"
WRITES = {
    OUTPUT: "layer_scale1.lambda1",
    "mlp.fc2": "layer_scale2.lambda1",
    "mlp.weights_out": "layer_scale2.lambda1",
}
"""Projections that are added to the residual stream, and the factor of each."""


class Rotated:
    """Tensors as a `Checkpoint` has them, with norms and LayerScale folded away and everything rotated.

    The final norm yields rotated tokens; `readout` makes them those of the checkpoint.
    """

    def __init__(self, checkpoint: AnyCheckpoint) -> None:
        self._checkpoint, self.architecture = checkpoint, checkpoint.architecture
        self._stream, self._values = stream_rotation(self.architecture), value_rotation(self.architecture)

    @property
    def readout(self) -> tuple[Tensor, Tensor]:
        """Weight (in, out) and bias: out of the basis, with the final norm's own weight and bias."""
        weight, bias = (self._checkpoint.tensor(f"layernorm.{part}") for part in ("weight", "bias"))
        return _single(self._stream.T * weight), bias

    def tensor(self, name: str) -> Tensor:
        """One tensor outside the blocks."""
        tensor = self._checkpoint.tensor(name)
        if name.startswith("layernorm."):
            return _neutral(name, tensor)
        if name == "embeddings.patch_embeddings.projection.weight":
            return _single(np.tensordot(self._stream.T, tensor, 1))
        in_stream = tensor.shape[-1] == self.architecture.width
        return _single(tensor @ self._stream) if in_stream else tensor

    def block(self, number: int) -> Block:
        """`tensor` for the names within one block."""
        block = self._checkpoint.block(number)
        return lambda name: _single(self._in_block(block, name))

    def _in_block(self, block: Block, name: str) -> NDArray[np.floating]:
        stem, _, part = name.rpartition(".")
        if stem in READS:
            return self._reads(block, stem, part)
        return self._writes(block, stem, part) if stem in WRITES else _neutral(name, block(name))

    def _reads(self, block: Block, stem: str, part: str) -> Matrix:
        norm, weight = READS[stem], block(f"{stem}.weight").astype(np.float64)
        if part == "bias":
            rotated = block(f"{stem}.bias") + weight @ block(f"{norm}.bias")
        else:
            rotated = weight * block(f"{norm}.weight") @ self._stream
        return self._values.T @ rotated if stem == VALUE else rotated

    def _writes(self, block: Block, stem: str, part: str) -> Matrix:
        factor = block(WRITES[stem]).astype(np.float64)
        rotated: Matrix = self._stream.T @ (factor * block(f"{stem}.{part}").T).T
        return rotated @ self._values if (stem, part) == (OUTPUT, "weight") else rotated


def stream_rotation(shape: AnyArchitecture) -> Matrix:
    """(width, width), orthogonal; keeps the vector of ones, and so the mean and the variance of any vector."""
    width = shape.width
    # The reflection that exchanges the direction of ones and the first axis.
    normal = np.full(width, width**-0.5)
    normal[0] -= 1
    reflection = np.eye(width) - 2 * np.outer(normal, normal) / (normal @ normal)
    inner = np.eye(width)
    inner[1:, 1:] = rotation(width - 1, seed=0)
    return np.asarray(reflection @ inner @ reflection)


def value_rotation(shape: AnyArchitecture) -> Matrix:
    """(width, width), orthogonal; rotates within each head."""
    return np.asarray(np.kron(np.eye(shape.heads), rotation(shape.width // shape.heads, seed=1)), np.float64)


def rotation(size: int, seed: int) -> Matrix:
    """A random orthogonal matrix, the same every time."""
    basis, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return np.asarray(basis * np.sign(np.diag(upper)))


def _neutral(name: str, tensor: Tensor) -> Tensor:
    """The weight or bias of a norm, or a factor, that changes nothing."""
    return np.zeros_like(tensor) if name.endswith(".bias") else np.ones_like(tensor)


def _single(array: NDArray[np.floating]) -> Tensor:
    return np.ascontiguousarray(array, np.float32)
