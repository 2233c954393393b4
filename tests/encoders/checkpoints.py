"""Checkpoints of random weights for the tests of encoders, and what transformers computes from them."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import fake_weights
import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.checkpoint import AnyArchitecture, Architecture
from lookalike.encoders.dinov3 import RotaryArchitecture

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def real(name: str) -> Architecture:
    return fake_weights.architecture(name)


def shrunken(name: str) -> Architecture:
    """An architecture of the table with all its parts, and little to compute."""
    shape = fake_weights.architecture(name)
    return replace(shape, width=128, depth=3, heads=2, hidden=344 if shape.swiglu else 512)


def rotary(name: str, **changes: Any) -> RotaryArchitecture:
    """A DINOv3 of the table, with parameters changed."""
    return replace(fake_weights.rotary_architecture(name), **changes)


def write(shape: AnyArchitecture, folder: Path, seed: int = 0) -> Path:
    return fake_weights.write(shape, folder, seed)


def write_meta(shape: Architecture, path: Path, seed: int = 0) -> Path:
    return fake_weights.write_meta(shape, path, seed)


def small_pictures(height: int, width: int, count: int = 2) -> NDArray[np.uint8]:
    """(count, height, width, 3): noise over slopes, so that no two patches are alike."""
    rng = np.random.default_rng(height * width)
    slopes = np.linspace(0, 200, width)[None, None, :, None] * rng.uniform(0.2, 1, (count, 1, 1, 3))
    return np.asarray(slopes + rng.integers(0, 56, (count, height, width, 3)), np.uint8)


@cache
def published_model(folder: Path) -> Any:
    """What transformers itself makes of a folder of the hub."""
    import transformers

    return transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


def reference(folder: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """last_hidden_state (n, tokens, width) as transformers computes it from normalised pixels."""
    import torch

    normal = (pixels / 255 - MEAN) / STD
    values = torch.from_numpy(normal.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        tokens: NDArray[np.float32] = published_model(folder)(pixel_values=values).last_hidden_state.numpy()
    return tokens
