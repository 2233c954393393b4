"""Re-ranking by looking again: where in each candidate the query's thing is, on its feature map and by keypoints."""

import zlib
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.maps import MapEncoder, MapHead, boxes, map_encoder, pyramid
from lookalike.errors import ImageError
from lookalike.search.rerank.cache import remembered
from lookalike.search.rerank.candidates import at_least, check, reordered
from lookalike.search.rerank.keypoints import Keypoints, detect
from lookalike.search.rerank.matching import FEWEST, Verified, verify
from lookalike.search.rerank.spatial import picture, support
from lookalike.types import Box, Encoder, Gallery, Probe, Ranking, Vectors
from lookalike.utils.cores import cores
from lookalike.utils.threads import Threads

MAGIC = b"lkc1"
LARGER = 2.0
"""The side of the map's input beside that of a whole picture."""
SIDES, ASPECTS, STEP = (0.12, 0.16, 0.22, 0.3, 0.4, 0.55, 0.75, 1.0), (1.0, 1.5, 1 / 1.5), 0.5
"""Windows, as for the stored regions, and the whole."""
UNLIKE, MOST_LIKE, LIKE = 0.3, 0.99, 0.5
"""Quantiles of how like the query cells are, and where between the two a cell begins to count for a box."""
AROUND = 0.5
"""Keypoints are looked for in the box and so much of its sides around it."""
ENLARGED, MOST_ENLARGED = 400, 2.0
"""The longer side to which a small box with its surroundings is enlarged before, and by how much at most."""
SURE = 4
"""So many inliers beyond those that fit any map make a box."""


