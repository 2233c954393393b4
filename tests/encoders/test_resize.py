import numpy as np
import pytest
from PIL import Image

from lookalike.encoders.resize import Resize
from lookalike.errors import EncoderError


@pytest.mark.parametrize(
    ("text", "size", "sides"),
    [
        ("fit-320", (640, 480), (320, 240)),
        ("fit-320", (30, 40), (240, 320)),
        ("fit-320", (3200, 16), (320, 32)),
        ("short-288", (640, 480), (384, 288)),
        ("short-288", (480, 640), (288, 384)),
        ("short-288", (10_000, 100), (1152, 288)),
        ("squash-320", (640, 480), (320, 320)),
    ],
)
def test_sides(text: str, size: tuple[int, int], sides: tuple[int, int]) -> None:
    pixels = Resize.parse(text).prepare(Image.new("RGB", size))
    assert pixels.shape == (sides[1], sides[0], 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "region", "sides"),
    [
        ("fit-320", (400, 300), (200, 150)),  # the scale of the whole picture, 320 / 640
        ("fit-320", (100, 50), (160, 80)),  # no less than half of 320
        ("fit-320", (640, 480), (320, 240)),
        ("short-288", (480, 240), (288, 144)),  # 288 / 480
        ("short-288", (100, 50), (288, 144)),  # no less than half of 288, at the shorter side
        ("squash-320", (100, 50), (320, 320)),
    ],
)
def test_a_region_has_the_scale_of_its_picture(text: str, region: tuple[int, int], sides: tuple[int, int]) -> None:
    pixels = Resize.parse(text).prepare(Image.new("RGB", region), (640, 480))
    assert pixels.shape == (sides[1], sides[0], 3)


def test_the_content_is_scaled_and_not_cut() -> None:
    left_half_white = Image.new("RGB", (400, 200))
    left_half_white.paste("white", (0, 0, 200, 200))
    for text in ("fit-100", "short-100", "squash-100"):
        pixels = Resize.parse(text).prepare(left_half_white)
        middle = pixels.shape[1] // 2
        assert pixels[:, : middle - 3].min() == 255
        assert pixels[:, middle + 3 :].max() == 0


def test_it_is_written_as_it_is_read() -> None:
    assert [str(Resize.parse(text)) for text in ("fit-32", "short-288")] == ["fit-32", "short-288"]


@pytest.mark.parametrize("text", ["crop-224", "fit", "fit-0", "fit-", "fit-99999999", "fit-32 "])
def test_other_words(text: str) -> None:
    with pytest.raises(EncoderError, match=r"is none of fit-N, short-N, squash-N \(N pixels, as in fit-320\)"):
        Resize.parse(text)


@pytest.mark.parametrize(("text", "nearest"), [("fit-16", "fit-32"), ("short-5000", "short-1024")])
def test_sizes_that_are_too_small_or_too_large(text: str, nearest: str) -> None:
    with pytest.raises(EncoderError, match=f"N is 32 to 1024; try {nearest}"):
        Resize.parse(text)
