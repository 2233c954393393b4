"""Bytes to upright RGB: every mode, orientation, box and limit, with colours that can be checked by hand."""

import hashlib
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from lookalike.encoders import load_encoder
from lookalike.errors import ImageError
from lookalike.images.decode import Limits, clip, decode, encode_images, load, read, sniff, thumbnail, to_jpeg, to_rgb
from lookalike.types import Box, Encoder
from tests.hostile.craft import bmp, png, saved, scene
from tests.hostile.good import GOOD

WHITE, RED, GREEN, BLUE = (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def colour(image: Image.Image, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


def quarters(size: tuple[int, int]) -> Image.Image:
    """Red, green, blue and white quarters: left above, right above, left below, right below."""
    small = Image.new("RGB", (2, 2))
    for at, paint in zip(((0, 0), (1, 0), (0, 1), (1, 1)), (RED, GREEN, BLUE, WHITE), strict=True):
        small.putpixel(at, paint)
    return small.resize(size, Image.Resampling.NEAREST)


def close(first: Image.Image, second: Image.Image, within: float) -> bool:
    assert first.size == second.size
    return float(np.abs(np.asarray(first, np.float32) - np.asarray(second, np.float32)).mean()) <= within


# Alpha, depth, colour models


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    plain = Image.new("LA" if mode == "LA" else "RGBA", (4, 4))
    assert colour(to_rgb(plain.convert(mode))) == WHITE


def test_a_palette_with_alpha_of_its_own_becomes_white_where_it_is_clear() -> None:
    image = Image.new("RGBA", (4, 4)).quantize(2)
    assert image.mode == "P"
    assert colour(to_rgb(image)) == WHITE


def test_half_transparent_black_becomes_grey() -> None:
    assert colour(decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).image) == (127, 127, 127)


def test_a_transparent_palette_entry_becomes_white() -> None:
    image = quarters((8, 8)).quantize(4)
    index = image.getpixel((0, 0))
    decoded = decode(saved(image, "PNG", transparency=index)).image
    assert colour(decoded) == WHITE
    assert colour(decoded, (7, 0)) == GREEN


def test_a_transparent_grey_level_becomes_white() -> None:
    assert colour(decode(saved(Image.new("L", (4, 4), 9), "PNG", transparency=9)).image) == WHITE


@pytest.mark.parametrize(("value", "level"), [(0, 0), (255, 0), (256, 1), (0x8000, 128), (0xFFFF, 255)])
def test_sixteen_bit_grey_keeps_its_high_byte(value: int, level: int) -> None:
    deep = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert colour(decode(saved(deep, "PNG")).image) == (level,) * 3
    assert colour(decode(saved(deep, "TIFF")).image) == (level,) * 3


def test_big_endian_sixteen_bit_grey_is_read_alike() -> None:
    deep = Image.frombytes("I;16B", (2, 2), struct.pack(">4H", *[0x8000] * 4))
    assert colour(decode(saved(deep, "TIFF")).image) == (128, 128, 128)


def test_sixteen_bit_colour_keeps_its_high_byte() -> None:
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x00FF)
    assert colour(decode(png(1, 1, 16, 2, row)).image) == (255, 128, 0)


@pytest.mark.parametrize(
    ("highest", "levels"),
    [(1.0, (0, 128, 255)), (255.0, (0, 128, 255)), (1000.0, (0, 128, 255)), (0.0, (0, 0, 0))],
)
def test_floating_point_is_scaled_by_its_range(highest: float, levels: tuple[int, int, int]) -> None:
    values = np.array([[0, highest / 2, highest]], np.float32)
    decoded = decode(saved(Image.fromarray(values), "TIFF")).image
    assert tuple(colour(decoded, (x, 0))[0] for x in range(3)) == levels


@pytest.mark.filterwarnings("error")
def test_what_is_not_a_number_is_black_and_does_not_spoil_the_rest() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, -3e38, 1.0]], np.float32)
    decoded = decode(saved(Image.fromarray(values), "TIFF")).image
    assert [colour(decoded, (x, 0))[0] for x in range(5)] == [0, 0, 0, 0, 255]


