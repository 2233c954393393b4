"""XMP in files of every format and in packets that mean harm."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import PngImagePlugin

from lookalike.errors import ImageError
from lookalike.images import sidecars, xmp
from lookalike.images.decode import decode
from lookalike.images.sources import open_source
from lookalike.images.xmp import Xmp
from tests.support.exif import Block
from tests.support.pictures import picture
from tests.support.xmp import packet

WORDS = ("beach", "Anna & Bo", "été")
GIVEN = packet(4, "Red", ["beach", "Anna &amp; Bo", "été"])
READ = Xmp(4, "Red", WORDS)


@pytest.mark.parametrize("elements", [False, True])
@pytest.mark.parametrize("bag", ["Bag", "Seq", "Alt"])
def test_attributes_and_elements_say_the_same(elements: bool, bag: str) -> None:
    assert xmp.read(packet(4, "Red", ["beach", "Anna &amp; Bo", "été"], elements, bag)) == READ


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("5", 5),
        ("0", 0),
        ("-1", -1),
        ("3.5", 3.5),
        ("4.0", 4),
        ("6", None),
        ("-2", None),
        ("nan", None),
        ("x", None),
        ("", None),
    ],
)
def test_a_rating_is_a_number_from_rejected_to_five(text: str, rating: float | None) -> None:
    assert xmp.read(packet(text)).rating == rating


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_encoding_of_xml_is_read(encoding: str) -> None:
    assert xmp.read(GIVEN.decode().replace("\ufeff", "").encode(encoding)) == READ


def test_only_what_is_said_of_the_picture_itself_counts() -> None:
    nested = packet().replace(
        b"</rdf:Description>",
        b'<xmp:History><rdf:Seq><rdf:li><rdf:Description xmp:Rating="1" xmp:Label="No"/></rdf:li>'
        b"</rdf:Seq></xmp:History>"
        b"<other:subject xmlns:other='urn:x'><rdf:Bag><rdf:li>no</rdf:li></rdf:Bag></other:subject></rdf:Description>",
    )
    assert xmp.read(nested) == Xmp()


def test_a_keyword_counts_once_and_control_characters_are_blanks() -> None:
    assert xmp.read(packet(keywords=["a", " a ", "", "b&#9;&#10;c", "x" * 900])).keywords == ("a", "b c", "x" * 200)


def png(block: bytes) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", block.decode(), zip=True)
    buffer = io.BytesIO()
    picture(1).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def written(kind: str) -> Callable[[bytes], bytes]:
    def write(block: bytes) -> bytes:
        buffer = io.BytesIO()
        picture(1).save(buffer, kind, xmp=block)
        return buffer.getvalue()

    return write


def tiff(order: str, kind: int = 1) -> Callable[[bytes], bytes]:
    def write(block: bytes) -> bytes:
        buffer = io.BytesIO()
        picture(1, (8, 8)).save(buffer, "TIFF")
        data = buffer.getvalue()
        # A directory of its own at the end, with the tags of the first and one more.
        (first,) = struct.unpack("<I", data[4:8])
        (count,) = struct.unpack("<H", data[first : first + 2])
        entries = [data[first + 2 + 12 * n : first + 14 + 12 * n] for n in range(count)]
        at = len(data)
        entries.append(struct.pack("<HHII", 700, kind, len(block), at))
        entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
        directory = at + len(block) + len(block) % 2
        head = data[:4] + struct.pack("<I", directory) + data[8:]
        tail = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        return head + block + bytes(len(block) % 2) + tail

    assert order == "<"
    return write


FILES = {
    "jpeg": written("JPEG"), "png": png, "webp": written("WEBP"), "avif": written("AVIF"), "heic": written("HEIF"),
    "tiff": tiff("<"), "tiff of no type": tiff("<", 7), "tiff by pillow": written("TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_every_format_is_read(kind: str) -> None:
    if kind == "heic":
        pillow_heif.register_heif_opener()
    if kind == "tiff by pillow":
        buffer = io.BytesIO()
        picture(1).save(buffer, "TIFF", tiffinfo={700: GIVEN})
        data = buffer.getvalue()
    else:
        data = FILES[kind](GIVEN)
    facts = decode(data).facts
    assert facts is not None
    assert (facts.rating, facts.label, facts.keywords) == (4, "Red", WORDS)
    assert facts.to_json()["keywords"] == list(WORDS)


def test_exif_and_xmp_stand_side_by_side() -> None:
    buffer = io.BytesIO()
    exif = b"Exif\0\0" + Block([(272, 2, "D90")]).bytes("<")
    picture(1).save(buffer, "JPEG", xmp=GIVEN, exif=exif)
    facts = decode(buffer.getvalue()).facts
    assert facts is not None
    assert (facts.camera, facts.rating) == ("D90", 4)


LAUGHS = (
    b'<!DOCTYPE lolz [<!ENTITY lol "lol">'
    + b"".join(
        b'<!ENTITY lol%d "%s">' % (n, b"&lol%d;" % (n - 1) * 10 if n > 1 else b"&lol;" * 10) for n in range(1, 12)
    )
    + b"]><lolz>&lol11;</lolz>"
)
OUTSIDE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
HOSTILE = {
    "laughs": LAUGHS,
    "external": OUTSIDE + packet(label="&e;"),
    "parameter": b'<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]>' + packet(4),
    "doctype": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + packet(4),
    "deep": b"<a>" * 2_000_000,
    "deep in place": packet(4).replace(b"</rdf:Description>", b"<a>" * 500_000),
    "wide": b"<a>" + b"<b/>" * 1_000_000,
    "attributes": b"<a " + b" ".join(b'b%d="c"' % n for n in range(300_000)) + b"/>",
    "namespaces": b"<a " + b" ".join(b'xmlns:b%d="c%d"' % (n, n) for n in range(100_000)) + b"/>",
    "one text": b"<a>" + b"x" * 8_000_000 + b"</a>",
    "one tag": b"<" + b"x" * 8_000_000,
    "one attribute": b'<a b="' + b"x" * 8_000_000,
    "one comment": b"<!--" + b"x" * 8_000_000,
    "nothing": b"",
    "zeroes": bytes(1_000_000),
    "noise": bytes(range(256)) * 1000,
    "codec": b'<?xml version="1.0" encoding="zlib_codec"?><a/>',
    "other codec": b'<?xml version="1.0" encoding="idna"?><a/>',
    "unknown": b'<?xml version="1.0" encoding="nothing"?><a/>',
    "nul": packet(4).replace(b"Rating", b"Rat\0ing"),
    "many keywords": packet(keywords=[f"word {n}" for n in range(30_000)]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_of_what_means_harm_little_is_read(name: str) -> None:
    said = xmp.read(HOSTILE[name])
    assert said.label is None
    assert len(said.keywords) <= xmp.KEYWORDS


@pytest.mark.parametrize("name", ["external", "parameter", "doctype", "laughs"])
def test_a_document_type_ends_the_reading(name: str) -> None:
    assert xmp.read(HOSTILE[name]) == Xmp()


def test_what_was_read_before_the_harm_counts() -> None:
    assert xmp.read(HOSTILE["deep in place"]).rating == 4
    assert len(xmp.read(HOSTILE["many keywords"]).keywords) == xmp.KEYWORDS
    assert xmp.read(packet(4, "Red")[:-40]) == Xmp(4, "Red")


def test_a_tiff_that_claims_gigabytes_of_it_is_read_like_any_other() -> None:
    data = bytearray(tiff("<")(GIVEN))
    at = data.index(struct.pack("<HH", 700, 1))
    struct.pack_into("<I", data, at + 4, 0xFFFFFFFF)
    facts = decode(bytes(data)).facts
    assert facts is not None
    assert facts.rating == 4  # The packet comes first; what follows it is no XML.
    struct.pack_into("<I", data, at + 8, 0xFFFFFFF0)
    facts = decode(bytes(data)).facts
    assert facts is not None
    assert facts.rating is None


def test_a_png_whose_packet_unpacks_to_far_more_is_refused_with_a_reason() -> None:
    data = png(GIVEN)
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(8_000_000), 9)
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    at = data.index(b"IDAT") - 4
    with pytest.raises(ImageError, match="damaged image"):
        decode(data[:at] + chunk + data[at:])


@pytest.mark.parametrize(
    ("name", "image", "belongs"),
    [
        ("a.xmp", "a.jpg", True), ("a.jpg.xmp", "a.jpg", True), ("a.XMP", "a.jpg", True), ("a.jpg.xmp", "a.png", False),
        ("b.xmp", "a.jpg", False), ("a.b.xmp", "a.b.jpg", True), ("a.xmp", "a.b.jpg", False), (".xmp", "a.jpg", False),
    ],
)  # fmt: skip
def test_which_sidecar_belongs_to_which_image(name: str, image: str, belongs: bool) -> None:
    assert (sidecars.of(image, sidecars.by_image([(name, name)])) == name) == belongs
    if sidecars.is_sidecar(name):
        assert sidecars.may_belong(name, image) == belongs


def test_sidecars_are_found_in_folders_zips_and_lists(tmp_path: Path) -> None:
    import zipfile

    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    for name in ("a.jpg", "in/b.jpg", "c.jpg"):
        picture(1).save(folder / name)
    (folder / "a.xmp").write_bytes(packet(1))
    (folder / "a.jpg.xmp").write_bytes(packet(2))
    (folder / "in" / "b.XMP").write_bytes(packet(3))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    (tmp_path / "list.txt").write_text("photos/a.jpg\nphotos/in/b.jpg\nphotos/c.jpg\nhttp://127.0.0.1:9/d.jpg\n")
    for place in (folder, tmp_path / "photos.zip", tmp_path / "list.txt"):
        entries = {Path(entry.key).name: entry.sidecar for entry in open_source(place).entries()}
        said = {name: beside.content().rating for name, beside in entries.items() if beside}
        assert said == {"a.jpg": 2, "b.jpg": 3}, place


def test_what_is_no_plain_small_file_is_no_sidecar(tmp_path: Path) -> None:
    import os

    for name in "abcd":
        picture(1).save(tmp_path / f"{name}.jpg")
    os.mkfifo(tmp_path / "a.xmp")
    (tmp_path / "b.xmp").mkdir()
    (tmp_path / "c.xmp").symlink_to("nothing")
    with (tmp_path / "d.xmp").open("wb") as file:
        file.truncate(1 << 30)
    entries = {entry.key: entry.sidecar for entry in open_source(tmp_path).entries()}
    beside = entries.pop("d.jpg")
    assert list(entries.values()) == [None, None, None]
    assert beside is not None
    assert beside.content() == Xmp()
