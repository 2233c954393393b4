"""Spatial verification: candidates by the number of keypoint matches that fit a common plane-to-plane map."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import ImageError, QueryError
from lookalike.search.rerank import points
from lookalike.search.rerank.cache import remembered
from lookalike.search.rerank.candidates import Values, by_value, check
from lookalike.search.rerank.keypoints import Keypoints, detect, unit
from lookalike.search.rerank.matching import FEWEST, GeometricModel, fitted, mutual
from lookalike.types import Gallery, Ids, Probe, Ranking
from lookalike.utils.cores import cores
from lookalike.utils.threads import Threads


@dataclass(frozen=True)
class Spatial:
    """Matches keypoints of the query and the first `top` candidates and counts the inliers of a plane-to-plane map.

    As Philbin et al., CVPR 2007, with RootSIFT, mutual nearest neighbours, the `ratio` test (Lowe, IJCV 2004: 0.8) and
    MAGSAC++ in place of their hypotheses from single matches. Their score is the number of inliers; here it is
    cosine + support(inliers), so that few inliers, which also occur by chance, have little effect: see `support`. They
    verify up to 400 candidates with some 3,000 keypoints; both are fewer here because a candidate takes milliseconds.

    The gallery's keypoints are computed when first needed, and stored in `Gallery.cache_dir`. A picture that cannot be
    read has no inliers.
    """

    top: int = 100
    features: int = 500
    ratio: float = 0.8
    pixels: float = 8.0
    model: GeometricModel = "homography"
    upright: bool = True

    def __post_init__(self) -> None:
        check("spatial", top=(self.top, 1, 10_000), features=(self.features, 10, 10_000))
        check("spatial", ratio=(self.ratio, 0.1, 1), pixels=(self.pixels, 0.1, 100))
        if self.model not in FEWEST:
            raise QueryError(f"spatial: model = {self.model}; there are {', '.join(get_args(GeometricModel))}")

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by cosine + support; raises QueryError where the query is no picture."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """Cosine + support (n,)."""
        return ranking.scores + support(self.inliers(probe, ranking, gallery), FEWEST[self.model])

    def inliers(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """The number of inliers of each candidate (n,)."""
        return self.verified(detect(picture("spatial", probe), self.features, self.upright), ranking, gallery)

    def verified(self, query: Keypoints, ranking: Ranking, gallery: Gallery) -> Values:
        """As `inliers`, for keypoints of a query."""
        counts = self.counted(query, ranking.ids, gallery)
        points.note(counts, gallery.content)
        return np.array([counts.get(row, 0) for row in ranking.ids.tolist()], np.float64)

    def counted(self, query: Keypoints, ids: Ids, gallery: Gallery) -> dict[int, int]:
        """The number of inliers by row, without rows whose picture cannot be read."""
        descriptors = unit(query.descriptors)

        def matches(row: int) -> NDArray[np.int64]:
            return mutual(descriptors @ unit(keypoints[row].descriptors).T, self.ratio)

        def count(row: int, pairs: NDArray[np.int64]) -> int:
            return len(fitted(query, keypoints[row], pairs, self.model, self.pixels))

        with Threads(cores(), thread_name_prefix="lookalike-spatial") as pool:
            keypoints = self.keypoints(ids, gallery, pool)
            # Matrix products have threads of their own, and are slow when several threads start them at once.
            counts = {row: pool.submit(count, row, matches(row)) for row in keypoints}
        return {row: count.result() for row, count in counts.items()}

    def keypoints(self, ids: Ids, gallery: Gallery, pool: ThreadPoolExecutor) -> dict[int, Keypoints]:
        """Row to keypoints, from the gallery's cache or from the pictures; unreadable pictures are left out."""
        settings = f"|keypoints 1|{self.features}|{self.upright}"

        def make(row: int) -> Keypoints:
            return detect(gallery.image(row), self.features, self.upright)

        return remembered(ids, gallery, settings, pool, make, Keypoints.from_bytes)


def support(inliers: Values, fewest: int) -> Values:
    """The score of inliers beside a cosine, 0 to 1: 0.5 at `HALF` inliers more than the `fewest` that fit any model."""
    beyond = np.maximum(inliers - fewest, 0)
    return beyond**2 / (beyond**2 + HALF**2)


HALF = 10.0


def picture(method: str, probe: Probe) -> Image:
    """The query's picture; raises QueryError where there is none, or its file is gone."""
    if probe.image is None:
        raise QueryError(f"{method} compares pictures, and this query is not a single one; leave {method} out")
    try:
        return probe.image()
    except ImageError as error:
        raise QueryError(f"{method}: the query's picture cannot be read ({error})") from error
