"""Pictures of more than 8 bits: none is black because its file has more room than its samples."""

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import load_encoder
from lookalike.images.decode import decode
from lookalike.images.depth import to_bytes
from tests.hostile.craft import chunk, png, saved, scene, tiff

Samples = NDArray[np.generic]


def grey(data: bytes) -> NDArray[np.uint8]:
    """The grey levels of a file."""
    return np.asarray(decode(data).image)[..., 0]


def png16(values: Samples, colour: int, before: bytes = b"") -> bytes:
    """A PNG of 16-bit samples (rows, columns[, channels])."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour, rows, before=before)


def tiff16(values: Samples, order: str = "<", white_is_zero: bool = False) -> bytes:
    """An uncompressed TIFF of 16-bit samples of one channel or three."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    body = values.astype(f"{order}u2").tobytes()
    depths = struct.pack(f"{order}3H", 16, 16, 16)
    bits = (258, 3, 1, 16) if channels == 1 else (258, 3, channels, 8 + len(body))
    tags = [(256, 3, 1, values.shape[1]), (257, 3, 1, values.shape[0]), bits, (259, 3, 1, 1),
            (262, 3, 1, 2 if channels == 3 else int(not white_is_zero)), (273, 4, 1, 8), (277, 3, 1, channels),
            (278, 3, 1, values.shape[0]), (279, 4, 1, len(body))]  # fmt: skip
    made = tiff(tags, body + depths)
    return made if order == "<" else _big_endian(tags, body + depths)


def _big_endian(tags: list[tuple[int, int, int, int]], data: bytes) -> bytes:
    entries = b"".join(
        struct.pack(">HHIHH", tag, kind, count, value, 0) if kind == 3 and count == 1
        else struct.pack(">HHII", tag, kind, count, value)
        for tag, kind, count, value in tags
    )  # fmt: skip
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + struct.pack(">H", len(tags)) + entries + bytes(4)


