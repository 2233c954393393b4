"""What an image file says of itself, compared with exifread, and what hostile files can do to the reader: nothing."""

import io
import logging
import math
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exifread
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from lookalike.images import exif
from lookalike.images.decode import decode
from lookalike.images.facts import PhotoFacts, of_image
from tests.support.exif import ASCII, LONG, RATIO, SHORT, SIGNED_RATIO, UNDEFINED, Block, Entry, directory, header
from tests.support.exif import image_file as made

KINDS = ["JPEG", "TIFF", "PNG", "WEBP"]
FILE: list[Entry] = [
    (271, ASCII, "NIKON CORPORATION"), (272, ASCII, "NIKON D90"), (274, SHORT, [6]), (305, ASCII, "Darkroom 5.2"),
]  # fmt: skip
PHOTO: list[Entry] = [
    (33434, RATIO, [(1, 250)]), (34855, SHORT, [400]), (36867, ASCII, "2019:07:14 12:30:05"),
    (36881, ASCII, "+02:00"), (37386, RATIO, [(350, 10)]), (37521, ASCII, "25"), (42036, ASCII, "AF-S 35mm f/1.8"),
]  # fmt: skip
EIFFEL: list[Entry] = [
    (1, ASCII, "N"), (2, RATIO, [(48, 1), (51, 1), (3024, 100)]),
    (3, ASCII, "E"), (4, RATIO, [(2, 1), (17, 1), (402, 10)]),
]  # fmt: skip


def place(latitude: str, longitude: str, parts: tuple[tuple[int, int], ...] = ((33, 1), (51, 1), (24, 1))) -> Block:
    return Block(FILE, PHOTO, [(1, ASCII, latitude), (2, RATIO, parts), (3, ASCII, longitude), (4, RATIO, parts)])


def dated(text: str, *more: Entry) -> Block:
    return Block(FILE, [(36867, ASCII, text), *more])


def photo(*entries: Entry) -> Block:
    return Block(FILE, entries)


VARIANTS: dict[str, Block] = {
    "everything": Block(FILE, PHOTO, EIFFEL),
    "a chain of two directories": Block(FILE, PHOTO, EIFFEL, [(271, ASCII, "Thumbnail"), (274, SHORT, [3])]),
    "south and east": place("S", "E"),
    "south and west": place("S", "W"),
    "north and west": place("N", "W"),
    "a place in degrees alone": place("N", "E", ((338667, 10000), (0, 1), (0, 1))),
    "a place in minutes": place("N", "E", ((33, 1), (514, 10), (0, 1))),
    "no place": Block(FILE, PHOTO),
    "no photo": Block(FILE),
    "only a model": Block([(272, ASCII, "DiMAGE")], PHOTO),
    "only a make": Block([(271, ASCII, "Made-up")], PHOTO),
    "a model without its make": Block([(271, ASCII, "Apple"), (272, ASCII, "iPhone 12")], PHOTO),
    "spaces at the end": Block([(271, ASCII, "OLYMPUS    "), (272, ASCII, "E-M5   ")], PHOTO),
    "the longest exposure": photo((33434, RATIO, [(30, 1)]), (37386, RATIO, [(24, 1)])),
    "fractions with zero": photo((33434, RATIO, [(1, 0)]), (37386, RATIO, [(0, 0)])),
    "nothing over something": photo((33434, RATIO, [(0, 5)]), (37386, RATIO, [(0, 1)])),
    "the largest fraction": photo((33434, RATIO, [(1, 2**32 - 1)]), (37386, RATIO, [(600, 1)])),
    "a long ISO": photo((34855, LONG, [102400])),
    "two ISOs": photo((34855, SHORT, [200, 0])),
    "an empty date": dated("    :  :     :  :  "),
    "a date of zeros": dated("0000:00:00 00:00:00"),
    "a date with hyphens": dated("2003-02-01 04:05:06"),
    "a date with slashes": dated("2003/02/01 04:05:06"),
    "a date with a T": dated("2003:02:01T04:05:06"),
    "a date without seconds": dated("2003:02:01 04:05"),
    "a date alone": dated("2003:02:01"),
    "the 31st of February": dated("2003:02:31 04:05:06"),
    "a date in words": dated("first of May"),
    "a fraction of zeros": dated("2003:02:01 04:05:06", (37521, ASCII, "00")),
    "a long fraction": dated("2003:02:01 04:05:06", (37521, ASCII, "123456")),
    "west of Greenwich": dated("2003:02:01 04:05:06", (36881, ASCII, "-03:30")),
    "universal time": dated("2003:02:01 04:05:06", (36881, ASCII, "+00:00")),
    "a lens alone": photo((42036, ASCII, "Planar 1,4/50")),
    "maker notes that lie": photo(*PHOTO, (37500, UNDEFINED, b"Nikon\0\2\x10\0\0MM\0\x2a\xff\xff\xff\xff\0\0")),
}


