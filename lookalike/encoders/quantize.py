"""A checkpoint to the ranges of its activations, which int8 needs."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import graph
from lookalike.encoders.checkpoint import AnyCheckpoint
from lookalike.encoders.graph_files import open_graph
from lookalike.utils.cores import cores

SIDE = 224
SAMPLES = 8


def ranges(checkpoint: AnyCheckpoint, scratch: Path) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of every input channel of a projection, measured on synthetic pictures.

    The pictures are the same everywhere, hence the int8 weights too. `scratch` holds the fp32 graph meanwhile.
    """
    shape, largest = checkpoint.architecture, dict[str, NDArray[np.float32]]()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        names = graph.write_observed(checkpoint, Path(folder))
        session = open_graph(Path(folder) / graph.TOKENS, "fp32", cores())
        stored = checkpoint.tensor("embeddings.position_embeddings")
        side = SIDE // shape.patch
        embedding = shape.place(stored, side, side)
        for picture in pictures():
            values = session.run(names, {"pixels": picture[None], "positions": embedding})
            for name, value in zip(names, values, strict=True):
                largest[name] = np.maximum(largest.get(name, 0), np.abs(value).max(axis=0))
        del session
    return largest


def pictures(count: int = SAMPLES, side: int = SIDE) -> NDArray[np.uint8]:
    """Dead leaves (Lee, Mumford and Huang, IJCV 2001): occluding discs, which have the statistics of photos."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    drawn = np.zeros((count, side, side, 3), np.uint8)
    for picture in drawn:
        shading = rng.normal(0, 0.3, (2, 3))
        for _ in range(400):
            # Sizes follow an inverse cube law, as those of objects in photos do.
            radius = 4 / np.sqrt(rng.uniform((4 / side) ** 2, 1))
            row, column = rng.uniform(-radius, side + radius, 2)
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            slope = (rows[inside, None] - row) * shading[0] + (columns[inside, None] - column) * shading[1]
            picture[inside] = np.clip(rng.integers(0, 256, 3) + slope + rng.normal(0, 4, slope.shape), 0, 255)
    return drawn
