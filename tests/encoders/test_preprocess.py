import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike.encoders.preprocess import PADDING, Preprocess
from lookalike.encoders.resample import KERNELS, enlarged_part
from lookalike.errors import EncoderError


def picture(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None].astype(np.uint8)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None].astype(np.uint8)
    return Image.fromarray(pixels)


def test_squash_shows_the_whole_picture_as_a_square() -> None:
    pixels = Preprocess.parse("squash-224").prepare(picture(600, 100))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0, 0] < 5
    assert pixels[-1, -1, 0] > 250


def test_crop_is_the_reports_shorter_side_to_256_then_the_middle_224() -> None:
    image = picture(640, 480)
    resized = image.resize((341, 256), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((58, 16, 282, 240)))
    assert np.array_equal(Preprocess.parse("crop-224").prepare(image), expected)


@pytest.mark.parametrize("size", [(9000, 3), (3, 9000), (5000, 700)])
def test_crop_of_a_panorama_is_its_middle_and_takes_little_memory(size: tuple[int, int]) -> None:
    pixels = Preprocess.parse("crop-224").prepare(picture(*size))
    assert pixels.shape == (224, 224, 3)
    along = 0 if size[0] > size[1] else 1
    assert 100 < pixels[..., along].mean() < 155


@functools.cache
def published() -> Any:
    """The preprocessing in DINOv2's preprocessor_config.json, up to the scaling of the numbers."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    return BitImageProcessorPil(size={"shortest_edge": 256}, do_rescale=False, do_normalize=False)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width * 9973 + height).integers(0, 256, (height, width, 3), np.uint8))


def side() -> st.SearchStrategy[int]:
    """Sides of strips are as likely as those of photos."""
    return st.integers(1, 4) | st.integers(1, 700)


@settings(max_examples=60, deadline=None)
@given(width=side(), height=side())
@example(width=640, height=427)
@example(width=427, height=640)
@example(width=1, height=300)
@example(width=300, height=1)
@example(width=2, height=1001)
@example(width=256, height=256)
def test_crop_is_the_published_preprocessing_pixel_by_pixel(width: int, height: int) -> None:
    assume(max(width, height) / min(width, height) <= 600)  # else the published one takes gigabytes
    image = noise(width, height)
    expected = np.asarray(published()(image, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
    assert np.array_equal(Preprocess.parse("crop-224").prepare(image), expected)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_part_enlarged_is_that_part_of_the_whole(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    size = data.draw(st.integers(width, 400)), data.draw(st.integers(height, 400))
    left, right = sorted(data.draw(st.lists(st.integers(0, size[0]), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(st.integers(0, size[1]), min_size=2, max_size=2, unique=True)))
    image, box, resample = noise(width, height), (left, top, right, bottom), data.draw(st.sampled_from(list(KERNELS)))
    expected = image.resize(size, resample).crop(box)
    assert np.array_equal(np.asarray(enlarged_part(image, size, box, resample)), np.asarray(expected))


def test_crop_never_resizes_the_whole_of_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a height of 256 it would have 4 gigapixels."""
    monkeypatch.setattr(Image.Image, "resize", None)
    pixels = Preprocess.parse("crop-224").prepare(picture(65_000, 1))
    assert pixels.shape == (224, 224, 3)
    assert (pixels[..., 0] == 127).all(), "the red of the middle"


def test_pad_keeps_proportions_and_fills_up_with_grey_at_the_right_and_bottom() -> None:
    pixels = Preprocess.parse("pad-518").prepare(picture(1036, 500))
    assert pixels.shape == (252, 518, 3)
    assert (pixels[250:] == PADDING).all()
    assert not (pixels[249] == PADDING).all()


@pytest.mark.parametrize(
    ("size", "shape"), [((10_000, 1), (14, 518, 3)), ((1, 10_000), (518, 14, 3)), ((1, 1), (518, 518, 3))]
)
def test_pad_of_extreme_shapes(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    assert Preprocess.parse("pad-518").prepare(picture(*size)).shape == shape


def test_a_region_gets_the_scale_that_its_picture_has() -> None:
    """The picture of 2000 x 1000 is halved twice to 500; its region of 1000 x 600 becomes 250 x 150."""
    pixels = Preprocess.parse("pad-500").prepare(picture(1000, 600), full_size=(2000, 1000))
    assert pixels.shape == (154, 252, 3)


def test_a_small_region_is_brought_to_224_and_no_region_beyond_n() -> None:
    assert Preprocess.parse("pad-518").prepare(picture(50, 25), full_size=(4000, 3000)).shape == (112, 224, 3)
    assert Preprocess.parse("pad-112").prepare(picture(50, 25), full_size=(4000, 3000)).shape == (56, 112, 3)
    assert Preprocess.parse("pad-518").prepare(picture(900, 450), full_size=(900, 450)).shape == (266, 518, 3)


def test_a_picture_may_be_decoded_reduced_down_to_the_size_that_is_used() -> None:
    sizes = {text: Preprocess.parse(text).decode_size for text in ("squash-224", "crop-224", "pad-518")}
    assert sizes == {"squash-224": 224, "crop-224": 256, "pad-518": 518}


@pytest.mark.parametrize(
    "text",
    ["squash", "squash-", "squash-0", "squash-230", "crop-9999", "pad-7", "pad-99999999", "Pad-518", "squash-224 "],
)
def test_a_size_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(EncoderError, match="preprocessing"):
        Preprocess.parse(text)


def test_its_name_makes_it_again() -> None:
    for text in ("squash-224", "crop-448", "pad-500"):
        assert str(Preprocess.parse(text)) == text


@pytest.mark.parametrize("spec", ["squash-224", "crop-224", "crop-98", "pad-224", "pad-518"])
@pytest.mark.parametrize("size", [(640, 480), (300, 500), (224, 224), (1500, 100)])
def test_what_the_pixels_show_is_where_they_say_it_is(spec: str, size: tuple[int, int]) -> None:
    """The colours of a slope tell where in the picture a pixel was taken from."""
    chosen = Preprocess.parse(spec)
    pixels, covered = chosen.prepare(picture(*size)), chosen.covered(*size)
    height, width = pixels.shape[:2]
    for x, y in ((0.5, 0.5), (0.4, 0.6), (0.3, 0.3)):
        red, green, blue = pixels[int(y * height), int(x * width)].astype(int)
        if (red, green, blue) == PADDING:
            continue
        assert abs(red / 255 * size[0] - (covered.left + x * (covered.right - covered.left))) < 0.03 * size[0] + 5
        assert abs(green / 255 * size[1] - (covered.top + y * (covered.bottom - covered.top))) < 0.03 * size[1] + 5


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (1000, 7), (33, 34)])
def test_what_crop_covers_is_where_its_box_lies_in_the_resized_picture(size: tuple[int, int]) -> None:
    """The box (left, 16, left + 224, 240) of the resized picture, of which each side has its own scale."""
    width, height = size
    longer = int(256 * max(size) / min(size))
    across, down = (256, longer) if width < height else (longer, 256)
    left, top = (across - 224) // 2, (down - 224) // 2
    covered = Preprocess.parse("crop-224").covered(width, height)
    assert covered.left * across / width == pytest.approx(left)
    assert covered.right * across / width == pytest.approx(left + 224)
    assert covered.top * down / height == pytest.approx(top)
    assert covered.bottom * down / height == pytest.approx(top + 224)