@dataclass(frozen=True)
class CellMap:
    """A feature map (rows, columns, channels) in signed bytes with a scale for each cell, of a picture of this size."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    width: int
    height: int

    @classmethod
    def of(cls, cells: NDArray[np.float32], width: int, height: int) -> "CellMap":
        """Each cell is scaled so that its largest number is 127."""
        scales = np.maximum(np.abs(cells).max(axis=-1), 1e-9) / 127
        return cls(np.rint(cells / scales[..., None]).astype(np.int8), scales.astype(np.float32), width, height)

    def cells(self) -> NDArray[np.float32]:
        """The map as float32."""
        return np.asarray(self.values * self.scales[..., None], np.float32)

    def to_bytes(self) -> bytes:
        """Sizes, scales and numbers, with a checksum in front; most numbers of a network with ReLU are zero."""
        sizes = np.array([self.width, self.height, *self.values.shape], "<u4").tobytes()
        body = sizes + self.scales.astype("<f4").tobytes() + zlib.compress(self.values.tobytes(), 1)
        return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "CellMap | None":
        """The inverse of `to_bytes`; None for anything else, damaged bytes among them."""
        if data[:4] != MAGIC or len(data) < 28 or zlib.crc32(data[8:]).to_bytes(4, "little") != data[4:8]:
            return None
        width, height, rows, columns, channels = np.frombuffer(data, "<u4", 5, 8).tolist()
        end = 28 + 4 * rows * columns
        scales = np.frombuffer(data, "<f4", rows * columns, 28).reshape(rows, columns)
        values = np.frombuffer(zlib.decompress(data[end:]), np.int8).reshape(rows, columns, channels)
        return cls(values, scales.astype(np.float32), width, height)


@dataclass(frozen=True)
class Sight:
    """What was seen in a candidate: the best cosine of a window, where it is, and inliers if there were keypoints."""

    cosine: float
    box: Box | None = None
    inliers: int = 0


@dataclass(frozen=True)
class Region:
    """Looks at the first `top` candidates again, for the part that shows what the query shows.

    Windows of the candidate's feature map, of many more places than are stored, are compared with the query, and a box
    is laid around the cells that are like it. In and around the box of the `verified` nearest, keypoints are matched
    with the query's (`features` of each, as in `spatial`): where enough of them fit a common affine map, they give the
    box. The order is by the best cosine plus the support of the inliers. The encoder is `encoder`, or the attribute
    `encoder` of the gallery; one without a map leaves the stored part, or the whole picture, to the keypoints.

    Maps are computed when first needed, at the cost of encoding a picture of twice the side, and stored in the
    gallery's cache. A picture that cannot be read keeps its score and its box.
    """

    top: int = 50
    verified: int = 20
    features: int = 500
    ratio: float = 0.85
    pixels: float = 8.0
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        check("region", top=(self.top, 1, 10_000), verified=(self.verified, 0, 10_000))
        check("region", features=(self.features, 10, 10_000))
        check("region", ratio=(self.ratio, 0.1, 1), pixels=(self.pixels, 0.1, 100))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by cosine + support, with their boxes; raises QueryError where the query is no picture."""
        query = picture("region", probe)
        ranking = at_least(ranking, self.top, probe, gallery)
        head = ranking.head(self.top)
        sights = self.sights(query, probe.vectors, head, gallery)
        values = [sights[row].cosine + _support(sights[row].inliers) for row in head.ids.tolist()]
        boxes = {row: sight.box for row, sight in sights.items() if sight.box}
        return replace(reordered(ranking, np.array(values, np.float64)), boxes={**ranking.boxes, **boxes})

    def sights(self, query: Image.Image, vectors: Vectors, ranking: Ranking, gallery: Gallery) -> dict[int, Sight]:
        """What is seen in each candidate, by its row."""
        boxes, keypoints = _stored(gallery, vectors, ranking), detect(query, self.features)
        rows, scores = ranking.ids.tolist(), ranking.scores.tolist()
        sights = {row: Sight(score, boxes.get(row)) for row, score in zip(rows, scores, strict=True)}

        def look(row: int) -> Sight:
            try:
                return self._matched(keypoints, sights[row], gallery.image(row))
            except ImageError:
                return sights[row]

        from threadpoolctl import threadpool_limits

        # Candidates are looked at in parallel; further threads inside each matrix product would only wait.
        with threadpool_limits(1, "blas"), Threads(cores(), thread_name_prefix="lookalike-region") as pool:
            sights |= self._on_maps(vectors, ranking, gallery, pool)
            best = sorted(rows, key=lambda row: -sights[row].cosine)[: self.verified]
            return sights | dict(zip(best, pool.map(look, best), strict=True))

    def _on_maps(self, vectors: Vectors, ranking: Ranking, gallery: Gallery, pool: Threads) -> dict[int, Sight]:
        """The best windows of candidates, where the encoder has maps and the picture can be read."""
        encoder: Encoder | None = self.encoder or getattr(gallery, "encoder", None)
        maps = map_encoder(encoder) if encoder else None
        head = maps.map_head if maps else None
        if maps is None or head is None:
            return {}
        cells = self._maps(maps, ranking, gallery, pool)
        return dict(zip(cells, pool.map(lambda row: best_window(cells[row], head, vectors), cells), strict=True))

    def _maps(self, maps: MapEncoder, ranking: Ranking, gallery: Gallery, pool: Threads) -> dict[int, CellMap]:
        encoding, side = Lock(), round(LARGER * maps.map_side)

        def make(row: int) -> CellMap:
            image = gallery.image(row)
            prepared = maps.prepare_map(image, side)
            with encoding:
                (cells,) = maps.encode_maps([prepared])
            return CellMap.of(cells, *image.size)

        settings = f"|cells 1|{side}|{maps.fingerprint}"
        return remembered(ranking.ids, gallery, settings, pool, make, CellMap.from_bytes)

    def _matched(self, query: Keypoints, sight: Sight, image: Image.Image) -> Sight:
        area = around(sight.box, image.size)
        part = image.crop(area)
        factor = max(1.0, min(MOST_ENLARGED, ENLARGED / max(part.size)))
        if factor > 1:
            part = part.resize((round(part.width * factor), round(part.height * factor)), Image.Resampling.BICUBIC)
        verified = verify(query, detect(part, self.features), self.ratio, "affine", self.pixels)
        if len(verified) < FEWEST["affine"] + SURE:
            return replace(sight, inliers=len(verified))
        return Sight(sight.cosine, projected(verified, query, area, factor, image.size), len(verified))


