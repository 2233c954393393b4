"""Files that cannot be used, or would do harm: each has to end in a short reason."""

import struct
import zlib

from tests.hostile.craft import bmp, chunk, jpeg_frame_header, png, saved, scene, tiff
from tests.hostile.good import Maker

ROW = b"\0" + bytes(32)


def _cut(kind: str, share: float = 0.6, **options: object) -> Maker:
    def make() -> bytes:
        data = saved(scene(5, size=(320, 240)), kind, **options)
        return data[: int(len(data) * share)]

    return make


def _bad_checksum() -> bytes:
    data = bytearray(saved(scene(1), "PNG"))
    data[data.index(b"IHDR") + 18] ^= 0xFF
    return bytes(data)


def _squeezed_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def _many_scans() -> bytes:
    """A progressive JPEG whose scans each cost a pass over the whole picture and a dozen bytes of file."""
    data = saved(scene(3, "L", (2000, 2000)), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x10" + b"\xff"
    return data[:first] + data[first:-2] + scan * 3000 + b"\xff\xd9"


def _enormous_tile() -> bytes:
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1),
            (322, 4, 1, 1 << 20), (323, 4, 1, 1 << 20), (324, 4, 1, 8), (325, 4, 1, 256)]  # fmt: skip
    return tiff(tags, bytes(256))


def _outside_tiff() -> bytes:
    return b"II*\0" + struct.pack("<I", 0x7FFFFFFF) + bytes(64)


def _sensor() -> bytes:
    """A sensor's pixels at gigabytes from the beginning, and nothing that could be shown."""
    tags = [(256, 4, 1, 1 << 20), (257, 4, 1, 1 << 20), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 32803),
            (273, 4, 1, 0x7FFFFFFF), (279, 4, 1, 0x7FFFFFFF), (50706, 1, 4, 1 | 4 << 8)]  # fmt: skip
    return tiff(tags, bytes(16))


def _gif(width: int, height: int, body: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + body + b";"


def _webp_canvas() -> bytes:
    header = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\xff\x3f" + b"\xff\xff\x3f"
    body = b"WEBP" + header + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jp2_dimensions() -> bytes:
    data = saved(scene(6), "JPEG2000")
    at = data.index(b"\xff\x51")
    huge = struct.pack(">II", 0x7FFFFFFF, 0x7FFFFFFF)
    body = bytearray(data[: at + 6] + huge + data[at + 14 :])
    header = body.index(b"ihdr")
    body[header + 4 : header + 12] = huge
    return bytes(body)


BAD: dict[str, Maker] = {
    "text.jpg": lambda: b"This is not an image but a note about one.\n" * 20,
    "empty.jpg": lambda: b"",
    "zeros.jpg": lambda: bytes(4096),
    "page.jpg": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "drawing.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "document.jpg": lambda: b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n",
    "postscript.jpg": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(pwned) print\n%%EOF\n"
    ),
    "icon.png": lambda: saved(scene(2, size=(32, 32)), "ICO"),
    "archive.jpg": lambda: b"PK\x05\x06" + bytes(18),
    "film.jpg": lambda: struct.pack(">I", 24) + b"ftypisom" + bytes(200),
    "apple double.jpg": lambda: b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60),
    "heic header.jpg": lambda: struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(80),
    "avif header.avif": lambda: struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"avifmif1" + bytes(80),
    "jpeg start.jpg": lambda: b"\xff\xd8\xff",
    "jpeg header.jpg": lambda: saved(scene(1), "JPEG")[:40],
    "cut.jpg": _cut("JPEG"),
    "cut progressive.jpg": _cut("JPEG", progressive=True),
    "cut.png": _cut("PNG"),
    "cut.webp": _cut("WEBP"),
    "cut.gif": _cut("GIF"),
    "cut.tif": _cut("TIFF", compression="tiff_deflate"),
    "cut.avif": _cut("AVIF"),
    "cut.jp2": _cut("JPEG2000", 0.02),
    "cut.bmp": _cut("BMP"),
    "cut.qoi": _cut("QOI"),
    "bomb.png": lambda: png(100_000, 100_000, 8, 2, bytes(100)),
    "long bomb.png": lambda: png(0x7FFFFFFF, 1, 8, 0, bytes(100)),
    "bad checksum.png": _bad_checksum,
    "bomb in text.png": lambda: png(
        32, 32, 8, 0, ROW * 32, before=chunk(b"zTXt", b"Comment\0\0" + _squeezed_zeros(80))
    ),
    "bomb in profile.png": lambda: png(32, 32, 8, 0, ROW * 32, before=chunk(b"iCCP", b"icc\0\0" + _squeezed_zeros(80))),
    "no pixels.png": lambda: png(32, 32, 8, 0, b""),
    "no size.png": lambda: png(0, 0, 8, 0, ROW),
    "bad depth.png": lambda: png(32, 32, 77, 9, ROW * 32),
    "bomb.jpg": lambda: jpeg_frame_header(saved(scene(1), "JPEG"), 65500, 65500),
    "no height.jpg": lambda: jpeg_frame_header(saved(scene(1), "JPEG"), 64, 0),
    "many scans.jpg": _many_scans,
    "no frames.gif": lambda: _gif(64, 64, b""),
    "huge screen.gif": lambda: _gif(65535, 65535, b""),
    "huge canvas.webp": _webp_canvas,
    "huge.jp2": _jp2_dimensions,
    "huge.bmp": lambda: bmp(60_000, 60_000, bytes(300)),
    "no width.bmp": lambda: bmp(0, 10, bytes(300)),
    "enormous tile.tif": _enormous_tile,
    "directory outside.tif": _outside_tiff,
    "no tags.tif": lambda: tiff([], b""),
    "sensor alone.dng": _sensor,
    "fuji header.raf": lambda: b"FUJIFILMCCD-RAW 0201FF383501" + bytes(400),
    "canon header.cr3": lambda: struct.pack(">I", 24) + b"ftypcrx " + bytes(300),
    "jpeg xl header.jxl": lambda: b"\xff\x0a" + bytes(60),
}
"""Name to what makes the bytes; every one is refused."""
