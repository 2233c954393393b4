"""Windows of a feature map have the vectors that the encoder's own pooling gives for them."""

from pathlib import Path

import numpy as np
import pytest

from lookalike.encoders import load_encoder
from lookalike.encoders.maps import MapHead, boxes, map_encoder, pyramid, shares
from lookalike.encoders.region_windows import representatives
from lookalike.encoders.regions import default_spec, region_encoder
from lookalike.encoders.whitened import whitened
from lookalike.encoders.whitening import Whitening, fit
from lookalike.errors import EncoderError
from lookalike.types import Box, Encoder
from tests.encoders import checkpoints
from tests.support.pictures import picture


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return load_encoder("efficientnet-lite0")


def test_the_mean_of_the_whole_map_is_the_vector_of_the_picture(lite: Encoder) -> None:
    image, maps = picture(3, (320, 240)), map_encoder(lite)
    assert maps is not None
    assert maps.map_head is not None
    (cells,) = maps.encode_maps([maps.prepare_map(image, 320)])
    assert cells.shape == (8, 10, 1280)
    vector = maps.map_head.vectors(cells, np.array([[0, 0, 8, 10]]))
    np.testing.assert_allclose(vector, lite.encode([image]), atol=2e-6)


def test_a_window_has_the_mean_of_its_cells_and_no_others() -> None:
    cells = np.random.default_rng(0).random((5, 7, 4)).astype(np.float32)
    windows = np.array([[0, 0, 5, 7], [1, 2, 3, 6], [4, 6, 5, 7]])
    expected = np.stack([cells[t:b, left:r].reshape(-1, 4).mean(axis=0) for t, left, b, r in windows.tolist()])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(MapHead().vectors(cells, windows), expected, atol=1e-6)


def test_a_generalised_mean_is_raised_before_its_linear_layer() -> None:
    random = np.random.default_rng(1)
    cells = random.normal(size=(4, 4, 3)).astype(np.float32)
    weight, bias = random.normal(size=(2, 3)).astype(np.float32), np.array([0.5, -1], np.float32)
    head = MapHead(power=3, least=1e-6, weight=weight, bias=bias)
    inside = np.maximum(cells[1:3, 0:2].reshape(-1, 3).astype(np.float64), 1e-6)
    expected = weight @ np.cbrt((inside**3).mean(axis=0)) + bias
    vector = head.vectors(cells, np.array([[1, 0, 3, 2]]))[0]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_window_of_which_nothing_is_left_stands_for_the_whole() -> None:
    cells = np.zeros((2, 4, 3), np.float32)
    cells[:, 3] = (0, 3, 4)
    vectors = MapHead().vectors(cells, np.array([[0, 0, 2, 2], [0, 2, 2, 4]]))
    np.testing.assert_allclose(vectors, [[0, 0.6, 0.8]] * 2, atol=1e-6)


def test_shares_of_a_window_add_up_to_one() -> None:
    window = shares(2, 3, np.array([[0, 1, 2, 3]]))
    assert window.tolist() == [[0, 0.25, 0.25, 0, 0.25, 0.25]]