def test_thirty_two_bit_integers_are_scaled_by_their_range() -> None:
    values = np.array([[0, 1_000_000, 2_000_000, -7]], np.int32)
    decoded = decode(saved(Image.fromarray(values), "TIFF")).image
    assert [colour(decoded, (x, 0))[0] for x in range(4)] == [0, 128, 255, 0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_has_the_colours_of_the_page(kind: str) -> None:
    image = quarters((32, 32)).convert("CMYK")
    decoded = decode(saved(image, kind, **({"quality": 100} if kind == "JPEG" else {}))).image
    assert close(decoded, quarters((32, 32)), 6)


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    decoded = decode(saved(image, "PNG")).image
    assert [colour(decoded, (x, 0)) for x in (0, 1)] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_stands_for_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), paint) for paint in (RED, GREEN, BLUE)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert close(decode(data).image, frames[0], 4)


def test_a_bmp_of_negative_height_begins_at_the_top() -> None:
    rows = bytes([*RED[::-1], 0] * 1) + bytes([*GREEN[::-1], 0])  # a row is padded to four bytes
    assert colour(decode(bmp(1, -2, rows)).image) == RED
    assert colour(decode(bmp(1, 2, rows)).image) == GREEN


# Orientation, boxes, reduced decoding


def oriented(kind: str, value: int, size: tuple[int, int] = (64, 48)) -> tuple[bytes, Image.Image]:
    """A file with this orientation, and the upright picture it means."""
    stored = quarters(size)
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind in ("JPEG", "AVIF") else {}
    stored.getexif().update(exif)
    meant = stored.copy()
    meant.getexif()[0x0112] = value
    return saved(stored, kind, exif=exif, **options), ImageOps.exif_transpose(meant)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_is_turned_upright_once(kind: str, value: int) -> None:
    data, upright = oriented(kind, value)
    decoded = decode(data)
    assert (decoded.width, decoded.height) == upright.size
    assert close(decoded.image, upright, 5)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_box_means_pixels_of_the_upright_image(kind: str, value: int) -> None:
    data, upright = oriented(kind, value)
    decoded = decode(data, box=Box(4, 6, 20, 40))
    assert (decoded.width, decoded.height) == upright.size
    assert close(decoded.image, upright.crop((4, 6, 20, 40)), 5)


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_upright(value: int) -> None:
    data, _ = oriented("JPEG", value)
    assert decode(data).image.size == (64, 48)


@pytest.mark.parametrize("value", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [8, 20, 50, 90, 200])
def test_reduced_decoding_keeps_what_a_box_means(value: int, size: int) -> None:
    data, upright = oriented("JPEG", value, (1203, 801))
    box = Box(upright.width * 0.25, upright.height * 0.25, upright.width * 0.75, upright.height * 0.75)
    whole = decode(data, box=box)
    reduced = decode(data, box=box, size=size)
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == upright.size
    assert min(reduced.image.size) >= min(2 * size, *whole.image.size) - 1
    assert close(reduced.image.resize((40, 40)), whole.image.resize((40, 40)), 6)  # the four corners meet in its middle


