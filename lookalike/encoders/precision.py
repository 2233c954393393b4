"""fp32 or int8 for a collection: `auto` tries both on its images; the finding is stored with the collection."""

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
from lookalike.images.decode import decode
from lookalike.images.sources import Source
from lookalike.types import Encoder, Picture, Progress, Vectors
from lookalike.utils.files import write_whole

FILE = "precision.json"
AUTO = "auto"
SAMPLE = 64
"""Images that are encoded both ways."""
SMALLEST_COSINE = 0.995
SMALLEST_OVERLAP = 0.95
NEIGHBOURS = 10
BATCH = 8
"""Images between two reports of progress."""
FEWEST = 20
"""Among fewer images, ten neighbours are most of them, and their overlap proves nothing."""


@dataclass(frozen=True)
class PrecisionFinding:
    """int8 compared with fp32 on `images` pictures: the smallest cosine, and the mean overlap of the ten neighbours.

    `chosen` is `int8` where both are good enough and there were enough images to tell, else `fp32`.
    """

    chosen: str
    smallest_cosine: float
    top10_overlap: float
    images: int


def choose_precision(
    fp32: Encoder, int8: Encoder, pictures: Sequence[Picture], progress: Progress | None = None
) -> PrecisionFinding:
    """Encode the pictures both ways; int8 is chosen where the cosine is at least 0.995 and the top-10 overlap 0.95.

    The ten neighbours are searched among the pictures themselves, so fewer than twenty prove nothing. `progress` counts
    each picture twice.
    """
    if not len(pictures):
        return PrecisionFinding("fp32", 0.0, 0.0, 0)
    exact, rounded = (
        _encoded(encoder, pictures, progress, before) for encoder, before in ((fp32, 0), (int8, len(pictures)))
    )
    cosine = float((exact * rounded).sum(axis=1).min())
    shared = overlap(exact, rounded)
    is_close = len(pictures) >= FEWEST and cosine >= SMALLEST_COSINE and shared >= SMALLEST_OVERLAP
    return PrecisionFinding("int8" if is_close else "fp32", cosine, shared, len(pictures))


def _encoded(encoder: Encoder, pictures: Sequence[Picture], progress: Progress | None, before: int) -> Vectors:
    """Pictures to unit rows, in batches; `progress` counts from `before`."""
    parts = []
    for at in range(0, len(pictures), BATCH):
        parts.append(encoder.encode(pictures[at : at + BATCH]))
        if progress:
            progress(before + min(at + BATCH, len(pictures)), 2 * len(pictures))
    return np.concatenate(parts)


def overlap(exact: Vectors, rounded: Vectors) -> float:
    """The mean overlap of the neighbours in int8 and in fp32; an image is not its own neighbour."""
    count = min(NEIGHBOURS, len(exact) - 1)
    if count < 1:
        return 1.0
    pairs = zip(nearest(exact, count), nearest(rounded, count), strict=True)
    shared = [len(np.intersect1d(ids, rounded_ids)) for ids, rounded_ids in pairs]
    return float(np.mean(shared)) / count


def nearest(rows: Vectors, count: int) -> NDArray[np.int64]:
    """(n, count): the other rows of the largest cosines, best first."""
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def of(name: str) -> str | None:
    """The precision in an encoder's name, such as int8 in `dinov2-base@precision=int8`."""
    return split_name(name)[1].get("precision")


def settled(name: str, stored: str) -> str:
    """`name`, or `stored` (the collection's encoder) where they differ only in an `auto` that is decided already."""
    same = of(name) == AUTO and with_options(name, precision=None) == with_options(stored, precision=None)
    return stored if same else name


def decide(
    name: str, sources: Sequence[Source], device: str | None = None, progress: Progress | None = None
) -> tuple[str, PrecisionFinding | None]:
    """The name with `auto` replaced by fp32 or int8, decided on images of the sources, and the finding.

    A name without `auto` is returned unchanged. On PyTorch, which has no int8 here, it is fp32 without a trial; the
    finding is then None. Raises EncoderError.
    """
    if of(name) != AUTO:
        return name, None
    if devices.choose(device, "fp32") != "onnx":
        return with_options(name, precision="fp32"), None
    exact, rounded = (load_encoder(with_options(name, precision=value)) for value in ("fp32", "int8"))
    finding = choose_precision(exact, rounded, sample(sources, SAMPLE, exact.decode_size), progress)
    return with_options(name, precision=finding.chosen), finding


def sample(sources: Sequence[Source], count: int, size: int | None) -> list[Image]:
    """Up to `count` readable images, spread evenly over the sources, the same ones every time."""
    sizes = [source.count() for source in sources]
    step = 1 if None in sizes else max(1, sum(entries or 0 for entries in sizes) // count)
    images: list[Image] = []
    for number, entry in enumerate(chain.from_iterable(source.entries() for source in sources)):
        if len(images) == count:
            break
        if number % step:
            continue
        try:
            images.append(_small(decode(entry.read(), size=size).image, size))
        except ImageError:
            continue
    return images


def _small(image: Image, size: int | None) -> Image:
    """The image reduced, but over twice as large as `size`: only JPEGs are decoded reduced, and all are in memory."""
    factor = min(image.size) // (2 * size) if size else 1
    return image.reduce(factor) if factor > 1 else image


def save(finding: PrecisionFinding, folder: Path) -> None:
    """Write the finding into a collection's folder."""
    write_whole(folder / FILE, json.dumps(asdict(finding), indent=2) + "\n")


def facts(folder: Path) -> dict[str, Any] | None:
    """The finding of a collection, for `info`; None where nothing was tried."""
    try:
        return asdict(PrecisionFinding(**json.loads((folder / FILE).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return None
