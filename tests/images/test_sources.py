"""Folders, tars, zips and lists as streams of entries: listed, skipped and damaged files."""

import io
import os
import random
import shutil
import ssl
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread

import pytest

from lookalike.errors import ImageError, SourceError
from lookalike.images.decode import Limits
from lookalike.images.sources import Folder, Source, Tar, TextList, Zip, fetch, is_url, open_source
from lookalike.integrations.ray.listing import listed
from lookalike.utils import download
from tests.hostile.craft import saved, scene

PHOTO = saved(scene(0), "JPEG")
NAMES = ["a.jpg", "b/c.PNG", "b/notes.txt", "b/.hidden.jpg", "node_modules/x.jpg", "z é\n.jpg"]
FOUND = ["a.jpg", "b/c.PNG", "z é\n.jpg"]


def make_folder(root: Path) -> Path:
    for name in NAMES:
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / name).write_bytes(b"a note" if name.endswith("txt") else PHOTO)
    return root / "photos"


def make_tar(root: Path, mode: str = "w") -> Path:
    path = root / "photos.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in NAMES:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(PHOTO), 1_700_000_000
            archive.addfile(member, io.BytesIO(PHOTO))
    return path


def make_zip(root: Path) -> Path:
    path = root / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            archive.writestr(name, PHOTO)
    return path


def make_list(root: Path) -> Path:
    folder = make_folder(root)
    (folder / "b" / "c.PNG").rename(folder / "b c.PNG")
    path = root / "photos.txt"
    path.write_text("# holiday\nphotos/a.jpg\n\nphotos/b c.PNG\r\n   \nphotos/gone.jpg\n")
    return path


def keys(source: Source) -> list[str]:
    return [entry.key for entry in source.entries()]


