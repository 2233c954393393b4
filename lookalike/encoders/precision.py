"""fp32 or int8 for a collection: `auto` tries both on the user's images, and the finding stays with it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lookalike.encoders import devices, load_encoder, split_name, with_options
from lookalike.encoders.quantize import PrecisionFinding, choose_precision
from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.sources import Source
from lookalike.types import Progress

FILE = "precision.json"
AUTO = "auto"
SAMPLE = 64
"""Images that are encoded both ways."""


def of(name: str) -> str | None:
    """The precision that an encoder's name asks for, such as int8 in `dinov2-base@precision=int8`."""
    return split_name(name)[1].get("precision")


def settled(name: str, stored: str) -> str:
    """`name` for a collection that was made with `stored`: what `auto` decided then is not asked again."""
    same = of(name) == AUTO and with_options(name, precision=None) == with_options(stored, precision=None)
    return stored if same else name


def decide(
    name: str, sources: Sequence[Source], device: str | None = None, progress: Progress | None = None
) -> tuple[str, PrecisionFinding | None]:
    """The name with `auto` made into fp32 or int8 by images of the sources, and what was found; other names stay.

    Nothing is tried where PyTorch computes, which has no int8 here and is faster on a GPU. Raises EncoderError.
    """
    if of(name) != AUTO:
        return name, None
    if devices.choose(device, "fp32") != "onnx":
        return with_options(name, precision="fp32"), None
    exact, rounded = (load_encoder(with_options(name, precision=one)) for one in ("fp32", "int8"))
    finding = choose_precision(exact, rounded, sample(sources, SAMPLE, exact.decode_size), progress)
    return with_options(name, precision=finding.chosen), finding


def sample(sources: Sequence[Source], wanted: int, size: int | None) -> list[Image]:
    """Up to `wanted` readable images from all over the sources, the same ones every time."""
    counts = [source.count() for source in sources]
    step = 1 if None in counts else max(1, sum(count or 0 for count in counts) // wanted)
    found: list[Image] = []
    for number, entry in enumerate(chain.from_iterable(source.entries() for source in sources)):
        if len(found) == wanted:
            break
        if number % step:
            continue
        try:
            found.append(_small(images.decode(entry.read(), size=size).image, size))
        except ImageError:
            continue
    return found


def _small(image: Image, size: int | None) -> Image:
    """Still over twice as large as what is looked at: only JPEGs are decoded small, and many are held at once."""
    factor = min(image.size) // (2 * size) if size else 1
    return image.reduce(factor) if factor > 1 else image


def save(finding: PrecisionFinding, folder: Path) -> None:
    """Keep the finding in a collection's folder."""
    (folder / FILE).write_text(json.dumps(asdict(finding), indent=2) + "\n", encoding="utf-8")


def facts(folder: Path) -> dict[str, Any] | None:
    """What was found when the collection was made, for `info`; None where nothing was tried."""
    try:
        return asdict(PrecisionFinding(**json.loads((folder / FILE).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return None