RAMPS = {8: 255, 10: 1023, 12: 4095, 14: 16383, 16: 65534}
WRITERS: dict[str, Callable[[Samples], bytes]] = {
    "PNG": lambda values: png16(values, 0),
    "TIFF": tiff16,
    "big-endian TIFF": lambda values: tiff16(values, ">"),
    "squeezed TIFF": lambda values: saved(
        Image.fromarray(values.astype(np.uint16)), "TIFF", compression="tiff_adobe_deflate"
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("bits", RAMPS)
def test_a_ramp_of_any_depth_goes_from_black_to_white(bits: int, kind: str) -> None:
    highest = RAMPS[bits]
    levels = grey(WRITERS[kind](np.array([[0, highest // 2 + 1, highest]])))
    assert levels.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_camera_of_few_bits_sees_what_its_8_bit_copy_shows(bits: int) -> None:
    copy = np.asarray(scene(3, "L"))
    assert grey(png16(copy.astype(np.uint16) << (bits - 8), 0)).tolist() == copy.tolist()


def test_two_different_pictures_of_12_bits_do_not_look_alike() -> None:
    encoder = load_encoder("thumbnail")
    first, second = (Image.open(io.BytesIO(png16(np.asarray(scene(n, "L")).astype(np.uint16) << 4, 0))) for n in (1, 2))
    copy = scene(1, "L")
    vectors = encoder.encode([first, second, copy])
    assert vectors[0] @ vectors[2] > 0.98
    assert vectors[0] @ vectors[1] < 0.9


def test_16_bits_that_are_filled_keep_their_high_byte() -> None:
    values = np.asarray(scene(4, "L")).astype(np.uint16) * 257
    assert grey(png16(values, 0)).tolist() == np.asarray(scene(4, "L")).tolist()


def test_a_narrow_band_of_warm_values_is_stretched() -> None:
    """A thermal camera: hundredths of a kelvin, 20 to 40 degrees Celsius, in 16 bits."""
    assert grey(tiff16(np.array([[29315, 30315, 31315]]))).tolist() == [[0, 128, 255]]


def test_missing_and_saturated_pixels_do_not_darken_the_rest() -> None:
    """A depth sensor marks pixels without an answer with 0 or 65,535."""
    assert grey(png16(np.array([[0, 65535, 2048, 4095]]), 0)).tolist() == [[0, 255, 128, 255]]


def test_a_mask_of_numbered_regions_shows_them() -> None:
    assert grey(png16(np.array([[0, 1, 2, 3]]), 0)).tolist() == [[0, 0, 128, 255]]
    assert grey(png16(np.array([[0, 1]]), 0)).tolist() == [[0, 255]]


def test_white_is_zero_where_a_tiff_says_so() -> None:
    assert grey(tiff16(np.array([[0, 2048, 4095]]), white_is_zero=True)).tolist() == [[255, 127, 0]]


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_12_bits_in_16_are_not_dark(order: str, compression: str | None) -> None:
    values = np.asarray(scene(5)).astype(np.uint16) << 4
    data = tiff16(values, order)
    if compression:
        squeezed = cv2.imencode(".tif", values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 8])[1]
        data = squeezed.tobytes()
    assert np.asarray(decode(data).image).tolist() == np.asarray(scene(5)).tolist()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_in_a_png_keep_their_values_at_any_depth(bits: int) -> None:
    copy = np.asarray(scene(6))
    assert np.asarray(decode(png16(copy.astype(np.uint16) << (bits - 8), 2)).image).tolist() == copy.tolist()


def test_colours_with_alpha_of_few_bits_are_not_dark() -> None:
    values = np.array([[[4095, 0, 0, 65535], [0, 2048, 0, 65535], [9, 9, 9, 0]]])
    assert np.asarray(decode(png16(values, 6)).image).tolist() == [[[255, 0, 0], [0, 128, 0], [255, 255, 255]]]


def test_grey_with_alpha_of_few_bits_is_not_dark() -> None:
    values = np.array([[[0, 65535], [2048, 65535], [4095, 65535], [7, 0]]])
    assert np.asarray(decode(png16(values, 4)).image)[..., 0].tolist() == [[0, 128, 255, 255]]


def test_a_transparent_value_of_16_bits_is_that_value_and_no_other() -> None:
    values = np.array([[700, 2048, 4095, 701]])
    before = chunk(b"tRNS", struct.pack(">H", 700))
    assert grey(png16(values, 0, before)).tolist() == [[255, 128, 255, 43]]
    colours = np.array([[[700, 0, 0], [4095, 0, 0], [701, 0, 0]]])
    before = chunk(b"tRNS", struct.pack(">3H", 700, 0, 0))
    assert np.asarray(decode(png16(colours, 2, before)).image).tolist() == [[[255, 255, 255], [255, 0, 0], [43, 0, 0]]]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 0.0005, 0.001], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-5e6, 0.0, 5e6], [0, 128, 255]),
        ([1000.0, 1000.5, 1001.0], [0, 128, 255]),
        ([float("nan"), 10.0, float("inf"), 20.0], [0, 0, 0, 255]),
        ([-3.4e38, 200.0, 300.0, -9999.0], [0, 0, 255, 0]),
        ([float("nan"), float("nan")], [0, 0]),
    ],
)
def test_floats_of_any_range_are_seen(values: list[float], levels: list[int]) -> None:
    assert grey(saved(Image.fromarray(np.array([values], np.float32)), "TIFF")).tolist() == [levels]


def test_a_few_outliers_do_not_flatten_a_picture_of_floats() -> None:
    values = np.tile(np.linspace(300, 400, 100, dtype=np.float32), (100, 1))
    values[0, 0] = 1e9
    levels = to_bytes(values)
    assert (levels[1, 0], levels[1, 50], levels[1, 99]) == (0, 129, 255)


def test_integers_of_32_bits_and_signed_ones_are_seen() -> None:
    for values in ([-1024, 1000, 3024], [0, 2**30, 2**31 - 1]):
        data = saved(Image.fromarray(np.array([values], np.int32)), "TIFF")
        assert grey(data).tolist() == [[0, 128, 255]]
    assert grey(saved(Image.fromarray(np.array([[0, 2048, 4095]], np.int32)), "TIFF")).tolist() == [[0, 128, 255]]


def test_a_map_names_the_value_that_is_no_data() -> None:
    image = Image.fromarray(np.array([[-32000.0, 100.0, 200.0, 300.0]], np.float32))
    data = saved(image, "TIFF", tiffinfo={42113: "-32000"})
    assert grey(data).tolist() == [[0, 0, 128, 255]]


def test_the_same_picture_is_the_same_in_every_run_and_on_any_grid() -> None:
    values = np.asarray(scene(7, "L")).astype(np.uint16) * 13 + 5
    assert to_bytes(values).tolist() == to_bytes(values.copy()).tolist() == to_bytes(values.astype(np.int32)).tolist()