@pytest.mark.parametrize("make", [make_folder, make_tar, make_zip])
def test_the_same_images_are_found_in_a_folder_a_tar_and_a_zip(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = open_source(make(tmp_path))
    entries = source.entries()
    assert sorted((entry.key, entry.read()) for entry in entries) == [(name, PHOTO) for name in FOUND]
    assert keys(source) == keys(source)
    assert source.count() in (None, 3)


@pytest.mark.parametrize("make", [make_folder, make_tar, make_zip])
def test_one_image_can_be_read_by_its_key(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = open_source(make(tmp_path))
    assert source.contains("b/c.PNG")
    assert source.read("b/c.PNG") == PHOTO
    with pytest.raises(ImageError):
        source.read("b/absent.jpg")


def test_only_files_have_paths(tmp_path: Path) -> None:
    assert open_source(make_folder(tmp_path)).path("a.jpg") == tmp_path / "photos" / "a.jpg"
    assert open_source(make_tar(tmp_path)).path("a.jpg") is None
    assert open_source(make_zip(tmp_path)).path("a.jpg") is None


def test_a_source_is_told_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    make_tar(tmp_path).rename(tmp_path / "one.zip")
    make_zip(tmp_path).rename(tmp_path / "two.tar")
    make_list(tmp_path).rename(tmp_path / "three")
    sources = [open_source(tmp_path / name) for name in ("one.zip", "two.tar", "three", "photos")]
    assert [type(source) for source in sources] == [Tar, Zip, TextList, Folder]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_one_too(mode: str, tmp_path: Path) -> None:
    assert keys(open_source(make_tar(tmp_path, mode))) == FOUND


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent: no such folder, archive or list"):
        open_source(tmp_path / "absent")


def test_one_image_is_not_a_source_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(PHOTO)
    with pytest.raises(SourceError, match="is one image; index the folder"):
        open_source(tmp_path / "one.jpg")


def test_other_binary_files_are_no_source(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF" + bytes(500))
    with pytest.raises(SourceError, match="neither a folder"):
        open_source(tmp_path / "program")


# Folders


def test_files_of_a_folder_carry_their_size_and_time(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    os.utime(folder / "a.jpg", ns=(5, 1_234_567_890_123_456_789))
    first = next(iter(Folder(folder).entries()))
    assert (first.key, first.size, first.mtime_ns) == ("a.jpg", len(PHOTO), 1_234_567_890_123_456_789)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "b" / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    assert keys(Folder(folder)) == FOUND


def test_two_links_that_point_at_each_other_have_a_reason_and_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "c").symlink_to("c")
    (tmp_path / "d.jpg").write_bytes(PHOTO)
    entries = list(Folder(tmp_path).entries())
    assert [entry.key for entry in entries] == ["a.jpg", "b.jpg", "d.jpg"]
    with pytest.raises(ImageError, match="too many levels of symbolic links"):
        entries[0].read()


def test_images_without_an_extension_are_found_by_their_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001").write_bytes(PHOTO)
    (tmp_path / "README").write_bytes(b"not an image")
    (tmp_path / "empty").touch()
    assert keys(Folder(tmp_path)) == ["IMG_0001"]


def test_a_file_that_vanishes_after_it_was_listed_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    entry = next(iter(Folder(tmp_path).entries()))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ImageError, match="no such file"):
        entry.read()


def test_names_that_are_not_utf8_can_be_read_by_their_key(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(PHOTO)
    assert keys(Folder(tmp_path)) == [name]
    assert Folder(tmp_path).read(name) == PHOTO


def test_a_folder_that_is_gone_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or directory"):
        keys(Folder(tmp_path / "gone"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_folder_inside_that_cannot_be_read_has_a_reason_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    entries = list(Folder(tmp_path).entries())
    (tmp_path / "shut").chmod(0o700)
    assert [entry.key for entry in entries] == ["shut/"]
    with pytest.raises(ImageError, match="folder cannot be read"):
        entries[0].read()


# Archives


def test_only_a_tars_entries_have_to_be_read_in_their_turn(tmp_path: Path) -> None:
    for make, sequential in ((make_folder, False), (make_tar, True), (make_zip, False)):
        assert [entry.sequential for entry in open_source(make(tmp_path)).entries()] == [sequential] * 3


def many(root: Path, mode: str) -> Path:
    """A tar of 200 members that do not compress."""
    path = root / "many.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for number in range(200):
            member = tarfile.TarInfo(f"{number:03}.jpg")
            member.size = 2000
            archive.addfile(member, io.BytesIO(random.Random(number).randbytes(2000)))
    return path


def read_until_it_breaks(path: Path) -> tuple[list[str], str]:
    """The keys before the error, and its message."""
    read: list[str] = []
    try:
        for entry in open_source(path).entries():
            read.append(entry.key)
            with suppress(ImageError):
                entry.read()
    except SourceError as error:
        return read, str(error)
    return read, "no error"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_tar_gives_what_came_before_and_then_an_error(mode: str, damage: str, tmp_path: Path) -> None:
    path = many(tmp_path, mode)
    data = path.read_bytes()
    middle = len(data) // 2 + 700
    path.write_bytes(data[:middle] + (b"" if damage == "cut" else b"\xaa" * 9000 + data[middle + 9000 :]))
    read, message = read_until_it_breaks(path)
    assert "damaged after what was read so far" in message
    assert 50 < len(read) < 150
    assert read == [f"{number:03}.jpg" for number in range(len(read))]


def test_a_damaged_bzip2_tar_whose_only_block_is_lost_is_no_tar(tmp_path: Path) -> None:
    path = many(tmp_path, "w:bz2")
    path.write_bytes(path.read_bytes()[:5000])
    read, message = read_until_it_breaks(path)
    assert (read, "neither a folder" in message) == ([], True)


def test_members_that_would_leave_the_archive_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("dev.jpg", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name in ("../../out.jpg", "/tmp/out.jpg", "in.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(PHOTO)
            archive.addfile(member, io.BytesIO(PHOTO))
    source = open_source(path)
    assert [(entry.key, entry.read()) for entry in source.entries()] == [("/tmp/out.jpg", PHOTO), ("in.jpg", PHOTO)]
    assert source.path("/tmp/out.jpg") is None


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e300", "1e12"])
def test_a_time_that_is_none_is_not_known(time: str, tmp_path: Path) -> None:
    path = tmp_path / "when.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a.jpg")
        member.size, member.pax_headers = len(PHOTO), {"mtime": time}
        archive.addfile(member, io.BytesIO(PHOTO))
    (entry,) = open_source(path).entries()
    assert (entry.mtime_ns, entry.size) == (-1, len(PHOTO))
    assert [entry.mtime_ns for entry in listed(str(path))] == [-1]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.images.decode.LIMITS", Limits(bytes=100_000))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", bytes(50_000_000))
    entry = next(iter(open_source(tmp_path / "bomb.zip").entries()))
    with pytest.raises(ImageError, match="50,000,000 bytes, over the limit of 100,000"):
        entry.read()


def test_a_tar_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.images.decode.LIMITS", Limits(bytes=100_000))
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        for name, size in (("bomb.jpg", 100_001), ("fits.jpg", 100_000)):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    entries = open_source(tmp_path / "bomb.tar.gz").entries()
    with pytest.raises(ImageError, match="100,001 bytes, over the limit of 100,000"):
        next(entries).read()
    assert len(next(entries).read()) == 100_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_member_is_one_reason_and_the_others_are_read(compression: int, tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.jpg", os.urandom(4000))
        archive.writestr("b.jpg", PHOTO)
    data = bytearray(path.read_bytes())
    data[1000:1200] = bytes(200)
    path.write_bytes(data)
    first, second = open_source(path).entries()
    with pytest.raises(ImageError, match="damaged zip member"):
        first.read()
    assert second.read() == PHOTO


def test_an_encrypted_zip_member_says_so(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(signature)
        data[position + at] |= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="encrypted zip member"):
        next(iter(open_source(path).entries())).read()


def test_a_zip_member_of_unknown_compression_is_not_called_encrypted(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.find(signature) + at] = 97
    path.write_bytes(data)
    with pytest.raises(ImageError, match="damaged zip member"):
        next(iter(open_source(path).entries())).read()


def test_a_zip_whose_directory_cannot_be_read_is_refused_in_a_line(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    whole = path.read_bytes()
    entry = whole.find(b"PK\x01\x02")
    newer, misnamed = bytearray(whole), bytearray(whole)
    newer[entry + 6] = 99
    misnamed[entry + 9] |= 0x08  # the name is UTF-8,
    misnamed[entry + 46] = 0xFF  # and is not
    for data in (newer, misnamed):
        path.write_bytes(data)
        with pytest.raises(SourceError, match="cannot be read as a zip"):
            list(open_source(path).entries())


def test_a_zip_without_its_directory_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError):
        keys(open_source(path))


# Lists and URLs


def test_a_list_has_a_path_a_line_beside_the_list_itself(tmp_path: Path) -> None:
    source = open_source(make_list(tmp_path))
    assert keys(source) == ["photos/a.jpg", "photos/b c.PNG", "photos/gone.jpg"]
    assert source.count() == 3
    assert source.read("photos/b c.PNG") == PHOTO
    assert not source.contains("photos/gone.jpg")
    with pytest.raises(ImageError, match="no such file"):
        source.read("photos/gone.jpg")


class Answers(BaseHTTPRequestHandler):
    """A photo at /photo.jpg, more bytes than allowed at /large.jpg, nothing elsewhere."""

    def do_GET(self) -> None:
        body = {"/photo.jpg": PHOTO, "/large.jpg": bytes(200_000)}.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *arguments: object) -> None:
        del format, arguments


@pytest.fixture
def site() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_may_name_urls(site: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{site}/photo.jpg\n{site}/absent.jpg\n")
    source = open_source(tmp_path / "list.txt")
    good, absent = source.entries()
    assert good.read() == PHOTO
    with pytest.raises(ImageError, match="the server answered 404"):
        absent.read()
    assert source.contains(good.key)
    assert source.path(good.key) is None


def test_a_body_over_the_limit_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.images.decode.LIMITS", Limits(bytes=100_000))
    with pytest.raises(ImageError, match="over the limit of 100,000"):
        fetch(f"{site}/large.jpg")


def test_a_url_is_believed_by_the_certificates_that_downloads_go_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *name, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"https://localhost:{server.server_port}/photo.jpg"
        try:
            with pytest.raises(ImageError, match="cannot be fetched"):
                fetch(url)
            monkeypatch.setattr("certifi.where", lambda: str(certificate))
            download._certificates.cache_clear()
            assert fetch(url) == PHOTO
        finally:
            download._certificates.cache_clear()
            server.shutdown()
            thread.join()


NOWHERE = ("http://127.0.0.1:1/x.jpg", "http://[broken/x.jpg", "http:///x.jpg", "http://a b/x.jpg")


@pytest.mark.parametrize("url", NOWHERE)
def test_a_url_that_leads_nowhere_has_a_reason(url: str) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        fetch(url)


def test_only_http_is_fetched() -> None:
    assert [is_url(text) for text in ("http://a/b", "https://a/b", "file:///etc/passwd", "ftp://a/b", "a/b")] == [
        True, True, False, False, False,
    ]  # fmt: skip


# Streams


def kept() -> int:
    """Bytes that the sources and the tar reader hold (and not, say, the names that Python interns)."""
    mine = [tracemalloc.Filter(True, f"*/{file}.py") for file in ("sources", "tarfile")]
    return sum(part.size for part in tracemalloc.take_snapshot().filter_traces(mine).statistics("filename"))


@pytest.mark.parametrize("kind", ["tar", "list"])
def test_memory_does_not_grow_with_the_number_of_images(kind: str, tmp_path: Path) -> None:
    if kind == "tar":
        with tarfile.open(tmp_path / "many.tar", "w") as archive:
            for number in range(12_000):
                archive.addfile(tarfile.TarInfo(f"{number:06}.jpg"), io.BytesIO())
    else:
        (tmp_path / "many.list").write_text("".join(f"{number:06}.jpg\n" for number in range(12_000)))
    stream = open_source(tmp_path / f"many.{kind}").entries()
    next(stream)
    tracemalloc.start()
    passed = sum(1 for _ in islice(stream, 2000))
    early = kept()
    passed += sum(1 for _ in islice(stream, 9_000))
    late = kept()
    tracemalloc.stop()
    assert passed == 11_000
    assert late - early < 100_000  # 9,000 members kept would be 4 MB


UNREAD = {
    "clip.MP4": "video", "b/clip.mov": "video", "drawing.svg": "vector drawing", "layers.psd": "image editor",
    "paper.pdf": "PDF", "sky.fits": "astronomical", "sun.exr": "dynamic range", "icon.ico": "icon",
}  # fmt: skip
"""What people take for pictures, and a word of the reason."""


def with_unread(root: Path, kind: str) -> Path:
    """A picture and everything of `UNREAD`, in a folder, an archive or a list."""
    files = {"photo.jpg": PHOTO, "notes.txt": b"a note", **dict.fromkeys(UNREAD, b"\x00" * 40)}
    folder = root / "mixed"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if kind == "tar":
        with tarfile.open(root / "mixed.tar", "w") as archive:
            for name in files:
                archive.add(folder / name, name)
        return root / "mixed.tar"
    if kind == "zip":
        with zipfile.ZipFile(root / "mixed.zip", "w") as packed:
            for name in files:
                packed.write(folder / name, name)
        return root / "mixed.zip"
    if kind == "list":
        (folder / "list.txt").write_text("\n".join(name for name in files if name != "notes.txt"))
        return folder / "list.txt"
    return folder


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "list"])
def test_what_people_take_for_pictures_is_listed_with_a_reason_and_a_way_out(kind: str, tmp_path: Path) -> None:
    keys_seen, reasons = [], dict[str, str]()
    for entry in open_source(with_unread(tmp_path, kind)).entries():
        keys_seen.append(entry.key)
        try:
            assert entry.read() == PHOTO
        except ImageError as error:
            reasons[entry.key] = str(error)
            assert entry.reason == reasons[entry.key]
    assert sorted(keys_seen) == sorted(["photo.jpg", *UNREAD])
    assert set(reasons) == set(UNREAD)
    for name, word in UNREAD.items():
        assert word in reasons[name]
        assert "save" in reasons[name] or "export" in reasons[name]


def test_a_picture_with_the_name_of_a_video_is_read(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(PHOTO)
    (tmp_path / "folder.svg").mkdir()
    assert [entry.read() for entry in Folder(tmp_path).entries()] == [PHOTO]


def test_videos_are_counted_and_listed_for_a_cluster_too(tmp_path: Path) -> None:
    folder = with_unread(tmp_path, "folder")
    assert Folder(folder).count() == len(UNREAD) + 1
    assert {entry.key for entry in listed(str(folder)) if entry.reason} == set(UNREAD)