def by_exifread(data: bytes) -> dict[str, Any]:
    """The same facts, of what another reader found."""
    logging.getLogger("exifread").setLevel(logging.CRITICAL)
    tags = exifread.process_file(io.BytesIO(data), details=False)

    def text(name: str) -> str:
        return str(tags[name].values).strip() if name in tags and isinstance(tags[name].values, str) else ""

    def number(name: str) -> float | None:
        values = tags[name].values if name in tags else []
        if not values or (hasattr(values[0], "den") and not values[0].den):
            return None
        return float(values[0]) or None

    make, model = text("Image Make"), text("Image Model")
    begins = model.lower().startswith(make.split(" ")[0].lower())
    facts: dict[str, Any] = {
        "camera": (model if begins else f"{make} {model}".strip()) if model else make,
        "software": text("Image Software"), "lens": text("EXIF LensModel"),
        "orientation": number("Image Orientation"), "iso": number("EXIF ISOSpeedRatings"),
        "exposure": number("EXIF ExposureTime"), "focal_length": number("EXIF FocalLength"),
        "latitude": degrees(tags, "Latitude"), "longitude": degrees(tags, "Longitude"),
        "taken": moment(*map(text, ("EXIF DateTimeOriginal", "EXIF SubSecTimeOriginal", "EXIF OffsetTimeOriginal"))),
    }  # fmt: skip
    return {name: value for name, value in facts.items() if value not in (None, "")}


def degrees(tags: dict[str, Any], name: str) -> float | None:
    if f"GPS GPS{name}" not in tags:
        return None
    hours, minutes, seconds = (float(part) for part in tags[f"GPS GPS{name}"].values)
    sign = -1 if str(tags[f"GPS GPS{name}Ref"].values) in "SW" else 1
    return sign * (hours + minutes / 60 + seconds / 3600)


def moment(text: str, fraction: str, offset: str) -> str | None:
    """By Python's own reader of dates, each spelling tried in turn."""
    from datetime import datetime

    for form in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y:%m:%dT%H:%M:%S", "%Y:%m:%d %H:%M"):
        try:
            shown = datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
        return shown + (f".{fraction}" if fraction.strip("0") else "") + offset
    try:
        return datetime.strptime(text, "%Y:%m:%d").date().isoformat()
    except ValueError:
        return None


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", VARIANTS)
def test_a_block_is_read_as_exifread_reads_it(name: str, order: str) -> None:
    agrees(made(VARIANTS[name], order, "JPEG"))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("name", ["everything", "a chain of two directories", "south and west", "fractions with zero"])
def test_other_formats_are_read_as_exifread_reads_them(name: str, kind: str, order: str) -> None:
    agrees(made(VARIANTS[name], order, kind))


@pytest.mark.parametrize("name", ["everything", "south and east"])
def test_a_heic_is_read_as_exifread_reads_it(name: str) -> None:
    pillow_heif.register_heif_opener()
    agrees(with_whole_offsets(made(VARIANTS[name], "<", "HEIF")))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["everything", "south and east"])
