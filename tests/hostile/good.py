"""Odd files that are images all the same."""

import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.hostile.craft import bmp, jpeg_with_exif, orientation, png, saved, scene, tiff

Maker = Callable[[], bytes]


def _adobe_removed() -> bytes:
    data = saved(scene(2, "CMYK"), "JPEG")
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]


def _grey16() -> bytes:
    return saved(Image.fromarray(np.asarray(scene(3, "L"), np.uint16) * 257), "PNG")


def _rgb16() -> bytes:
    values = np.asarray(scene(4), np.uint16).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(96, 64, 16, 2, rows)


def _palette() -> bytes:
    image = scene(5).quantize(16)
    return saved(image, "PNG", transparency=bytes(range(0, 256, 16)))


def _transparent_colour() -> bytes:
    return saved(scene(6), "PNG", transparency=(255, 255, 255))


def _with_alpha(seed: int, mode: str, kind: str) -> bytes:
    image = scene(seed, mode)
    image.putalpha(scene(seed + 100, "L"))
    return saved(image, kind)


def _frames(kind: str, seed: int) -> bytes:
    rest = [scene(seed + number) for number in (1, 2)]
    return saved(scene(seed), kind, save_all=True, append_images=rest)


def _white_on_clear() -> bytes:
    image = Image.new("RGBA", (96, 64), (255, 255, 255, 0))
    image.putalpha(scene(96, "L"))
    return saved(image, "PNG")


def _tiled_tiff() -> bytes:
    pixels = np.asarray(scene(7, "L", (32, 32)))
    tiles = b"".join(pixels[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16))
    where = struct.pack("<4I", *(8 + 256 * number for number in range(4))) + struct.pack("<4I", *(256,) * 4)
    tags = [(256, 3, 1, 32), (257, 3, 1, 32), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (322, 3, 1, 16), (323, 3, 1, 16), (324, 4, 4, 8 + 1024), (325, 4, 4, 8 + 1024 + 16)]  # fmt: skip
    return tiff(tags, tiles + where)


def _looping_tiff() -> bytes:
    tags = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 8), (278, 3, 1, 16), (279, 4, 1, 256)]  # fmt: skip
    return tiff(tags, np.asarray(scene(8, "L", (16, 16))).tobytes(), next_ifd=8 + 256)


def _float_tiff() -> bytes:
    values = np.asarray(scene(9, "L"), np.float32) / 255
    values[10:20, 10:20] = np.nan
    values[0, 0] = np.inf
    return saved(Image.fromarray(values), "TIFF")


def _top_down_bmp() -> bytes:
    return bmp(96, -64, np.asarray(scene(10))[:, :, ::-1].tobytes())


def _oriented(value: int) -> Maker:
    return lambda: jpeg_with_exif(40 + value, orientation(value))


def _save(seed: int, mode: str, kind: str, **options: object) -> Maker:
    return lambda: saved(scene(seed, mode), kind, **options)


GOOD: dict[str, Maker] = {
    "plain.jpg": _save(20, "RGB", "JPEG"),
    "grey.jpg": _save(21, "L", "JPEG"),
    "progressive.jpg": _save(22, "RGB", "JPEG", progressive=True),
    "cmyk.jpg": _save(23, "CMYK", "JPEG"),
    "cmyk without adobe.jpg": _adobe_removed,
    "mpo.jpg": lambda: _frames("MPO", 24),
    "really a jpeg.png": _save(27, "RGB", "JPEG"),
    "really a png.jpg": _save(28, "RGB", "PNG"),
    "really a webp.gif": _save(29, "RGB", "WEBP"),
    "php.jpg": lambda: saved(scene(30), "JPEG", comment=b"<?php system($_GET['c']); ?>"),
    "with a zip.jpg": lambda: saved(scene(31), "JPEG") + b"PK\x03\x04" + bytes(400) + b"PK\x05\x06" + bytes(18),
    "with much behind.png": lambda: saved(scene(32), "PNG") + bytes(5000),
    **{f"orientation {value}.jpg": _oriented(value) for value in range(1, 10)},
    "orientation 0.jpg": lambda: jpeg_with_exif(40, orientation(0)),
    "orientation text.jpg": lambda: jpeg_with_exif(51, orientation(0x36, kind=2)),
    "exif corrupt.jpg": lambda: jpeg_with_exif(52, b"II*\0\xff\xff\xff\x7f" + bytes(range(256))),
    "exif looping.jpg": lambda: jpeg_with_exif(53, b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8)),
    "grey16.png": _grey16,
    "rgb16.png": _rgb16,
    "one bit.png": _save(60, "1", "PNG"),
    "palette.png": _palette,
    "colour key.png": _transparent_colour,
    "grey alpha.png": lambda: _with_alpha(61, "LA", "PNG"),
    "alpha.png": lambda: _with_alpha(62, "RGBA", "PNG"),
    "animated.png": lambda: _frames("PNG", 63),
    "animated.gif": lambda: _frames("GIF", 66),
    "transparent.gif": lambda: saved(scene(69).quantize(8), "GIF", transparency=0),
    "animated.webp": lambda: _frames("WEBP", 70),
    "alpha.webp": lambda: _with_alpha(73, "RGBA", "WEBP"),
    "big endian 16 bit.tif": lambda: saved(scene(74, "L").convert("I;16").convert("I").convert("I;16B"), "TIFF"),
    "float with nan.tif": _float_tiff,
    "integers.tif": lambda: saved(scene(75, "L").convert("I"), "TIFF"),
    "many pages.tif": lambda: _frames("TIFF", 76),
    "tiled.tif": _tiled_tiff,
    "12 bits of 16.png": lambda: saved(Image.fromarray(np.asarray(scene(92, "L"), np.uint16) << 4), "PNG"),
    "white on clear.png": _white_on_clear,
    "preview first.tif": lambda: saved(scene(93, size=(12, 8)), "TIFF", save_all=True, append_images=[scene(94)]),
    "lab.tif": lambda: saved(Image.frombytes("LAB", (96, 64), scene(95).tobytes()), "TIFF"),
    "looping directory.tif": _looping_tiff,
    "cmyk.tif": _save(79, "CMYK", "TIFF"),
    "squeezed.tif": _save(80, "RGB", "TIFF", compression="tiff_lzw"),
    "jpeg inside.tif": _save(81, "RGB", "TIFF", compression="jpeg"),
    "top down.bmp": _top_down_bmp,
    "palette.bmp": lambda: saved(scene(82).quantize(64), "BMP"),
    "plain.ppm": _save(83, "RGB", "PPM"),
    "plain.pcx": _save(84, "RGB", "PCX"),
    "plain.jp2": _save(85, "RGB", "JPEG2000"),
    "plain.avif": _save(86, "RGB", "AVIF"),
    "plain.qoi": _save(87, "RGB", "QOI"),
    "one pixel.png": lambda: saved(scene(88, size=(1, 1)), "PNG"),
    "one pixel.jpg": lambda: saved(scene(89, size=(1, 1)), "JPEG"),
    "very wide.png": lambda: saved(scene(90, size=(20000, 1)), "PNG"),
    "very tall.jpg": lambda: saved(scene(91, size=(1, 20000)), "JPEG"),
}
"""Name to what makes the bytes; every one decodes to a picture."""
