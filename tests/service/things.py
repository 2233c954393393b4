"""Photographs of things that an encoder tells apart badly, and that labels teach it to tell apart."""

from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests.service.running import Running

THINGS, VIEWS = 12, 4


def write_things(folder: Path, noise: bool = False) -> Path:
    """Four views of each of twelve things: the left half says faintly which, the right half varies strongly."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for thing in range(THINGS):
        own = random.normal(0, 0 if noise else 40, (8, 4, 3))
        for view in range(VIEWS):
            left = own + random.normal(0, 12, (8, 4, 3))
            blocks = np.concatenate([left, random.normal(0, 80, (8, 4, 3))], axis=1)
            pixels = np.clip(128 + blocks, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((320, 320), Image.Resampling.NEAREST).save(folder / f"{thing:02}-{view}.png")
    return folder


def mark_things(service: Running, things: int = THINGS) -> None:
    """Mark the views of some things as the same as the first."""
    ids = service.ids()
    for thing in range(things):
        for view in range(1, VIEWS):
            marked(service, ids[f"{thing:02}-0.png"], ids[f"{thing:02}-{view}.png"], True).raise_for_status()


def marked(service: Running, a: str, b: str, same: bool) -> httpx.Response:
    return service.client.post("/v1/marks", json={"a": a, "b": b, "same": same})
