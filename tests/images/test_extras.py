"""Formats that an extra brings: read where it is installed, listed with its name where it is not."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import ImageError
from lookalike.images import jpeg_xl, kinds, opening, raw
from lookalike.images.decode import Limits, decode, examine, sniff
from tests.hostile.craft import saved, scene
from tests.images.test_decode import close, oriented
from tests.images.test_pages import PICTURE, PREVIEW, REDUCED, Directory, dng, jpeg, packed
from tests.support.pictures import PixelEncoder

SIZES = [(8, 8), (64, 48), (255, 255), (256, 8), (257, 1), (1, 1000), (1920, 1080), (700, 500), (5000, 3)]


def jxl(image: Image.Image, **options: object) -> bytes:
    pytest.importorskip("pillow_jxl")
    import pillow_jxl  # noqa: F401

    return saved(image, "JXL", **options)


def boxed(stream: bytes) -> bytes:
    """A codestream in a container, behind another box."""

    def box(kind: bytes, body: bytes) -> bytes:
        return (8 + len(body)).to_bytes(4, "big") + kind + body

    return jpeg_xl.CONTAINER + box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"free", bytes(30)) + box(b"jxlc", stream)


@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size: tuple[int, int]) -> None:
    data = jxl(scene(1, size=size), lossless=True)
    assert jpeg_xl.size(data) == size
    if data.startswith(jpeg_xl.CODESTREAM):
        assert jpeg_xl.size(boxed(data)) == size


def test_a_jpeg_xl_is_read_upright_and_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = scene(2)
    data = jxl(stored, lossless=True)
    assert sniff(data[:32])
    assert close(decode(data).image, stored, 0)
    assert examine(data).format == "JXL"
    # The codestream says how a picture is turned; what EXIF says of it does not count.
    assert close(decode(jxl(stored, lossless=True, exif=exif.tobytes())).image, stored, 0)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.filterwarnings("ignore:Using JPEG reconstruction")
def test_a_jpeg_within_a_jpeg_xl_is_turned_as_it_says(value: int, tmp_path: Path) -> None:
    data, upright = oriented("JPEG", value)
    (tmp_path / "a.jpg").write_bytes(data)
    with Image.open(tmp_path / "a.jpg") as image:
        assert close(decode(jxl(image, lossless_jpeg=True)).image, upright, 5)


def test_light_artwork_in_a_jpeg_xl_stands_on_black() -> None:
    image = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (8, 8, 24, 24))
    pixels = np.asarray(decode(jxl(image, lossless=True)).image)
    assert (pixels[0, 0].tolist(), pixels[16, 16].tolist()) == ([0, 0, 0], [255, 255, 255])


def test_a_jpeg_xl_over_the_limit_is_not_decoded() -> None:
    data = jxl(scene(3))
    with pytest.raises(ImageError, match=r"^96 x 64 pixels, over the limit of 6,143$"):
        decode(data, limits=Limits(pixels=6143))
    huge = jpeg_xl.CODESTREAM + bytes.fromhex("feffffffffffffffff") + data[2:]
    with pytest.raises(ImageError, match="over the limit of 178,956,970"):
        decode(huge)


def test_damage_to_a_jpeg_xl_ends_in_an_image_or_a_reason() -> None:
    rng, sound = random.Random(5), jxl(scene(4))
    outcomes = set()
    for _ in range(60):
        body = bytearray(sound)
        for _ in range(rng.randrange(1, 6)):
            body[rng.randrange(2, len(body))] = rng.randrange(256)
        try:
            decode(bytes(body[: rng.randrange(3, len(body) + 1)]), limits=Limits(pixels=1_000_000))
            outcomes.add("image")
        except ImageError as error:
            assert str(error).isprintable()
            outcomes.add("reason")
    assert "reason" in outcomes


def test_without_the_extra_its_name_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_reads_jpeg_xl", lambda: False)
    for data in (jpeg_xl.CODESTREAM + bytes(40), boxed(jpeg_xl.CODESTREAM + bytes(40))):
        with pytest.raises(ImageError) as refusal:
            decode(data)
        assert str(refusal.value) == kinds.NEEDS_JXL == 'JPEG XL needs `pip install "lookalike[jxl]"`'


def test_a_raw_file_and_its_jpeg_are_both_indexed(tmp_path: Path, encoder: PixelEncoder) -> None:
    (tmp_path / "P1.JPG").write_bytes(jpeg(PICTURE))
    child = Directory(jpeg=jpeg(PICTURE))
    (tmp_path / "P1.NEF").write_bytes(packed([Directory((REDUCED,), [child], PREVIEW)]))
    (tmp_path / "clip.mov").write_bytes(b"film")
    with Collection(tmp_path / ".lookalike", encoder, [tmp_path]) as collection:
        assert collection.index().added == 2
        assert sorted(collection.keys()) == ["P1.JPG", "P1.NEF"]
        assert collection.search("P1.JPG", k=2)[1].score > 0.99
        item = collection.store.catalog.live_item("P1.NEF")
        assert item
        assert (item.width, item.height) == PICTURE.size


def test_without_the_extra_raw_files_are_listed_with_its_name(
    tmp_path: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "is_installed", lambda: False)
    (tmp_path / "a.dng").write_bytes(dng())
    (tmp_path / "b.cr3").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(100))
    (tmp_path / "c.jpg").write_bytes(jpeg(PICTURE))
    with Collection(tmp_path / ".lookalike", encoder, [tmp_path]) as collection:
        collection.index()
        assert collection.skipped() == [("a.dng", kinds.NEEDS_RAW), ("b.cr3", kinds.NEEDS_RAW)]
        assert 'pip install "lookalike[raw]"' in kinds.NEEDS_RAW
        # Read once the extra is there, without a word: a skipped file is tried again by every run.
        monkeypatch.undo()
        pytest.importorskip("rawpy")
        assert collection.index().added == 1


def test_a_preview_inside_is_taken_where_it_is_large_and_the_sensor_developed_where_not() -> None:
    rawpy = pytest.importorskip("rawpy")
    with rawpy.imread(io.BytesIO(dng())) as opened:
        assert opened.sizes.raw_width == 256
    image, orientation = raw.develop(dng(), 10**6)
    assert (image.size, orientation) == ((128, 96), 1)
    with pytest.raises(ImageError, match=r"^256 x 192 pixels, over the limit of 49,151$"):
        raw.develop(dng(), 49_151)