def test_windows_are_scaled_to_the_picture() -> None:
    assert boxes(np.array([[1, 0, 2, 3]]), (2, 4), 400, 100) == [Box(0, 50, 300, 100)]


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (700, 5), (64, 48), (2500, 1800)])
def test_parts_lie_within_pictures_of_any_size(lite: Encoder, size: tuple[int, int]) -> None:
    regions = region_encoder(lite, "pooled,size=320")
    ((parts, vectors),) = regions.encode_batch([regions.prepare(picture(1, size))])
    assert 1 <= len(parts) == len(vectors) <= 8
    assert len(set(parts)) == len(parts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for box in parts:
        assert 0 <= box.left < box.right <= size[0] + 1e-6
        assert 0 <= box.top < box.bottom <= size[1] + 1e-6


def test_parts_do_not_depend_on_their_batch(lite: Encoder) -> None:
    regions = region_encoder(lite, "pooled,size=320")
    prepared = [regions.prepare(picture(seed, (200, 150))) for seed in range(3)]
    together = regions.encode_batch(prepared)
    for alone, among in zip(map(regions.encode_batch, ([one] for one in prepared)), together, strict=True):
        assert alone[0][0] == among[0]
        np.testing.assert_array_equal(alone[0][1], among[1])


def test_an_even_ground_takes_one_window_before_any_is_taken_twice() -> None:
    ground, thing, other = np.eye(3, dtype=np.float32)
    vectors = np.stack([ground, ground, ground, thing, ground, other])
    assert sorted(representatives(vectors, np.ones(6, np.float32), 3)) == [0, 3, 5]


def test_specs_have_fingerprints_of_their_own(lite: Encoder) -> None:
    specs = ["grid", "pooled", "pooled,size=448", "pooled,most=16", "pooled,most=16,size=448"]
    made = [region_encoder(lite, spec) for spec in specs]
    assert [each.spec for each in made] == specs
    assert len({each.fingerprint for each in made}) == len(specs)
    assert region_encoder(lite, "pooled,size=640").fingerprint == region_encoder(lite, "pooled").fingerprint
    assert [each.passes for each in made[1:3]] == pytest.approx([5.0, 2.96])


def test_windows_of_a_whitened_encoder_are_whitened(lite: Encoder) -> None:
    learned: Whitening = fit(lite.encode([picture(seed, (96, 96)) for seed in range(6)]), 4)
    plain, mapped = map_encoder(lite), map_encoder(whitened(lite, learned))
    assert plain is not None
    assert plain.map_head is not None
    assert mapped is not None
    assert mapped.map_head is not None
    (cells,) = mapped.encode_maps([mapped.prepare_map(picture(9, (300, 200)), mapped.map_side)])
    windows = pyramid(*cells.shape[:2], (0.5,), (1.0,), 0.5)
    expected = learned.apply(plain.map_head.vectors(cells, windows))
    np.testing.assert_allclose(mapped.map_head.vectors(cells, windows), expected, atol=1e-6)
    assert region_encoder(whitened(lite, learned)).dim == 4


@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_windows_of_patch_tokens_are_pooled_as_the_encoder_pools_them(pooling: str, tmp_path: Path) -> None:
    checkpoint = checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path)
    encoder = load_encoder(checkpoint, pooling=pooling, device="onnx")
    maps = map_encoder(encoder)
    assert maps is not None
    assert maps.map_head is not None
    pixels = checkpoints.small_pictures(70, 112, count=1)[0]
    (cells,) = maps.encode_maps([pixels])
    tokens = checkpoints.reference(checkpoint, pixels[None])[0, 1:].reshape(5, 8, -1).astype(np.float64)
    inside = tokens[1:4, 2:8].reshape(18, -1)
    pooled = inside.mean(axis=0) if pooling == "mean" else np.cbrt((inside**3).mean(axis=0))
    vector = maps.map_head.vectors(cells, np.array([[1, 2, 4, 8], [0, 0, 5, 8]]))
    np.testing.assert_allclose(vector[0], pooled / np.linalg.norm(pooled), atol=1e-4)
    np.testing.assert_allclose(vector[1], encoder.encode_batch([pixels])[0], atol=1e-5)
    assert maps.prepare_map(picture(1, (300, 200)), 140).shape == (98, 140, 3)


def test_a_class_token_has_no_windows(tmp_path: Path) -> None:
    encoder = load_encoder(checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path), device="onnx")
    assert default_spec(encoder) == "grid"
    with pytest.raises(EncoderError, match="a ViT with pool=gem"):
        region_encoder(encoder, "pooled")


def test_an_encoder_without_a_map_is_cut_into_crops_and_says_so() -> None:
    encoder = load_encoder("thumbnail")
    assert default_spec(encoder) == "grid"
    assert region_encoder(encoder).spec == "grid"
    with pytest.raises(EncoderError, match=r"thumbnail has no map whose windows have vectors; use the spec grid"):
        region_encoder(encoder, "pooled")


@pytest.mark.parametrize("spec", ["tiles", "grid,most=4", "pooled,most=x", "pooled,side=3", "pooled,"])
def test_a_spec_that_is_none_is_refused(lite: Encoder, spec: str) -> None:
    with pytest.raises(EncoderError, match=r"spec of regions|is no option"):
        region_encoder(lite, spec)


@pytest.mark.parametrize(
    ("option", "bounds"), [("most=0", "1 and 2048"), ("most=99999", "1 and 2048"), ("size=10", "56 and 2048")]
)
def test_an_option_of_a_spec_has_bounds_that_are_told(lite: Encoder, option: str, bounds: str) -> None:
    with pytest.raises(EncoderError, match=f"^regions pooled: {option.replace('=', ' = ')} is not between {bounds}$"):
        region_encoder(lite, f"pooled,{option}")


def test_a_pyramid_covers_the_map() -> None:
    covered = shares(9, 13, pyramid(9, 13, (0.2, 0.5), (1.0,), 1 / 3)).sum(axis=0)
    assert covered.min() > 0