def _stored(gallery: Gallery, vectors: Vectors, ranking: Ranking) -> dict[int, Box]:
    """The boxes that the ranking has, else the best stored parts, where the gallery has regions."""
    best_parts = getattr(gallery, "best_parts", None)
    parts = best_parts(vectors, ranking.ids) if best_parts else {}
    return {**{row: part.box for row, part in parts.items()}, **ranking.boxes}


def _support(inliers: int) -> float:
    return float(support(np.array([inliers], np.float64), FEWEST["affine"])[0])


def best_window(cells: CellMap, head: MapHead, probe: Vectors) -> Sight:
    """The best cosine of a window of a map to a row of the probe (m, dim), and the box of what is like that row.

    Of windows, the one with the best cosine is often too large or too small: its vector is a mean, and cells see beyond
    their edges. So the box is the rectangle with the largest sum of how much more its cells are like the query than
    `LIKE` between an unlike and the most like cell of this map. No box where the whole map is nearest.
    """
    features = cells.cells()
    rows, columns = features.shape[:2]
    windows = pyramid(rows, columns, SIDES, ASPECTS, STEP)
    cosines = head.vectors(features, windows) @ probe.T
    window, example = np.unravel_index(int(cosines.argmax()), cosines.shape)
    if windows[window].tolist() == [0, 0, rows, columns]:
        return Sight(float(cosines.max()))
    every = np.array([(row, column, row + 1, column + 1) for row in range(rows) for column in range(columns)])
    likeness = (head.vectors(features, every) @ probe[example]).reshape(rows, columns)
    unlike, most = np.quantile(likeness, [UNLIKE, MOST_LIKE])
    rectangle = heaviest(likeness - (unlike + LIKE * (most - unlike)))
    return Sight(float(cosines.max()), boxes(rectangle[None], (rows, columns), cells.width, cells.height)[0])


def heaviest(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The rectangle (top, left, bottom, right; ends exclusive) of cells (rows, columns) with the largest sum."""
    rows, columns = values.shape
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = np.asarray(values, np.float64).cumsum(axis=0).cumsum(axis=1)
    best, rectangle = -np.inf, (0, 0, rows, columns)
    for top in range(rows):
        strips = sums[top + 1 :] - sums[top]
        lowest = np.minimum.accumulate(strips[:, :-1], axis=1)
        gains = strips[:, 1:] - lowest
        bottom, right = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[bottom, right] > best:
            best, left = float(gains[bottom, right]), int(strips[bottom, : right + 1].argmin())
            rectangle = (top, left, top + 1 + int(bottom), int(right) + 1)
    return np.array(rectangle, np.int64)


def around(box: Box | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box with a margin of `AROUND`, in whole pixels of the picture; the whole picture where there is none."""
    if box is None:
        return 0, 0, *size
    across, down = AROUND * (box.right - box.left), AROUND * (box.bottom - box.top)
    left, top = max(0, int(box.left - across)), max(0, int(box.top - down))
    return left, top, min(size[0], int(box.right + across) + 1), min(size[1], int(box.bottom + down) + 1)


def projected(
    verified: Verified, query: Keypoints, area: tuple[int, int, int, int], factor: float, size: tuple[int, int]
) -> Box:
    """Where the query's picture lies in a candidate of this size, by the map to its enlarged `area`."""
    matrix: Any = verified.matrix
    corners = np.array([(x, y, 1) for x in (0, query.width) for y in (0, query.height)], np.float64) @ matrix.T
    points = corners[:, :2] / corners[:, 2:] / factor + area[:2]
    low, high = np.clip(points.min(axis=0), 0, size), np.clip(points.max(axis=0), 0, size)
    return Box(*low.tolist(), *high.tolist())