@pytest.mark.parametrize(("size", "factor"), [(None, 1), (300, 1), (200, 2), (100, 4), (50, 8), (1, 8)])
def test_a_jpeg_is_reduced_as_far_as_twice_the_target_size_allows(size: int | None, factor: int) -> None:
    decoded = decode(saved(scene(0, size=(1200, 800)), "JPEG"), size=size)
    assert decoded.image.size == (1200 // factor, 800 // factor)
    assert (decoded.width, decoded.height) == (1200, 800)


def test_a_small_box_of_a_large_jpeg_is_not_reduced_with_it() -> None:
    decoded = decode(saved(scene(0, size=(1600, 1600)), "JPEG"), size=50, box=Box(0, 0, 200, 150))
    assert decoded.image.size == (200, 150)


def test_other_formats_are_never_reduced() -> None:
    assert decode(saved(scene(0, size=(800, 600)), "PNG"), size=10).image.size == (800, 600)


def test_a_sliver_of_a_box_is_at_least_a_pixel() -> None:
    for box in (Box(3.2, 3.2, 3.3, 3.3), Box(63.8, 47.9, 64, 48), Box(0, 0, 0.01, 0.01)):
        assert decode(saved(scene(0, size=(64, 48)), "PNG"), box=box).image.size == (1, 1)


def test_clip_keeps_what_is_inside() -> None:
    assert clip(Box(-5, -5, 20, 999), 100, 50) == Box(0, 0, 20, 50)


@pytest.mark.parametrize("box", [Box(10, 10, 10, 20), Box(20, 20, 10, 10), Box(100, 0, 120, 50), Box(-9, -9, 0, 0)])
def test_a_box_without_area_inside_is_refused_with_its_numbers(box: Box) -> None:
    with pytest.raises(ImageError, match=r"no area inside the image of 100 x 50 pixels") as refusal:
        clip(box, 100, 50)
    assert f"{box.left:g},{box.top:g},{box.right:g},{box.bottom:g}" in str(refusal.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_box_needs_finite_numbers(number: float) -> None:
    with pytest.raises(ImageError, match="not four finite numbers"):
        decode(saved(scene(0), "PNG"), box=Box(0, 0, number, 5))


# Limits, reading, loading


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    data = saved(scene(0, size=(100, 50)), "PNG")
    with pytest.raises(ImageError, match=r"^100 x 50 pixels, over the limit of 4,999$"):
        decode(data, limits=Limits(pixels=4999))
    assert decode(data, limits=Limits(pixels=5000)).width == 100


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(1001))
    for attempt in (lambda limits: read(path, limits), lambda limits: decode(bytes(1001), limits=limits)):
        with pytest.raises(ImageError, match=r"^1,001 bytes, over the limit of 1,000$"):
            attempt(Limits(bytes=1000))
    assert len(read(path, Limits(bytes=1001))) == 1001


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".", "is a directory"), ("absent.jpg", "no such file"), ("a\0b.jpg", "null byte"), ("x" * 300, "name too long")],
)
def test_a_path_that_is_no_file_has_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read(tmp_path / name)


def test_a_device_is_not_read() -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read(os.devnull)


def test_load_takes_bytes_a_path_a_string_or_an_open_image(tmp_path: Path) -> None:
    image = scene(3)
    path = tmp_path / "picture.png"
    image.save(path)
    box = Box(8, 8, 40, 30)
    expected = image.crop((8, 8, 40, 30)).tobytes()
    for source in (path.read_bytes(), path, str(path), image):
        assert load(source, box=box).image.tobytes() == expected


def test_load_turns_an_open_image_upright() -> None:
    data, upright = oriented("JPEG", 6)
    with Image.open(io.BytesIO(data)) as image:
        assert close(load(image).image, upright, 5)


def test_an_open_image_that_cannot_be_read_to_its_end_has_a_reason() -> None:
    data = saved(scene(0, size=(320, 240)), "JPEG")
    with Image.open(io.BytesIO(data[: len(data) // 2])) as image, pytest.raises(ImageError, match="truncated"):
        load(image)


def test_load_leaves_the_callers_image_as_it_was() -> None:
    image = Image.new("RGBA", (4, 4), (1, 2, 3, 4))
    load(image, box=Box(0, 0, 2, 2))
    assert (image.mode, image.size, colour(image)) == ("RGBA", (4, 4), (1, 2, 3, 4))


def test_encode_images_is_load_then_prepare_then_one_batch(encoder: Encoder, tmp_path: Path) -> None:
    scene(1).save(tmp_path / "one.png")
    rows = encode_images(encoder, [tmp_path / "one.png", scene(2), scene(1)])
    assert rows.shape == (3, encoder.dim)
    assert rows[0] @ rows[2] == pytest.approx(1, abs=1e-6)
    assert rows[0] @ rows[1] < 0.99
    assert encode_images(encoder, []).shape == (0, encoder.dim)


# Signatures, thumbnails


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "QOI"])
def test_a_format_is_known_by_its_first_bytes(kind: str) -> None:
    assert sniff(saved(scene(0), kind)[:32])


def test_big_tiff_and_heic_are_known_by_their_first_bytes() -> None:
    assert sniff(saved(scene(0), "TIFF", big_tiff=True)[:32])
    assert sniff(b"\0\0\0\x18ftypheic" + bytes(20))
    assert decode(saved(scene(0), "TIFF", big_tiff=True)).width == 96


NO_IMAGES = (b"", b"BM", b"BMW is a make of car, not a bitmap", b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7", b"P1 notes",
             b"\0" * 32, b"\0\0\0\x18ftypisom" + bytes(20))  # fmt: skip


@pytest.mark.parametrize("head", NO_IMAGES)
def test_other_files_are_not_taken_for_images(head: bytes) -> None:
    assert not sniff(head)


def test_a_thumbnail_fits_and_does_not_change_the_original() -> None:
    image = scene(0, size=(400, 100))
    assert thumbnail(image, 80).size == (80, 20)
    assert image.size == (400, 100)


def test_a_served_jpeg_carries_pixels_and_nothing_else() -> None:
    data, _ = oriented("JPEG", 6)
    with Image.open(io.BytesIO(data)) as image:
        image.info["icc_profile"], image.info["comment"] = b"profile", b"my street"
        served = to_jpeg(image)
    assert b"Exif" not in served
    assert b"ICC_PROFILE" not in served
    assert b"my street" not in served


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "RGBX"])
def test_any_mode_becomes_plain_rgb(mode: str) -> None:
    image = to_rgb(scene(0, "L").convert(mode) if mode in ("I;16", "I", "F") else scene(0).convert(mode))
    assert (type(image), image.mode, image.size) == (Image.Image, "RGB", (96, 64))