def test_a_heic_says_what_a_jpeg_says_with_the_same_block(name: str, order: str) -> None:
    """exifread reads no HEIC of the other order of bytes."""
    pillow_heif.register_heif_opener()
    heic, jpeg = (decode(made(VARIANTS[name], order, kind)) for kind in ("HEIF", "JPEG"))
    assert heic.facts
    assert jpeg.facts
    assert heic.facts.to_json() == {**jpeg.facts.to_json(), "format": "HEIF"}
    assert (heic.width, heic.height) == (jpeg.width, jpeg.height)


def with_whole_offsets(heic: bytes) -> bytes:
    """The same file, where each item lies at an offset from 0 and not from a base, which exifread passes over."""
    data = bytearray(heic)
    at = data.index(b"iloc") + 4
    assert data[at : at + 6] == bytes([0, 0, 0, 0, 0x44, 0x40])  # version 0, and four bytes for each number
    for item in range(int.from_bytes(data[at + 6 : at + 8], "big")):
        base = at + 8 + 18 * item + 4
        assert data[base + 4 : base + 10] == bytes([0, 1, 0, 0, 0, 0])  # one part, at the base itself
        data[base : base + 4], data[base + 6 : base + 10] = bytes(4), data[base : base + 4]
    return bytes(data)


def agrees(data: bytes) -> None:
    facts, expected = decode(data).facts, by_exifread(data)
    assert facts
    own = facts.to_json()
    assert own.pop("format") in ("JPEG", "TIFF", "PNG", "WEBP", "HEIF")
    assert own.pop("has_alpha") is False
    assert own.keys() == expected.keys()
    for name, value in own.items():
        assert value == (pytest.approx(expected[name], rel=1e-6) if isinstance(value, float) else expected[name]), name


def test_the_variants_are_at_least_sixty() -> None:
    assert 2 * len(VARIANTS) + 2 * 4 * len(KINDS[1:]) >= 60


def facts_of(block: Block) -> PhotoFacts:
    facts = decode(made(block, "<", "JPEG")).facts
    assert facts
    return facts


def test_the_tower_is_where_it_stands() -> None:
    facts = facts_of(Block(FILE, PHOTO, EIFFEL))
    assert facts.to_json() == {
        "taken": "2019-07-14T12:30:05.25+02:00", "camera": "NIKON D90", "lens": "AF-S 35mm f/1.8",
        "focal_length": 35.0, "iso": 400, "exposure": 0.004, "latitude": 48.8584, "longitude": 2.2945,
        "format": "JPEG", "orientation": 6, "has_alpha": False, "software": "Darkroom 5.2",
    }  # fmt: skip


def test_without_a_clock_of_its_own_the_photo_has_the_time_of_the_satellites() -> None:
    entries: list[Entry] = [(7, RATIO, [(10, 1), (9, 1), (85, 10)]), (29, ASCII, "2019:07:14")]
    assert facts_of(Block(FILE, (), entries)).taken == "2019-07-14T10:09:08.5+00:00"
    assert facts_of(Block(FILE, PHOTO, entries)).taken == "2019-07-14T12:30:05.25+02:00"
    assert facts_of(Block(FILE, (), entries[:1])).taken is None


def test_the_time_of_the_file_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "20190714_123005.jpg").write_bytes(made(Block([(306, ASCII, "2019:07:14 12:30:05")]), "<", "JPEG"))
    facts = decode((tmp_path / "20190714_123005.jpg").read_bytes()).facts
    assert facts
    assert facts.taken is None


@pytest.mark.parametrize(
    ("latitude", "parts"),
    [
        ("N", [(91, 1), (0, 1), (0, 1)]),
        ("X", [(48, 1), (0, 1), (0, 1)]),
        ("", [(48, 1), (0, 1), (0, 1)]),
        ("N", [(48, 0), (0, 1), (0, 1)]),
    ],
)
def test_a_place_that_cannot_be_is_none(latitude: str, parts: list[tuple[int, int]]) -> None:
    assert facts_of(Block(FILE, (), [(1, ASCII, latitude), (2, RATIO, parts)])).latitude is None


