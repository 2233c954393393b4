"""What int8 needs to know of a checkpoint, and whether it is good enough for these images."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import graph
from lookalike.encoders.checkpoint import Checkpoint
from lookalike.encoders.positions import positions
from lookalike.types import Encoder, Picture, Progress, Vectors
from lookalike.utils.cores import cores

SIDE = 224
SAMPLES = 8
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
    fp32: Encoder, int8: Encoder, images: Sequence[Picture], progress: Progress | None = None
) -> PrecisionFinding:
    """Encode the images both ways; int8 is chosen from a cosine of 0.995 and a top-10 overlap of 0.95 on.

    The ten neighbours are searched among the images themselves, so fewer than twenty say nothing. `progress` hears
    every image twice.
    """
    if not len(images):
        return PrecisionFinding("fp32", 0.0, 0.0, 0)
    exact, rounded = (
        _encoded(encoder, images, progress, before) for encoder, before in ((fp32, 0), (int8, len(images)))
    )
    cosine = float((exact * rounded).sum(axis=1).min())
    overlap = _overlap(exact, rounded)
    earned = len(images) >= FEWEST and cosine >= SMALLEST_COSINE and overlap >= SMALLEST_OVERLAP
    return PrecisionFinding("int8" if earned else "fp32", cosine, overlap, len(images))


def _encoded(encoder: Encoder, images: Sequence[Picture], progress: Progress | None, before: int) -> Vectors:
    """Images to unit rows, a few at a time, so that whoever waits sees it go on."""
    parts = []
    for at in range(0, len(images), TOLD_EVERY):
        parts.append(encoder.encode(images[at : at + TOLD_EVERY]))
        if progress:
            progress(before + min(at + TOLD_EVERY, len(images)), 2 * len(images))
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


def ranges(checkpoint: Checkpoint, scratch: Path) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of every channel that goes into a projection, seen on pictures drawn for the purpose.

    They are the same everywhere, so that int8 weights are too. `scratch` is where the fp32 graph is put for a while.
    """
    from lookalike.encoders.onnx import open_graph

    shape, found = checkpoint.architecture, dict[str, NDArray[np.float32]]()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        names = graph.write_observed(checkpoint, Path(folder))
        session = open_graph(Path(folder) / graph.TOKENS, "fp32", cores())
        stored = checkpoint.tensor("embeddings.position_embeddings")
        side = SIDE // shape.patch
        embedding = positions(stored, side, side, shape.antialias)
        for picture in pictures():
            values = session.run(names, {"pixels": picture[None], "positions": embedding})
            for name, value in zip(names, values, strict=True):
                found[name] = np.maximum(found.get(name, 0), np.abs(value).max(axis=0))
        del session
    return found


def pictures(count: int = SAMPLES, side: int = SIDE) -> NDArray[np.uint8]:
    """Dead leaves (Lee, Mumford and Huang, IJCV 2001): discs that hide one another have the statistics of photos."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    drawn = np.zeros((count, side, side, 3), np.uint8)
    for picture in drawn:
        shading = rng.normal(0, 0.3, (2, 3))
        for _ in range(400):
            # Sizes fall with the cube, as those of things in photos do.
            radius = 4 / np.sqrt(rng.uniform((4 / side) ** 2, 1))
            row, column = rng.uniform(-radius, side + radius, 2)
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            slope = (rows[inside, None] - row) * shading[0] + (columns[inside, None] - column) * shading[1]
            picture[inside] = np.clip(rng.integers(0, 256, 3) + slope + rng.normal(0, 4, slope.shape), 0, 255)
    return drawn
