from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import ImageError, QueryError
from lookalike.search.rank import rank
from lookalike.search.rerank import keypoints, spatial
from lookalike.search.rerank.spatial import Spatial, support
from lookalike.storage import features as cache
from lookalike.types import Probe, Ranking
from tests.search.rerank.pictures import SIDEWAYS, front, warped
from tests.search.rerank.rows import Rows, clusters

SIZE = 6
RIGHT = 3
"""Where the gallery holds another view of the query's building."""


def small(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)


QUERY = small(front())


def candidates() -> dict[int, Image.Image]:
    others = {row: small(front("castle" if row % 2 else "mill")) for row in range(SIZE)}
    return others | {RIGHT: warped(QUERY, SIDEWAYS)}


class Kept(Rows):
    """A gallery of pictures with a place for a cache; counts how often a picture is read."""

    def __init__(self, folder: Path, pictures: dict[int, Image.Image]) -> None:
        cosines = np.linspace(0.6, 0.55, SIZE)
        super().__init__(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32), pictures)
        self.cache_dir = folder
        self.read: list[int] = []

    def content(self, row: int) -> str:
        return f"{row:064x}"

    def image(self, row: int) -> Image.Image:
        self.read.append(row)
        return super().image(row)


def probe(image: Image.Image | None = None) -> Probe:
    picture = image or QUERY
    return Probe(np.array([[1, 0]], np.float32), lambda: picture)


