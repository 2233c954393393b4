"""Tokens and feature maps of an unknown model: which tokens are patches, and which axis holds the channels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError

MOST_BEFORE = 16
"""Tokens before the patches: a class token and registers; the most in a published model are 1 + 8."""


def prefix_of(graph: Path, tokens: int, size: tuple[int, int] | None) -> int:
    """How many tokens come before the patches: what is left over the largest grid of square patches that fits.

    Raises EncoderError where no grid leaves 16 or fewer.
    """
    width, height = size or (0, 0)
    sides = (side for side in range(1, min(width, height) + 1) if not width % side and not height % side)
    rests = [tokens - (width // side) * (height // side) for side in sides]
    fitting = [rest for rest in rests if 0 <= rest <= MOST_BEFORE]
    if not fitting:
        raise EncoderError(
            f"{graph} gives {tokens} tokens, which is no grid of patches in {width} x {height} pixels; "
            "say how many come before the patches, as in prefix=1"
        )
    return min(fitting)


def as_tokens(
    graph: Path, maps: NDArray[np.float32], size: tuple[int, int] | None, channels_last: bool
) -> NDArray[np.float32]:
    """Feature maps to (n, h w, d); `channels_last` is the graph's input, which says little about its output.

    The two sides with the proportions of the image are its height and width. Where that leaves it open, a graph that
    takes NCHW gives NCHW; for one that takes NHWC, EncoderError is raised.
    """
    width, height = size or (1, 1)
    rest = maps.shape[1:]
    first, last = (rows * width == columns * height for rows, columns in (rest[1:], rest[:2]))
    if channels_last and first == last:
        raise EncoderError(
            f"{graph} gives a map of shape {rest}; which side is the channels cannot be told; pool it there"
        )
    if last and not first:
        return maps.reshape(len(maps), -1, rest[2])
    return maps.reshape(len(maps), rest[0], -1).transpose(0, 2, 1)
