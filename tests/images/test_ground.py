"""Transparency: a picture is seen on white, or on black where white would hide it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.encoders import load_encoder
from lookalike.images.decode import decode, to_rgb
from tests.hostile.craft import saved


def artwork(colour: tuple[int, int, int], shape: str = "ellipse", opacity: int = 255) -> Image.Image:
    """A shape of one colour on transparency that is white underneath."""
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    getattr(ImageDraw.Draw(image), shape)((16, 16, 48, 48), fill=(*colour, opacity))
    return image


def corner_and_middle(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pixels = np.asarray(decode(data).image)
    return tuple(pixels[0, 0].tolist()), tuple(pixels[32, 32].tolist())


BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize("colour", [WHITE, (255, 255, 200), (230, 240, 255), (210, 210, 210)])
def test_light_artwork_stands_on_black(colour: tuple[int, int, int]) -> None:
    assert corner_and_middle(saved(artwork(colour), "PNG")) == (BLACK, colour)


@pytest.mark.parametrize("colour", [BLACK, (200, 0, 0), (128, 128, 128), (0, 255, 0)])
def test_all_other_artwork_stands_on_white(colour: tuple[int, int, int]) -> None:
    assert corner_and_middle(saved(artwork(colour), "PNG")) == (WHITE, colour)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa", "P"])
def test_in_every_mode_that_has_alpha(mode: str) -> None:
    for colour, ground in ((WHITE, BLACK), (BLACK, WHITE)):
        image = artwork(colour)
        if mode == "P":
            made = image.quantize(4)
        elif mode in ("LA", "La"):
            made = image.convert("LA") if mode == "LA" else image.convert("LA").convert("La")
        else:
            made = image.convert(mode)
        pixels = np.asarray(to_rgb(made))
        assert made.mode == mode
        assert (tuple(pixels[0, 0].tolist()), tuple(pixels[32, 32].tolist())) == (ground, colour), mode


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_the_first_frame_of_an_animation_too(kind: str) -> None:
    frames = [artwork(WHITE), artwork((255, 0, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert corner_and_middle(data) == (BLACK, WHITE)


def test_what_is_fully_transparent_is_white_whatever_lies_under_it() -> None:
    for colour in (WHITE, BLACK):
        assert corner_and_middle(saved(Image.new("RGBA", (64, 64), (*colour, 0)), "PNG")) == (WHITE, WHITE)


def test_pixels_count_by_their_opacity_and_hidden_ones_not_at_all() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (16, 16, 48, 48))
    assert corner_and_middle(saved(image, "PNG")) == (BLACK, WHITE)


def test_a_light_picture_with_dark_parts_stays_on_white() -> None:
    image = artwork((240, 240, 240))
    image.paste((20, 20, 20, 255), (24, 24, 40, 40))
    assert corner_and_middle(saved(image, "PNG"))[0] == WHITE


def test_two_white_drawings_no_longer_look_alike() -> None:
    circle, frame = artwork(WHITE), Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    ImageDraw.Draw(frame).rectangle((4, 4, 60, 12), fill=WHITE)
    vectors = load_encoder("thumbnail").encode([circle, frame, circle.convert("RGBa").convert("RGBA")])
    assert vectors[0] @ vectors[1] < 0.9
    assert vectors[0] @ vectors[2] > 0.999
