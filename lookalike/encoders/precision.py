"""fp32 or int8 for a collection: `auto` tries both on the user's images, and the finding stays with it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders import devices, load_encoder, split_name, with_options
from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.sources import Source
from lookalike.types import Encoder, Picture, Progress, Vectors

FILE = "precision.json"
AUTO = "auto"
SAMPLE = 64
"""Images that are encoded both ways."""
SMALLEST_COSINE = 0.995
SMALLEST_OVERLAP = 0.95
NEIGHBOURS = 10
TOLD_EVERY = 8
FEWEST = 20
"""Among fewer images, ten neighbours are most of them, and nothing was shown."""


@dataclass(frozen=True)
class PrecisionFinding:
    """How int8 did on `images` pictures of the user's: the worst cosine to fp32, and the mean share of ten neighbours.

    `chosen` is `int8` where both are good enough and there were enough images to tell, else `fp32`.
    """

    chosen: str
    smallest_cosine: float
    top10_overlap: float
    images: int


def choose_precision(
    fp32: Encoder, int8: Encoder, pictures: Sequence[Picture], progress: Progress | None = None
) -> PrecisionFinding:
    """Encode the images both ways; int8 is chosen from a cosine of 0.995 and a top-10 overlap of 0.95 on.

    The ten neighbours are searched among the images themselves, so fewer than twenty say nothing. `progress` hears
    every image twice.
    """
    if not len(pictures):
        return PrecisionFinding("fp32", 0.0, 0.0, 0)
    exact, rounded = (
        _encoded(encoder, pictures, progress, before) for encoder, before in ((fp32, 0), (int8, len(pictures)))
    )
    cosine = float((exact * rounded).sum(axis=1).min())
    overlap = _overlap(exact, rounded)
    earned = len(pictures) >= FEWEST and cosine >= SMALLEST_COSINE and overlap >= SMALLEST_OVERLAP
    return PrecisionFinding("int8" if earned else "fp32", cosine, overlap, len(pictures))


def _encoded(encoder: Encoder, pictures: Sequence[Picture], progress: Progress | None, before: int) -> Vectors:
    """Images to unit rows, a few at a time, so that whoever waits sees it go on."""
    parts = []
    for at in range(0, len(pictures), TOLD_EVERY):
        parts.append(encoder.encode(pictures[at : at + TOLD_EVERY]))
        if progress:
            progress(before + min(at + TOLD_EVERY, len(pictures)), 2 * len(pictures))
    return np.concatenate(parts)


def _overlap(exact: Vectors, rounded: Vectors) -> float:
    """Queries in int8 against a gallery in int8, compared with fp32 against fp32; an image is not its own neighbour."""
    count = min(NEIGHBOURS, len(exact) - 1)
    if count < 1:
        return 1.0
    pairs = zip(_nearest(exact, count), _nearest(rounded, count), strict=True)
    shared = [len(np.intersect1d(one, other)) for one, other in pairs]
    return float(np.mean(shared)) / count


def _nearest(rows: Vectors, count: int) -> NDArray[np.int64]:
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


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