@pytest.fixture
def gallery(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache", candidates())


def test_the_same_building_comes_first_and_scores_stay_cosines(gallery: Kept) -> None:
    plain = rank(probe(), gallery, SIZE)
    assert plain.ids.tolist() == list(range(SIZE))
    ranking = rank(probe(), gallery, SIZE, [Spatial()])
    assert ranking.ids[0] == RIGHT
    assert ranking.scores[0] == pytest.approx(float(plain.scores[RIGHT]))
    assert sorted(ranking.ids.tolist()) == list(range(SIZE))


@pytest.mark.parametrize("model", ["homography", "affine"])
def test_values_are_cosine_and_support(gallery: Kept, model: str) -> None:
    method = Spatial(model=model)  # type: ignore[arg-type]
    first = rank(probe(), gallery, SIZE)
    inliers = method.inliers(probe(), first, gallery)
    assert inliers[RIGHT] > 30
    assert inliers[np.arange(SIZE) != RIGHT].max() < 12
    fewest = {"homography": 4, "affine": 3}[model]
    assert np.allclose(method.values(probe(), first, gallery), first.scores + support(inliers, fewest))


def test_support_by_hand() -> None:
    """Half at ten matches beyond the four that a homography needs; nothing without any."""
    assert support(np.array([0.0, 4, 14, 24]), 4).tolist() == [0, 0, 0.5, 0.8]


def test_keypoints_are_computed_once_and_then_read_from_the_cache(gallery: Kept) -> None:
    first = Spatial()(probe(), rank(probe(), gallery, SIZE), gallery)
    assert sorted(gallery.read) == list(range(SIZE))
    gallery.read.clear()
    with mock.patch.object(spatial, "detect", wraps=keypoints.detect) as detect:
        again = Spatial()(probe(), rank(probe(), gallery, SIZE), gallery)
    assert gallery.read == []
    assert detect.call_count == 1, "the query alone"
    assert again.ids.tolist() == first.ids.tolist()


def test_other_settings_have_keypoints_of_their_own(gallery: Kept) -> None:
    Spatial(features=100)(probe(), rank(probe(), gallery, SIZE), gallery)
    gallery.read.clear()
    Spatial(features=120)(probe(), rank(probe(), gallery, SIZE), gallery)
    assert sorted(gallery.read) == list(range(SIZE))


def test_a_damaged_cache_is_made_again(gallery: Kept) -> None:
    first = Spatial()(probe(), rank(probe(), gallery, SIZE), gallery)
    assert gallery.cache_dir is not None
    (gallery.cache_dir / cache.FILE).write_bytes(b"no database " * 1000)
    assert Spatial()(probe(), rank(probe(), gallery, SIZE), gallery).ids.tolist() == first.ids.tolist()
    gallery.read.clear()
    assert Spatial()(probe(), rank(probe(), gallery, SIZE), gallery).ids.tolist() == first.ids.tolist()
    assert gallery.read == []


def test_a_gallery_without_a_place_for_them_is_served_all_the_same(gallery: Kept) -> None:
    bare = Rows(gallery.all, gallery.pictures)
    assert rank(probe(), bare, SIZE, [Spatial()]).ids[0] == RIGHT
    gallery.cache_dir = None
    assert rank(probe(), gallery, SIZE, [Spatial()]).ids[0] == RIGHT


def test_a_picture_that_is_gone_keeps_its_cosine_alone(gallery: Kept) -> None:
    gallery.pictures = {row: image for row, image in candidates().items() if row not in (0, RIGHT)}
    ranking = rank(probe(), gallery, SIZE, [Spatial()])
    assert sorted(ranking.ids.tolist()) == list(range(SIZE))
    inliers = Spatial().inliers(probe(), rank(probe(), gallery, SIZE), gallery)
    assert inliers[0] == inliers[RIGHT] == 0


def test_only_the_first_candidates_are_looked_at(gallery: Kept) -> None:
    ranking = rank(probe(), gallery, SIZE, [Spatial(top=3)])
    assert ranking.ids[3:].tolist() == [3, 4, 5]
    assert sorted(gallery.read) == [0, 1, 2]


def test_more_than_are_asked_for_are_looked_at(gallery: Kept) -> None:
    assert rank(probe(), gallery, 1, [Spatial(top=SIZE)]).ids.tolist() == [RIGHT]


def test_turned_pictures_match_where_keypoints_keep_their_orientation(gallery: Kept) -> None:
    turned = QUERY.transpose(Image.Transpose.ROTATE_90)
    first = rank(probe(turned), gallery, SIZE)
    assert Spatial(upright=True).inliers(probe(turned), first, gallery)[RIGHT] < 15
    assert Spatial(upright=False).inliers(probe(turned), first, gallery)[RIGHT] > 30


@pytest.mark.parametrize("count", [0, 1])
def test_a_gallery_of_one_or_none(count: int) -> None:
    gallery = Rows(clusters(2)[:count], {0: QUERY})
    ranking = rank(Probe(clusters(1), lambda: QUERY), gallery, 10, [Spatial()])
    assert ranking.ids.tolist() == list(range(count))


def test_an_empty_ranking_has_no_inliers(gallery: Kept) -> None:
    empty = Ranking(np.empty(0, np.int64), np.empty(0, np.float32))
    assert Spatial().values(probe(), empty, gallery).shape == (0,)


def test_a_query_that_is_no_picture_is_one_line(gallery: Kept) -> None:
    with pytest.raises(QueryError, match=r"spatial compares pictures.*leave spatial out"):
        rank(Probe(np.array([[1, 0]], np.float32)), gallery, 3, [Spatial()])


def test_a_query_whose_file_is_gone_is_one_line(gallery: Kept) -> None:
    def gone() -> Image.Image:
        raise ImageError("no such file")

    with pytest.raises(QueryError, match=r"spatial: the query's picture cannot be read .no such file"):
        rank(Probe(np.array([[1, 0]], np.float32), gone), gallery, 3, [Spatial()])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "top = 0"),
        ({"features": 5}, "features = 5"),
        ({"ratio": 0}, "ratio = 0"),
        ({"pixels": 0}, "pixels = 0"),
        ({"model": "sphere"}, "model = sphere; there are homography, affine"),
    ],
)
def test_parameters_have_bounds(options: dict[str, object], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        Spatial(**options)  # type: ignore[arg-type]
