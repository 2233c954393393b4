"""Downloads against a server on this machine: whole, interrupted, changed, hostile, and with no server at all."""

import contextlib
import hashlib
import http.client
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import download as downloads
from lookalike.evaluation.datasets.download import HOMES, RemoteFile, download, fetch, unpack
from lookalike.utils import download as fetching


class Home(ThreadingHTTPServer):
    """Serves `files`; the first answers for a path in `cuts` stop after that many bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = self.lengths = True
        self.moved = 0
        """By how many bytes the part that is answered begins too late."""

    def remote(self, name: str, into: str, md5: str | None = None) -> RemoteFile:
        return RemoteFile(f"http://127.0.0.1:{self.server_address[1]}/{name}", into, md5)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        home = self.server
        assert isinstance(home, Home)
        name, span = self.path.lstrip("/"), self.headers.get("Range")
        home.requests.append((name, span))
        if name not in home.files:
            self.send_error(404)
            return
        data, start = home.files[name], 0
        if span and home.ranges:
            start = int(span.removeprefix("bytes=").removesuffix("-")) + home.moved
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        if home.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cuts = home.cuts.get(name, [])
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home() -> Iterator[Home]:
    server = Home()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def tgz(**members: bytes | tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


PHOTOS = tgz(**{"paris/eiffel/a.jpg": b"photo a" * 1000, "paris/b.jpg": b"photo b", "readme.txt": b"no photo"})


def test_archives_and_files_land_where_the_readers_look(home: Home, tmp_path: Path) -> None:
    home.files = {"photos.tgz": PHOTOS, "truth.tgz": tgz(**{"a_query.txt": b"a 1 2 3 4"}), "gnd.pkl": b"pickle"}
    remotes = [
        home.remote("photos.tgz", "images"),
        home.remote("truth.tgz", "groundtruth"),
        home.remote("gnd.pkl", "."),
    ]
    heard: list[tuple[int, int | None]] = []
    download("tiny", tmp_path, lambda done, total: heard.append((done, total)), remotes)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a.jpg", "b.jpg"]
    assert (tmp_path / "images" / "b.jpg").read_bytes() == b"photo b"
    assert (tmp_path / "groundtruth" / "a_query.txt").read_bytes() == b"a 1 2 3 4"
    assert (tmp_path / "gnd.pkl").read_bytes() == b"pickle"
    assert (len(PHOTOS), len(PHOTOS)) in heard


def test_what_was_unpacked_is_not_fetched_again_unless_it_is_gone(home: Home, tmp_path: Path) -> None:
    home.files = {"photos.tgz": PHOTOS}
    remotes = [home.remote("photos.tgz", "images")]
    download("tiny", tmp_path, remotes=remotes)
    download("tiny", tmp_path, remotes=remotes)
    assert len(home.requests) == 1
    (tmp_path / "images").rename(tmp_path / "moved")
    download("tiny", tmp_path, remotes=remotes)
    assert (tmp_path / "images" / "a.jpg").exists()


def test_a_broken_connection_goes_on_where_it_stopped(home: Home, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    home.files, home.cuts = {"gnd.pkl": data}, {"gnd.pkl": [300_000, 500_000]}
    file = fetch(home.remote("gnd.pkl", "."), tmp_path)
    assert file.read_bytes() == data
    assert [span for _, span in home.requests] == [None, "bytes=300000-", "bytes=800000-"]


def test_an_interrupted_run_is_continued_by_the_next(home: Home, tmp_path: Path) -> None:
    home.files = {"gnd.pkl": b"0123456789"}
    (tmp_path / "gnd.pkl.part").write_bytes(b"0123")
    assert fetch(home.remote("gnd.pkl", "."), tmp_path).read_bytes() == b"0123456789"
    assert home.requests == [("gnd.pkl", "bytes=4-")]


def test_another_part_than_was_asked_for_is_not_put_behind_the_first(home: Home, tmp_path: Path) -> None:
    home.files, home.moved = {"gnd.pkl": b"0123456789"}, 1
    (tmp_path / "gnd.pkl.part").write_bytes(b"0123")
    with pytest.raises(http.client.HTTPException, match=r"asked for bytes from 4, got 5-9"):
        fetch(home.remote("gnd.pkl", "."), tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("gnd.pkl.part", b"0123")]


def test_a_part_that_is_already_whole_needs_nothing_more(home: Home, tmp_path: Path) -> None:
    home.files = {"gnd.pkl": b"0123456789"}
    (tmp_path / "gnd.pkl.part").write_bytes(b"0123456789")
    assert fetch(home.remote("gnd.pkl", "."), tmp_path).read_bytes() == b"0123456789"


def test_a_part_longer_than_the_file_is_begun_anew(home: Home, tmp_path: Path) -> None:
    home.files = {"gnd.pkl": b"short"}
    (tmp_path / "gnd.pkl.part").write_bytes(b"something longer")
    assert fetch(home.remote("gnd.pkl", "."), tmp_path).read_bytes() == b"short"


def test_a_server_that_cannot_resume_is_asked_for_everything(home: Home, tmp_path: Path) -> None:
    home.files, home.ranges = {"gnd.pkl": b"0123456789"}, False
    (tmp_path / "gnd.pkl.part").write_bytes(b"xxxx")
    assert fetch(home.remote("gnd.pkl", "."), tmp_path).read_bytes() == b"0123456789"


def test_a_server_that_never_gets_further_is_given_up(home: Home, tmp_path: Path) -> None:
    home.files, home.cuts = {"gnd.pkl": b"0123456789"}, {"gnd.pkl": [0] * 10}
    with pytest.raises(EvaluationError, match=r"cannot download from 127\.0\.0\.1"):
        download("tiny", tmp_path, remotes=[home.remote("gnd.pkl", ".")])
    assert len(home.requests) <= fetching.ATTEMPTS


@pytest.mark.parametrize("lengths", [True, False], ids=["announced", "only sent"])
def test_more_than_a_set_can_have_is_neither_fetched_nor_kept(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: bool
) -> None:
    monkeypatch.setattr(downloads, "LARGEST_UNPACKED", 1000)
    home.files, home.lengths = {"gnd.pkl": bytes(1001), "other.pkl": bytes(1000)}, lengths
    with pytest.raises(EvaluationError, match=r"cannot download from 127\.0\.0\.1:\d+ \(more than 1,000 bytes\)"):
        download("tiny", tmp_path, remotes=[home.remote("gnd.pkl", ".")])
    assert len(home.requests) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert fetch(home.remote("other.pkl", "."), tmp_path).stat().st_size == 1000


def test_a_published_checksum_is_held_against_the_file(home: Home, tmp_path: Path) -> None:
    home.files = {"gnd.pkl": b"right"}
    right = hashlib.md5(b"right", usedforsecurity=False).hexdigest()
    assert fetch(home.remote("gnd.pkl", ".", right), tmp_path).read_bytes() == b"right"
    home.files["other.pkl"] = b"wrong"
    with pytest.raises(EvaluationError, match=f"expected {right}; it was removed"):
        fetch(home.remote("other.pkl", ".", right), tmp_path)
    assert not list(tmp_path.glob("other*"))


@pytest.mark.parametrize("at", [len(PHOTOS) // 2, -6], ids=["in the middle", "in the checksum at the end"])
def test_a_damaged_archive_is_removed_and_said(home: Home, tmp_path: Path, at: int) -> None:
    damaged = bytearray(PHOTOS)
    damaged[at] ^= 1
    home.files = {"photos.tgz": bytes(damaged)}
    with pytest.raises(EvaluationError, match=r"photos\.tgz: damaged .* it was removed, run again"):
        download("tiny", tmp_path, remotes=[home.remote("photos.tgz", "images")])
    assert not (tmp_path / ".downloads" / "photos.tgz").exists()


def _link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, "/etc/hosts"
    return info


@pytest.mark.parametrize(
    "members",
    [
        {"../outside.jpg": b"x"},
        {"/outside.jpg": b"x"},
        {"images/../../outside.jpg": b"x"},
        {"a.jpg": _link(tarfile.SYMTYPE)},
        {"a.jpg": _link(tarfile.LNKTYPE)},
        {"a.jpg": _link(tarfile.CHRTYPE)},
    ],
    ids=["parent", "absolute", "through", "symlink", "hardlink", "device"],
)
def test_an_archive_that_reaches_outside_is_refused(
    tmp_path: Path, members: dict[str, bytes | tarfile.TarInfo]
) -> None:
    archive = tmp_path / "photos.tgz"
    archive.write_bytes(tgz(**members))
    with pytest.raises(EvaluationError, match="no plain file inside; refused"):
        unpack(archive, tmp_path / "deep" / "images", (".jpg",))
    assert not list(tmp_path.rglob("outside*"))
    assert not list((tmp_path / "deep" / "images").iterdir())


def test_an_archive_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "photos.tgz"
    archive.write_bytes(tgz(**{f"{number}.jpg": b"x" * 100 for number in range(20)}))
    monkeypatch.setattr(downloads, "MOST_FILES", 10)
    with pytest.raises(EvaluationError, match=r"more than this dataset has; refused at '10\.jpg'"):
        unpack(archive, tmp_path / "images", (".jpg",))
    monkeypatch.setattr(downloads, "MOST_FILES", 100)
    monkeypatch.setattr(downloads, "LARGEST_UNPACKED", 1500)
    with pytest.raises(EvaluationError, match=r"refused at '15\.jpg'"):
        unpack(archive, tmp_path / "images", (".jpg",))


def test_without_a_network_one_line_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(EvaluationError) as caught:
        download("roxford5k", tmp_path / "oxford")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot download from www.robots.ox.ac.uk and cmp.felk.cvut.cz" in message
    assert f"oxbuild_images-v1.tgz unpacked into {tmp_path / 'oxford' / 'images'}" in message
    assert f"gnd_roxford5k.pkl to {tmp_path / 'oxford'}" in message


def test_a_file_that_is_not_at_its_home_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="404"):
        download("tiny", tmp_path, remotes=[home.remote("moved.tgz", "images")])


def test_a_dataset_without_a_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="vgg has no home to download from; there are oxford5k"):
        download("vgg", tmp_path)
    with pytest.raises(EvaluationError, match="needs --root DIR"):
        download("oxford5k", None)


def test_every_home_is_one_of_the_two_that_publish_these_sets() -> None:
    hosts = {remote.url.split("/")[2] for remotes in HOMES.values() for remote in remotes}
    assert hosts == {"www.robots.ox.ac.uk", "cmp.felk.cvut.cz"}