def test_seconds_of_nothing_over_nothing_are_none() -> None:
    entries: list[Entry] = [(1, ASCII, "n"), (2, RATIO, [(48, 1), (30, 1), (0, 0)])]
    assert facts_of(Block(FILE, (), entries)).latitude == 48.5


def test_a_sensitivity_beyond_the_old_tag_is_in_the_new_one() -> None:
    assert facts_of(photo((34855, SHORT, [65535]), (34867, LONG, [204800]))).iso == 204800
    assert facts_of(photo((34855, SHORT, [65535]), (34866, LONG, [102400]))).iso == 102400


@pytest.mark.parametrize(("mode", "has_alpha"), [("RGBA", True), ("LA", True), ("RGB", False), ("P", False)])
def test_whether_it_has_alpha(mode: str, has_alpha: bool) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "PNG")
    facts = decode(buffer.getvalue()).facts
    assert facts
    assert (facts.has_alpha, facts.format, facts.orientation) == (has_alpha, "PNG", None)


def test_a_webp_needs_no_head_before_its_block() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", exif=Block(FILE, PHOTO).bytes("<"))
    facts = decode(buffer.getvalue()).facts
    assert facts
    assert facts.iso == 400


def test_a_png_of_imagemagick_has_its_exif_in_a_text() -> None:
    from PIL.PngImagePlugin import PngInfo

    block, info, buffer = b"Exif\0\0" + Block(FILE, PHOTO).bytes("<"), PngInfo(), io.BytesIO()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    facts = decode(buffer.getvalue()).facts
    assert facts
    assert facts.camera == "NIKON D90"


def test_a_costly_picture_is_decoded_elsewhere_and_says_the_same() -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 5000)).save(buffer, "AVIF", exif=Block(FILE, PHOTO, EIFFEL).bytes("<"), speed=10)
    facts = decode(buffer.getvalue(), size=64).facts
    assert facts
    assert (facts.camera, facts.format, facts.latitude) == ("NIKON D90", "AVIF", 48.8584)


# Hostile blocks


def entry(tag: int, kind: int, count: int, value: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHII", tag, kind, count, value)


def block_of(*entries: bytes, count: int | None = None, following: int = 0) -> bytes:
    number = len(entries) if count is None else count
    return header("<") + struct.pack("<H", number) + b"".join(entries) + struct.pack("<I", following)


GIGABYTE = 1 << 30
HOSTILE = {
    "nothing": b"",
    "half a head": b"II*",
    "a head alone": header("<"),
    "a directory at 0": header("<", 0),
    "a directory beyond the end": header("<", GIGABYTE),
    "a directory of itself": block_of(entry(34665, LONG, 1, 8), entry(34853, LONG, 1, 8), following=8),
    "directories in a circle": block_of(entry(34665, LONG, 1, 8), following=8),
    "a place in the middle of the head": block_of(entry(34853, LONG, 1, 1)),
    "65,535 entries that are not there": block_of(entry(271, ASCII, 4, 0), count=65535),
    "a gigabyte of text": block_of(entry(271, ASCII, GIGABYTE, 8)),
    "four gigabytes of fractions": block_of(entry(33434, RATIO, 2**32 - 1, 8)),
    "text beyond the end": block_of(entry(272, ASCII, 20, GIGABYTE)),
    "a fraction across the end": block_of(entry(33434, RATIO, 1, 20)),
    "unknown types": block_of(*(entry(271, kind, 4, 8) for kind in (0, 14, 99, 255, 65535))),
    "no values": block_of(entry(274, SHORT, 0, 6), entry(271, ASCII, 0, 0), entry(34665, LONG, 0, 8)),
    "an orientation of 9": block_of(entry(274, SHORT, 1, 9)),
    "an orientation in words": block_of(entry(274, ASCII, 4, 0x41414141)),
    "numbers for a date": header("<") + directory([(36867, SHORT, [2019, 7, 14])], "<", 8),
    "infinite numbers": header("<") + directory([(33434, 12, [math.inf]), (37386, 11, [math.nan])], "<", 8),
    "a fraction below nothing": header("<") + directory([(33434, SIGNED_RATIO, [(-1, 5)])], "<", 8),
    "control characters": header("<") + directory([(271, ASCII, "\x1b[31mA\x07\u202e")], "<", 8),
    "a date of other digits": header("<") + directory([(36867, ASCII, "٢٠١٩:٠٧:١٤ ١٢:٠٠:٠٠")], "<", 8),
}


def read_safely(block: bytes) -> PhotoFacts:
    picture = Image.new("RGB", (4, 4))
    picture.info["exif"] = block
    return of_image(b"", picture)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_block_says_nothing_and_breaks_nothing(name: str) -> None:
    known = read_safely(HOSTILE[name]).to_json()
    known.pop("has_alpha")
    assert known in ({}, {"camera": "[31mA"})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_photo_with_a_hostile_block_is_decoded_as_ever(name: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 200, 9)).save(buffer, "JPEG", exif=b"Exif\0\0" + HOSTILE[name])
    decoded = decode(buffer.getvalue())
    assert (decoded.width, decoded.height) == (40, 30)
    assert decoded.facts
    assert decoded.facts.format == "JPEG"


