"""The tokens of an image to its vector: the class token, or the mean or generalised mean of the patch tokens."""

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError
from lookalike.types import Vectors

Rows = NDArray[np.float32]
POWER = 3
"""The exponent of GeM (Radenović et al., TPAMI 2019)."""


UNUSABLE = "the model gave a vector that is not finite or zero; its weights cannot be used"
POOLINGS = {"cls": ("cls",), "mean": ("mean",), "gem": ("gem",), "cls+gem": ("cls", "gem")}


def check(pooling: str) -> str:
    """Returns the name; raises EncoderError for an unknown one."""
    if pooling not in POOLINGS:
        raise EncoderError(f"pooling {pooling!r} is none of {', '.join(POOLINGS)}")
    return pooling


def width(pooling: str, token: int) -> int:
    """The length of a vector; `token` is the length of a token."""
    return len(POOLINGS[pooling]) * token


def pool(pooling: str, class_tokens: Rows, patches: Rows, message: str = UNUSABLE) -> Vectors:
    """(n, width) and (n, patches, width) to unit rows; several parts have equal weights."""
    parts = [unit(_part(name, class_tokens, patches), message) for name in POOLINGS[pooling]]
    return parts[0] if len(parts) == 1 else unit(np.concatenate(parts, axis=1))


def _part(name: str, class_tokens: Rows, patches: Rows) -> Rows:
    if name == "cls":
        return class_tokens
    return np.asarray(patches.mean(axis=1)) if name == "mean" else gem(patches)


def gem(patches: Rows) -> Rows:
    """Generalised mean over axis 1; the root keeps the sign, as tokens can be negative (AnyLoc, Keetha et al. 2023)."""
    return np.asarray(np.cbrt((patches**POWER).mean(axis=1)), np.float32)


def unit(rows: Rows, message: str = UNUSABLE) -> Vectors:
    """Rows divided by their lengths; raises EncoderError for a length of zero or one that is not finite."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise EncoderError(message)
    return np.asarray(rows / lengths, np.float32)
