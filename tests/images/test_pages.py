"""Files of several pictures: a TIFF's preview before its page, and a camera's raw file with previews inside."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import ImageError
from lookalike.images import kinds, raw, tiff
from lookalike.images.decode import decode, examine, sniff
from tests.hostile.craft import saved, scene
from tests.images.test_decode import close

SMALL, LARGE = (48, 32), (192, 128)
Entry = tuple[int, int, list[int]]


@dataclass
class Directory:
    """A directory to be written: the tags beside those of its pixels, and its subdirectories."""

    tags: Sequence[Entry] = ()
    children: "list[Directory]" = field(default_factory=list)
    pixels: Image.Image | None = None
    jpeg: bytes = b""


def packed(directories: list[Directory], magic: bytes = b"II*\0") -> bytes:
    """A TIFF of these directories, in either byte order, each with what it names written before it."""
    order = "<" if magic[:2] == b"II" else ">"
    body = bytearray(magic + bytes(4))

    def put(data: bytes) -> int:
        body.extend(bytes(len(body) % 2))
        body.extend(data)
        return len(body) - len(data)

    def write(directory: Directory) -> tuple[int, int]:
        """Where it lies, and where the offset of the next one belongs."""
        entries: list[Entry] = list(directory.tags)
        if directory.children:
            entries.append((330, 4, [write(child)[0] for child in directory.children]))
        if directory.jpeg:
            entries += [(513, 4, [put(directory.jpeg)]), (514, 4, [len(directory.jpeg)])]
        if directory.pixels is not None:
            data = directory.pixels.tobytes()
            channels = len(directory.pixels.getbands())
            width, height = directory.pixels.size
            named = {tag for tag, _, _ in entries}
            entries += [entry for entry in (
                (256, 4, [width]), (257, 4, [height]), (258, 3, [8] * channels), (259, 3, [1]),
                (262, 3, [2 if channels == 3 else 1]), (273, 4, [put(data)]), (277, 3, [channels]),
                (278, 4, [height]), (279, 4, [len(data)])) if entry[0] not in named]  # fmt: skip
        written = b""
        for tag, kind, values in sorted(entries):
            form = f"{order}{len(values)}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }"
            inner = struct.pack(form, *values)
            place = inner.ljust(4, b"\0") if len(inner) <= 4 else struct.pack(order + "I", put(inner))
            written += struct.pack(order + "HHI", tag, kind, len(values)) + place
        at = put(struct.pack(order + "H", len(entries)) + written + bytes(4))
        return at, at + 2 + len(written)

    link = 4
    for directory in directories:
        at, following = write(directory)
        body[link : link + 4] = struct.pack(order + "I", at)
        link = following
    return bytes(body)


PREVIEW, PICTURE = scene(1, size=SMALL), scene(2, size=LARGE)
REDUCED: Entry = (254, 4, [1])
SENSOR: Entry = (262, 3, [32803])


def jpeg(image: Image.Image, **options: object) -> bytes:
    return saved(image, "JPEG", quality=95, **options)


def turned(value: int) -> Entry:
    return 274, 3, [value]


MOSAIC = Directory((SENSOR,), pixels=scene(9, "L", LARGE))


@pytest.mark.parametrize("magic", [b"II*\0", b"MM\0*"])
def test_the_largest_page_is_the_picture(magic: bytes) -> None:
    data = packed([Directory((REDUCED,), pixels=PREVIEW), Directory(pixels=PICTURE)], magic)
    assert close(decode(data).image, PICTURE, 0)
    assert (examine(data).width, examine(data).height) == LARGE


def test_pages_of_about_one_size_are_a_document_whose_first_stands_for_it() -> None:
    wider = scene(3, size=(200, 130))
    assert close(decode(packed([Directory(pixels=PICTURE), Directory(pixels=wider)])).image, PICTURE, 0)


def test_a_smaller_page_behind_the_picture_changes_nothing() -> None:
    data = packed([Directory(pixels=PICTURE), Directory((REDUCED,), pixels=PREVIEW)])
    assert close(decode(data).image, PICTURE, 0)


def test_pillows_own_pages_of_several_sizes_and_a_big_tiff() -> None:
    for big in (False, True):
        data = saved(PREVIEW.copy(), "TIFF", save_all=True, append_images=[PICTURE.copy()], big_tiff=big)
        assert close(decode(data).image, PICTURE, 0), big


def test_a_picture_in_a_subdirectory_is_found() -> None:
    data = packed([Directory((REDUCED,), [Directory(pixels=PICTURE)], PREVIEW)])
    assert close(decode(data).image, PICTURE, 0)


def test_a_jpeg_in_a_subdirectory_is_found() -> None:
    """As Nikon stores JpgFromRaw."""
    data = packed([Directory((REDUCED,), [Directory(jpeg=jpeg(PICTURE)), MOSAIC], PREVIEW)])
    decoded = decode(data)
    assert (decoded.width, decoded.height) == LARGE
    assert close(decoded.image, PICTURE, 3)


def test_a_large_jpeg_in_a_subdirectory_is_decoded_reduced() -> None:
    data = packed([Directory((REDUCED,), [Directory(jpeg=jpeg(scene(4, size=(1600, 1200))))], PREVIEW)])
    decoded = decode(data, size=50)
    assert (decoded.width, decoded.height, decoded.image.size) == (1600, 1200, (200, 150))


def test_a_canon_with_its_jpeg_in_a_strip_is_read() -> None:
    data = jpeg(PICTURE)
    first = Directory(((256, 4, [LARGE[0]]), (257, 4, [LARGE[1]]), (259, 3, [6]), (262, 3, [6])))
    whole = bytearray(packed([first], b"II*\0"))
    made = packed([Directory((*first.tags, (273, 4, [len(whole) + 24]), (279, 4, [len(data)])))], b"II*\0")
    made += bytes(len(whole) + 24 - len(made)) + data
    assert close(decode(made).image, PICTURE, 3)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("inner", ["page", "jpeg"])
def test_the_camera_says_once_how_it_was_turned(value: int, inner: str) -> None:
    """The first directory has the orientation of all that have none."""
    exif = Image.Exif()
    exif[0x0112] = value
    meant = decode(jpeg(PICTURE, exif=exif)).image
    child = Directory(jpeg=jpeg(PICTURE)) if inner == "jpeg" else Directory(pixels=PICTURE)
    assert close(decode(packed([Directory((REDUCED, turned(value)), [child], PREVIEW)])).image, meant, 3)
    own = Directory(jpeg=jpeg(PICTURE, exif=exif)) if inner == "jpeg" else Directory((turned(value),), [], PICTURE)
    assert close(decode(packed([Directory((REDUCED, turned(value)), [own], PREVIEW)])).image, meant, 3)


def test_a_raw_file_without_a_large_preview_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    data = packed([Directory((REDUCED,), [MOSAIC], PREVIEW)])
    with pytest.raises(ImageError, match=r'needs `pip install "lookalike\[raw\]"`'):
        decode(data)


@pytest.mark.parametrize("start", [b"FUJIFILMCCD-RAW 0201", b"IIU\0", b"IIRO", b"MMOR", b"\0\0\0\x18ftypcrx \0\0\0\1"])
def test_other_raw_files_are_known_by_their_first_bytes(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    assert sniff(start + bytes(20))
    with pytest.raises(ImageError) as refusal:
        decode(start + bytes(200))
    assert str(refusal.value) == kinds.NEEDS_RAW


def test_panasonics_jpeg_is_found() -> None:
    picture = scene(2, size=(1200, 800))
    data = jpeg(picture)
    body = packed([Directory(((46, 1, list(data)),))], b"II*\0")
    assert close(decode(b"IIU\0" + body[4:]).image, picture, 3)


def test_a_damaged_raw_file_ends_in_a_reason() -> None:
    pytest.importorskip("rawpy")
    data = packed([Directory((REDUCED,), [MOSAIC], PREVIEW)])
    for broken in (data, b"FUJIFILMCCD-RAW 0201" + bytes(2000), b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(500)):
        with pytest.raises(ImageError) as refusal:
            decode(broken)
        assert "raw file" in str(refusal.value)


def dng(width: int = 256, height: int = 192) -> bytes:
    """A sensor's mosaic (red, green, green, blue) of a picture that is red on the left and blue on the right."""
    mosaic = np.zeros((height, width), np.uint16)
    mosaic[::2, : width // 2 : 2] = 3000
    mosaic[1::2, width // 2 + 1 :: 2] = 3000
    body = bytearray(b"II*\0" + bytes(4))

    def put(data: bytes) -> int:
        body.extend(bytes(len(body) % 2))
        body.extend(data)
        return len(body) - len(data)

    pixels = put(mosaic.tobytes())
    rational = put(struct.pack("<18i", *[value for row in range(3) for column in range(3)
                                         for value in (int(row == column), 1)]))  # fmt: skip
    neutral = put(struct.pack("<6I", 1, 1, 1, 1, 1, 1))
    model = put(b"Made-up camera\0")
    short, long, byte = 3, 4, 1
    tags = [
        (254, long, 1, 0), (256, long, 1, width), (257, long, 1, height), (258, short, 1, 16), (259, short, 1, 1),
        (262, short, 1, 32803), (271, 2, 15, model), (272, 2, 15, model), (273, long, 1, pixels),
        (277, short, 1, 1), (278, long, 1, height), (279, long, 1, mosaic.nbytes),
        (33421, short, 2, 2 | 2 << 16), (33422, byte, 4, 0 | 1 << 8 | 1 << 16 | 2 << 24),
        (50706, byte, 4, 1 | 4 << 8), (50707, byte, 4, 1 | 1 << 8), (50708, 2, 15, model),
        (50717, long, 1, 4095), (50721, 10, 9, rational), (50728, 5, 3, neutral),
        (50778, short, 1, 21),
    ]  # fmt: skip
    at = put(struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4))
    body[4:8] = struct.pack("<I", at)
    return bytes(body)


def test_a_raw_file_without_a_preview_is_developed_where_the_extra_is_installed() -> None:
    pytest.importorskip("rawpy")
    decoded = decode(dng())
    assert decoded.image.size == (128, 96)
    left, right = (np.asarray(decoded.image)[48, x].astype(int) for x in (32, 96))
    assert left[0] - left[2] > 100
    assert right[2] - right[0] > 100


def test_offsets_outside_the_file_and_circles_end() -> None:
    looping = bytearray(packed([Directory((REDUCED,), pixels=PREVIEW), Directory(pixels=PICTURE)]))
    layout = tiff.layout(bytes(looping))
    assert [page.pixels for page in layout.pages] == [48 * 32, 192 * 128]
    second = layout.pages[1].offset
    count = int.from_bytes(looping[second : second + 2], "little")
    looping[second + 2 + 12 * count : second + 6 + 12 * count] = struct.pack("<I", layout.pages[0].offset)
    assert len(tiff.layout(bytes(looping)).pages) == 2
    outside = packed([Directory((REDUCED, (330, 4, [2**31, 2**32 - 1, 8, 0])), pixels=PREVIEW)])
    assert close(decode(outside).image, PREVIEW, 0)
    jpegs = packed([Directory((REDUCED, (513, 4, [2**31]), (514, 4, [2**31])), pixels=PREVIEW)])
    assert close(decode(jpegs).image, PREVIEW, 0)