def test_a_jpeg_with_many_scans_is_refused_and_one_with_several_is_not() -> None:
    sound = saved(scene(0, "L"), "JPEG", progressive=True)
    assert decode(sound + b"\xff\xda" * 600).width == 96  # what follows the picture does not count
    last = sound.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="more than 500 scans"):
        decode(sound[:-2] + sound[last:-2] * 600 + b"\xff\xd9")


PINNED = {
    "plain.jpg": "7977565004af5a37",
    "grey.jpg": "d6f0657d8f3cca01",
    "progressive.jpg": "06640bff7386b7ad",
    "cmyk.jpg": "a6452dad366965e1",
    "cmyk without adobe.jpg": "855af9de19f45bd8",
    "orientation 6.jpg": "6c81e44791f386bf",
    "one bit.png": "db087cde09565812",
    "really a webp.gif": "8dfbde11f0c7af21",
    "tiled.tif": "e130762535564065",
    "many pages.tif": "5e26441a68a96d37",
    "cmyk.tif": "b0f363cd2c767cca",
    "squeezed.tif": "fbf1e15002c6df1e",
    "jpeg inside.tif": "fe8ee1025a51c5d4",
    "top down.bmp": "b9229b2c2c7cbedb",
    "palette.bmp": "f3eae7026320b7c8",
    "plain.ppm": "3cd555774940027e",
    "plain.pcx": "05c3610267c9c18b",
    "plain.jp2": "1d2df679217d33c9",
    "plain.qoi": "01fc22a6b78133f2",
    "grey16.png": "5ee03a6d70164705",
    "rgb16.png": "18b421dd63d3718f",
    "animated.gif": "807c554c7fd4a107",
    "animated.webp": "8b0fcb540c927d58",
    "looping directory.tif": "de7dc2063cc5c50a",
}
"""Opaque pictures of 8 bits, and of 16 that are filled: the first 16 digits of the SHA-256 of their pixels."""


@pytest.mark.parametrize("name", PINNED)
def test_an_opaque_picture_decodes_to_the_same_bytes_as_ever(name: str) -> None:
    assert hashlib.sha256(decode(GOOD[name]()).image.tobytes()).hexdigest()[:16] == PINNED[name]


def test_the_colours_of_lab_are_those_of_the_picture() -> None:
    stored = quarters((8, 8))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(stored, to_lab)
    assert lab is not None
    assert close(decode(saved(lab, "TIFF")).image, stored, 7)  # in steps of L*, whose green is 14 off


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_a_picture_and_its_copy_in_another_colour_model_look_alike(mode: str) -> None:
    picture = scene(12)
    if mode == "CMYK":
        copies: list[Image.Image | bytes] = [saved(picture.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")]
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        copies = [ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB")) or picture]
    else:
        copies = [picture.convert(mode)]
    encoder = load_encoder("thumbnail")
    (original, *others) = encoder.encode([picture, *(load(copy).image for copy in copies)])
    assert all(original @ other > 0.98 for other in others)
