from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.encoders import dense_sift, load_encoder, rootsift
from lookalike.encoders.rootsift import RootSift, aggregate, load_vocabulary, to_gray
from lookalike.errors import EncoderError
from lookalike.images.decode import decode, load, prepare, to_jpeg
from lookalike.types import Box, Encoder
from tests.support.pictures import picture


def facade(seed: int = 0, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Windows and stones: something with corners."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40), np.uint8)).resize(size, Image.Resampling.NEAREST)
    fine = Image.fromarray(rng.integers(0, 90, (240, 320), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(coarse, fine, 0.4).convert("RGB")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("rootsift")


def test_it_is_in_the_table_and_small(encoder: Encoder) -> None:
    assert (encoder.name, encoder.dim <= 1024, len(encoder.fingerprint)) == ("rootsift", True, 64)
    assert rootsift.VOCABULARY.stat().st_size <= 8_000_000


def odd_pictures() -> Iterator[Image.Image]:
    yield Image.new("RGB", (1, 1), "red")
    yield Image.new("RGB", (1, 4000), "white")
    yield Image.new("RGB", (300, 200), (12, 34, 56))
    yield Image.linear_gradient("L").convert("RGB")
    yield Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))
    yield picture(1, (9, 7))


@pytest.mark.parametrize("image", list(odd_pictures()), ids=lambda image: f"{image.size}")
def test_every_picture_gets_a_finite_unit_vector(encoder: Encoder, image: Image.Image) -> None:
    vector = encoder.encode([image])[0]
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_pictures_without_texture_are_told_apart_by_colour(encoder: Encoder) -> None:
    red, dark_red, blue = encoder.encode([Image.new("RGB", (50, 50), name) for name in ("red", "darkred", "blue")])
    assert red @ dark_red > red @ blue


def test_batches_change_nothing_to_the_last_bit(encoder: Encoder) -> None:
    pictures = [facade(seed) for seed in range(4)]
    together = encoder.encode(pictures)
    assert np.array_equal(together, np.concatenate([encoder.encode([image]) for image in pictures]))


def test_a_scaled_and_darkened_view_is_nearer_than_another_facade(encoder: Encoder) -> None:
    view = facade(0).resize((512, 384), Image.Resampling.BICUBIC).point(lambda value: value * 0.7)
    query, same, other = encoder.encode([view, facade(0), facade(1)])
    assert query @ same > query @ other + 0.1


def test_upright_patches_tell_a_picture_from_its_rotation(encoder: Encoder) -> None:
    small = facade(0).resize((512, 384), Image.Resampling.BICUBIC)
    upright, scaled, turned = encoder.encode([facade(0), small, facade(0).rotate(90, expand=True)])
    assert upright @ scaled > upright @ turned + 0.1


def test_a_region_keeps_the_scale_of_its_picture() -> None:
    whole = facade(0, (1280, 960))
    region = load(whole, box=Box(320, 240, 960, 720))
    assert region.image.size == (640, 480)
    gray = to_gray(region.image, (1280, 960))
    assert gray.shape == (240, 320)  # half, as the whole picture would be


def test_a_reduced_decoding_gives_nearly_the_same_vector(encoder: Encoder) -> None:
    data = to_jpeg(facade(0, (2600, 2000)), 95)
    full, reduced = decode(data), decode(data, size=encoder.decode_size)
    assert reduced.image.width == 1300
    other = load(facade(1, (2600, 2000)))
    whole, half, another = (prepare(encoder, decoded) for decoded in (full, reduced, other))
    # Whitening enlarges small differences too: two such pictures of noise have a cosine of .74.
    assert whole @ half > 0.94
    assert whole @ half > whole @ another + 0.2


def test_a_patch_of_one_edge_is_described_by_its_orientation_alone() -> None:
    gray = np.zeros((23, 23), np.uint8)
    gray[:, 12:] = 200
    descriptors = dense_sift.described(gray)
    assert descriptors.shape == (1, 128)
    # Dark on the left of bright is a gradient to the right: of the eight orientations only the first has any.
    assert np.flatnonzero(descriptors.reshape(16, 8).sum(axis=0) > 1e-6).tolist() == [0]
    assert np.linalg.norm(descriptors) == pytest.approx(1, abs=1e-6)


def test_plain_patches_are_left_out() -> None:
    assert dense_sift.described(np.full((100, 100), 77, np.uint8)).shape == (0, 128)


def test_vlad_is_the_sum_of_unit_residuals_by_hand() -> None:
    vocabulary = {
        "mean": np.zeros(2, np.float32),
        "axes": np.eye(2, dtype=np.float32),
        "centroids": np.array([[0, 0], [10, 0]], np.float32),
    }
    # Two residuals at the first centroid, (1, 0) and (0, 1): their sum, made even and rooted, is (0.5 ** 0.25) twice.
    vlad = aggregate(np.array([[3, 0], [0, 2]], np.float32), vocabulary)
    assert np.allclose(vlad, [np.sqrt(0.5), np.sqrt(0.5), 0, 0])
    assert not aggregate(np.empty((0, 2), np.float32), vocabulary).any()


def test_a_damaged_vocabulary_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "rootsift.safetensors"
    damaged.write_bytes(rootsift.VOCABULARY.read_bytes()[:1000])
    monkeypatch.setattr(rootsift, "VOCABULARY", damaged)
    load_vocabulary.cache_clear()
    try:
        with pytest.raises(
            EncoderError, match=r"rootsift.safetensors of the package cannot be read .*; install lookalike again"
        ):
            RootSift()
    finally:
        load_vocabulary.cache_clear()


def test_buildings_of_the_town_are_found_again(six_buildings: Path, tmp_path: Path, encoder: Encoder) -> None:
    """Its colours alone, which `thumbnail` goes by, find hardly any of them."""
    from lookalike.evaluation import evaluate

    report = evaluate("vgg", root=six_buildings, encoder=encoder, cache=tmp_path)
    assert (report.gallery.images, len(report.queries)) == (30, 12)
    assert report.map >= 0.7
    assert report.map > evaluate("vgg", root=six_buildings, encoder="thumbnail", cache=tmp_path).map + 0.4


@pytest.mark.photos
def test_the_published_figure_on_paris_250_is_reached(shared_data: Path, tmp_path: Path, encoder: Encoder) -> None:
    from lookalike.evaluation import evaluate

    report = evaluate("vgg", root=shared_data / "paris250", encoder=encoder, cache=tmp_path)
    assert report.gallery.images == 250
    assert len(report.queries) == 12
    assert report.map >= 0.72
