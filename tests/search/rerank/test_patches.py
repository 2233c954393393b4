"""Patch tokens: the two measures against loops, and the method with a small DINOv2 of random weights."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import dinov2
from lookalike.errors import QueryError
from lookalike.search.rank import rank
from lookalike.search.rerank.patches import Patches, PatchTokens, chamfer, mutual, mutual_pairs
from lookalike.types import Probe
from tests.encoders import checkpoints
from tests.search.rerank.rows import Rows, clusters

pytestmark = pytest.mark.usefixtures("own_cache")
SIZE = 5
RIGHT = 3


def plain_mutual(similar: NDArray[np.float32]) -> float:
    total = 0.0
    for row in range(similar.shape[0]):
        best = int(similar[row].argmax())
        if int(similar[:, best].argmax()) == row:
            total += float(similar[row, best])
    return float(total / similar.shape[0])


def plain_chamfer(similar: NDArray[np.float32]) -> float:
    return sum(max(float(value) for value in row) for row in similar) / len(similar)


@pytest.mark.parametrize("shape", [(20, 30), (1, 7), (7, 1)])
def test_both_measures_are_what_loops_give(shape: tuple[int, int]) -> None:
    similar = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    assert mutual(similar) == pytest.approx(plain_mutual(similar), abs=1e-6)
    assert chamfer(similar) == pytest.approx(plain_chamfer(similar), abs=1e-6)


def test_by_hand() -> None:
    """Both patches of the query like b0 best; only a1 is liked back."""
    similar = np.array([[0.6, 0.1], [0.8, 0.4]], np.float32)
    assert mutual_pairs(similar).tolist() == [[1, 0]]
    assert mutual(similar) == pytest.approx(0.8 / 2)
    assert chamfer(similar) == pytest.approx((0.6 + 0.8) / 2)


def test_tokens_in_bytes_keep_their_directions() -> None:
    tokens = np.random.default_rng(0).normal(size=(3, 4, 64)).astype(np.float32) * 20
    again = PatchTokens.from_bytes(PatchTokens.of(tokens).to_bytes())
    assert again is not None
    assert again.values.shape == (3, 4, 64)
    exact = tokens.reshape(12, 64) / np.linalg.norm(tokens.reshape(12, 64), axis=1, keepdims=True)
    assert (again.unit() * exact).sum(axis=1).min() > 0.9999


def test_a_token_of_zeros_stays_one() -> None:
    assert not PatchTokens.of(np.zeros((1, 2, 8), np.float32)).unit().any()


@pytest.mark.parametrize("damage", ["short", "other", "nothing", "header"])
def test_damaged_bytes_are_none(damage: str) -> None:
    data = PatchTokens.of(np.ones((2, 2, 8), np.float32)).to_bytes()
    damaged = {"short": data[:-1], "other": b"lkp1" + data[4:], "nothing": b"", "header": data[:12]}
    assert PatchTokens.from_bytes(damaged[damage]) is None


class Kept(Rows):
    """A gallery with an encoder and a place for a cache; counts how often a picture is read."""

    def __init__(self, folder: Path, encoder: object) -> None:
        cosines = np.linspace(0.6, 0.55, SIZE)
        pictures = {row: picture(row) for row in range(SIZE)}
        super().__init__(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32), pictures)
        self.cache_dir, self.encoder, self.read = folder, encoder, list[int]()

    def content(self, row: int) -> str:
        return f"{row:064x}"

    def image(self, row: int) -> Image.Image:
        self.read.append(row)
        return super().image(row)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(checkpoints.small_pictures(98 + seed, 98)[0])


def probe(image: Image.Image | None = None) -> Probe:
    return Probe(np.array([[1, 0]], np.float32), lambda: image or picture(RIGHT))


@pytest.fixture
def gallery(tmp_path: Path, tiny: Path) -> Kept:
    return Kept(tmp_path / "cache", dinov2.load(tiny, preprocess="squash-98", device="onnx"))


@pytest.mark.parametrize("how", ["mutual", "chamfer"])
def test_values_are_the_cosine_and_the_measure_of_the_encoders_tokens(gallery: Kept, how: str) -> None:
    encoder = gallery.encoder
    assert isinstance(encoder, dinov2.Dinov2)
    first = rank(probe(), gallery, SIZE)
    values = Patches(how=how).values(probe(), first, gallery)  # type: ignore[arg-type]
    measure = {"mutual": plain_mutual, "chamfer": plain_chamfer}[how]
    tokens = encoder.encode_patches([encoder.prepare(picture(row)) for row in [RIGHT, *first.ids.tolist()]])
    rows = [grid.reshape(49, -1) / np.linalg.norm(grid.reshape(49, -1), axis=1, keepdims=True) for grid in tokens]
    expected = [float(score) + measure(rows[0] @ row.T) for score, row in zip(first.scores, rows[1:], strict=True)]
    assert np.allclose(values, expected, atol=2e-2), "tokens are kept in bytes"


@pytest.mark.parametrize("how", ["mutual", "chamfer"])
def test_the_same_picture_comes_first_and_tokens_are_computed_once(gallery: Kept, how: str) -> None:
    method = Patches(how=how)  # type: ignore[arg-type]
    assert rank(probe(), gallery, SIZE, [method]).ids[0] == RIGHT
    assert sorted(gallery.read) == list(range(SIZE))
    assert rank(probe(), gallery, SIZE, [method]).ids[0] == RIGHT
    assert len(gallery.read) == SIZE


def test_a_picture_that_is_gone_keeps_its_cosine_alone(gallery: Kept) -> None:
    gallery.pictures = {}
    first = rank(probe(), gallery, SIZE)
    assert np.allclose(Patches().values(probe(), first, gallery), first.scores)


def test_an_encoder_of_ones_own_goes_before_the_gallerys(gallery: Kept) -> None:
    encoder, gallery.encoder = gallery.encoder, None
    assert rank(probe(), gallery, SIZE, [Patches(encoder=encoder)]).ids[0] == RIGHT  # type: ignore[arg-type]


def test_an_encoder_without_patches_is_named(gallery: Kept) -> None:
    class Plain:
        name = "thumb"

    gallery.encoder = Plain()
    with pytest.raises(QueryError, match="needs an encoder with patch tokens, such as dinov2-base; thumb has none"):
        rank(probe(), gallery, SIZE, [Patches()])
    with pytest.raises(QueryError, match="this collection's encoder has none"):
        rank(Probe(clusters(1)), Rows(clusters(3)), 3, [Patches()])


def test_a_query_that_is_no_picture_is_one_line(gallery: Kept) -> None:
    with pytest.raises(QueryError, match=r"patches compares pictures.*leave patches out"):
        rank(Probe(np.array([[1, 0]], np.float32)), gallery, 3, [Patches()])


def test_parameters_have_bounds() -> None:
    with pytest.raises(QueryError, match="how = median; there are mutual, chamfer"):
        Patches(how="median")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="patches: top = 0"):
        Patches(top=0)
