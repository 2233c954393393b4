"""The tensors of a checkpoint file, checked against those that its architecture has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError

Tensor = NDArray[np.float32]
MASK = "embeddings.mask_token"
"""Only training needs it, so it may be missing."""


def check_tensors(path: Path, expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Any], family: str) -> None:
    """Raises EncoderError for a tensor that is missing, too many, or of another shape; `family`: such as DINOv2."""
    missing = next((name for name in expected if name not in tensors and name != MASK), None)
    if missing:
        raise EncoderError(f"{path} has no tensor {missing}; it is no complete {family} checkpoint")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != expected.get(name, tuple(tensor.shape)):
            raise EncoderError(f"{path}: tensor {name} has shape {tuple(tensor.shape)}, not {expected[name]}")
    extra = sorted(set(tensors) - set(expected))
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise EncoderError(f"{path} has a tensor {extra[0]!r}{more} that {family} has not; give the backbone alone")


def read_tensor(path: Path, tensors: Mapping[str, Any], name: str) -> Tensor:
    """One tensor in float32; raises EncoderError where a number in it is not finite."""
    tensor = np.asarray(tensors[name], np.float32)
    if not np.isfinite(tensor).all():
        raise EncoderError(f"{path}: tensor {name} holds a NaN or an infinity; fetch the file again")
    return tensor


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    """The shapes of a projection."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (outputs, inputs)}
    return shapes | {f"{name}.bias": (outputs,)} if bias else shapes