def png_with(block: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "PNG")
    data, chunk = buffer.getvalue(), b"eXIf" + block
    at = data.index(b"IDAT") - 4
    return data[:at] + struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]


def jpeg_with(block: bytes) -> bytes:
    """In as many segments as it takes."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", dpi=(72, 72))
    data, parts = buffer.getvalue(), [block[start : start + 65_000] for start in range(0, len(block), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
    return data[:20] + b"".join(segments) + data[20:]


@pytest.mark.parametrize("write", [png_with, jpeg_with])
def test_a_photo_with_long_values_over_one_another_is_upright_without_pillows_reader(
    write: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        raise AssertionError("Pillow's reader of EXIF was asked")

    monkeypatch.setattr(Image.Image, "getexif", never)
    entries = [entry(274, SHORT, 1, 6), *[entry(271 + 1000 * n % 7, ASCII, 4_000_000, 8) for n in range(65534)]]
    block = block_of(*entries) + bytes(4_000_000)
    decoded = decode(write(block))
    assert (decoded.width, decoded.height) == (30, 40)
    assert decoded.facts
    assert decoded.facts.orientation == 6


def test_an_orientation_in_xmp_counts_where_exif_has_none() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", xmp=b'<x tiff:Orientation="6"/>')
    assert decode(buffer.getvalue()).width == 30
    buffer = io.BytesIO()
    exif_block = b"Exif\0\0" + Block([(274, SHORT, [1])]).bytes("<")
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", xmp=b'<x tiff:Orientation="6"/>', exif=exif_block)
    assert decode(buffer.getvalue()).width == 40


def test_a_directory_of_long_values_over_one_another_is_read_at_once() -> None:
    # Pillow's reader copies each of them: 65,535 times 8 MB.
    many = block_of(*[entry(271, ASCII, 8_000_000, 8)] * 65535) + bytes(8_000_000)
    start = time.process_time()
    exif.read(many)
    assert time.process_time() - start < 0.5


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_no_block_raises(data: st.DataObject) -> None:
    whole = bytearray(Block(FILE, PHOTO, EIFFEL).bytes(data.draw(st.sampled_from("<>"))))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    facts = read_safely(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert facts.iso is None or facts.iso > 0
    assert facts.latitude is None or -90 <= facts.latitude <= 90
    assert PhotoFacts.of_json(facts.to_json()) == facts


def test_random_bytes_raise_nothing() -> None:
    generator = random.Random(5)
    for _ in range(2000):
        facts = read_safely(b"II*\0\x08\0\0\0" + generator.randbytes(200))
        assert facts.orientation is None or 1 <= facts.orientation <= 8
