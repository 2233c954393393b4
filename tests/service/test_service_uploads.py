"""What strangers send: each is refused with its status, and the service is as it was."""

import io
import os
import random
import select
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from serving import command, wait_ready

from lookalike.images import decode as images
from lookalike.images.decode import Limits
from lookalike.images.killable import Processes
from lookalike.service.batching import Slots
from lookalike.service.decoding import PARTS, TRIED_BYTES, Examiner
from lookalike.service.errors import ApiError
from tests.hostile import FILES
from tests.hostile.bad import BAD
from tests.hostile.craft import bmp, chunk, png, saved, scene
from tests.hostile.good import GOOD
from tests.service.running import Running, jpeg, running, write_photos
from tests.support.pictures import picture

pytest_plugins = ["tests.service.service_fixtures"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LARGE = {
    "bomb.png", "long bomb.png", "bomb in text.png", "bomb in profile.png", "bomb.jpg", "huge canvas.webp", "huge.jp2",
    "huge.bmp",
}  # fmt: skip
DAMAGED = {
    "jpeg header.jpg", "cut.jpg", "cut progressive.jpg", "cut.png", "cut.webp", "cut.gif", "cut.jp2", "cut.bmp",
    "cut.qoi", "no pixels.png", "many scans.jpg", "enormous tile.tif",
}  # fmt: skip
"""Files of BAD that are too large by their headers, and that end too early; all others are not decoded at all."""


def slow_jpeg() -> bytes:
    """A few hundred kilobytes that take half a minute: 450 scans over 20 million pixels."""
    plain = io.BytesIO()
    Image.new("L", (4500, 4500), 100).save(plain, "JPEG", progressive=True, quality=1)
    data = plain.getvalue()
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x10" + b"\xff"
    return data[:-2] + scan * 450 + b"\xff\xd9"


def crowded() -> bytes:
    """A good picture among thousands of empty chunks."""
    plain = io.BytesIO()
    picture(1).save(plain, "PNG")
    return plain.getvalue()[:33] + chunk(b"tIMe", bytes(7)) * 3000 + plain.getvalue()[33:]


def polyglot() -> bytes:
    """A GIF's signature before a page that would run as a script where its type is guessed."""
    return b"GIF89a/*" + bytes(8) + b"*/=1;alert(document.cookie)//<script>alert(1)</script>"


OTHERS = {
    "polyglot.gif": (polyglot, 415),
    "many chunks.png": (lambda: png(8, 8, 8, 0, b"", before=chunk(b"abCd", b"") * 40_000), 422),
    "many segments.jpg": (lambda: b"\xff\xd8" + b"\xff\xe1\x00\x02" * 100_000 + b"\xff\xd9", 415),
    "a hundred and one megapixels.png": (lambda: png(10_100, 10_000, 1, 0, bytes(100)), 413),
    "zero bytes in front.jpg": (lambda: b"\0" + jpeg(1), 415),
    "script.svg": (lambda: b"<svg onload='alert(1)'/>", 415),
    "squeezed.svgz": (lambda: b"\x1f\x8b\x08" + bytes(60), 415),
    "class.jpg": (lambda: b"\xca\xfe\xba\xbe" + bytes(60), 415),
    "program.jpg": (lambda: b"\x7fELF" + bytes(60), 415),
    "half a bomb.png": (lambda: png(9_000, 9_000, 8, 6, zlib.compress(bytes(1000))), 422),
}


def expected(name: str) -> int:
    return 413 if name in LARGE else 422 if name in DAMAGED else 415


def test_there_are_enough_of_them() -> None:
    assert len(BAD) + len(OTHERS) >= 50
    assert set(BAD) > DAMAGED | LARGE


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_status(service: Running, name: str) -> None:
    answer = service.client.post("/v1/search", files={"file": (name, BAD[name]())})
    assert answer.status_code == expected(name), answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert len(error["message"]) < 300


@pytest.mark.parametrize("name", OTHERS)
def test_so_is_what_only_an_upload_can_be(service: Running, name: str) -> None:
    make, status = OTHERS[name]
    answer = service.client.post("/v1/search", files={"file": (name, make())})
    assert answer.status_code == status, answer.text


def test_odd_but_good_files_are_searched_with(service: Running) -> None:
    unsigned = {"plain.ppm", "plain.pcx"}
    for name, make in GOOD.items():
        status = service.client.post("/v1/search", files={"file": make()}, data={"k": "1"}).status_code
        assert status == (415 if name in unsigned else 200), name


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x.jpg", "..\\..\\x.jpg", "/etc/passwd", "C:\\x.jpg", "a\0b.jpg",
        "<script>alert(1)</script>.jpg", "x" * 3000, "\u202egpj.exe", "%2e%2e%2f",
    ],
)  # fmt: skip
def test_a_file_name_means_nothing(service: Running, name: str) -> None:
    before = sorted(service.folder.parent.rglob("*"))
    answer = service.client.post("/v1/search", files={"file": (name, jpeg(1))}, data={"k": "1"})
    assert answer.status_code in (200, 400), answer.text
    assert answer.status_code == 400 or answer.json()["results"][0]["key"] == "01.jpg"
    assert sorted(service.folder.parent.rglob("*")) == before


def of_chunks(count: int) -> bytes:
    """A PNG of so many chunks; its header, pixels and end are three of them."""
    return png(8, 8, 8, 0, bytes(9 * 8), before=chunk(b"abCd", b"") * (count - 3))


def of_segments(count: int) -> bytes:
    """A JPEG of so many segments before its scan; of what Pillow writes five are (APP0, DQT, SOF, and DHT twice)."""
    plain = saved(scene(1, "L"), "JPEG")
    return plain[:2] + b"\xff\xfe\x00\x02" * (count - 5) + plain[2:]


def of_bytes(count: int) -> bytes:
    """A BMP of so many."""
    plain = bmp(8, 8, bytes(8 * 8 * 3))
    return plain + bytes(count - len(plain))


@pytest.mark.parametrize(
    ("make", "most"), [(of_chunks, PARTS), (of_segments, PARTS), (of_bytes, TRIED_BYTES)], ids=["PNG", "JPEG", "BMP"]
)
def test_what_has_many_parts_is_looked_at_by_a_process_that_can_be_killed(
    make: Callable[[int], bytes], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(Examiner, "_try", lambda self, data, size: tried.append(len(data)))
    examiner = Examiner(Limits(), 10, Slots(1))
    examiner.check("file", make(most), None)
    assert tried == []
    examiner.check("file", make(most + 1), None)
    assert tried == [len(make(most + 1))]


def test_what_has_many_parts_and_too_many_bytes_is_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Examiner, "_try", lambda *_: pytest.fail("it was tried"))
    with pytest.raises(ApiError, match="300,001 bytes, over the limit of 300,000") as refused:
        Examiner(Limits(bytes=300_000), 10, Slots(1)).check("file", of_bytes(300_001), None)
    assert refused.value.status == 413


def test_a_slow_image_is_given_up_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    with running(write_photos(tmp_path / "photos", 3), decode_seconds=0.5) as service:
        answer = service.client.post("/v1/search", files={"file": slow_jpeg()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "slow_image")
        # The process that was lost is replaced.
        service.served.examiner._seconds = 60
        assert service.client.post("/v1/search", files={"file": crowded()}).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
def test_the_process_that_tries_an_image_may_take_no_more_memory_than_it_is_told() -> None:
    """12,000 x 12,000 pixels of a bit: 30 kB, and 700 MB as RGB."""
    data = png(12_000, 12_000, 1, 0, bytes(1501 * 12_000))
    program = f"from lookalike.images import killable; killable.MEMORY = {256 * 1024 * 1024}; {images.PROGRAM}"
    with closing(Processes(program, 1)) as processes:
        answers = [processes.ask(images.trial(None, Limits()), each, 60, 0) for each in (data, jpeg(1))]
    assert answers == [({"reason": "too large to decode in memory"}, b""), ({}, b"")]


def test_a_body_is_counted_while_it_arrives(tmp_path: Path) -> None:
    limits = Limits(pixels=10_000, bytes=200_000)
    with running(write_photos(tmp_path / "photos", 3), limits=limits) as service:

        def endless() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(60):
                yield bytes(50_000)

        form = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = service.client.post("/v1/search", content=endless(), headers=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        just_over = service.client.post("/v1/search", files={"file": jpeg(1) + bytes(200_000)})
        assert just_over.status_code == 413
        assert service.client.post("/v1/search", files={"file": jpeg(1, (101, 100))}).status_code == 413
        assert service.client.post("/v1/search", files={"file": jpeg(1, (100, 100))}).status_code == 200
        assert service.served.buffered.in_use == 0


FORMS = {
    "no boundary": (b"x", "multipart/form-data", 400),
    "endless boundary": (b"x", "multipart/form-data; boundary=" + "b" * 3000, 400),
    "never ends": (b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nabc', "b", 400),
    "other boundary": (b"--c\r\n\r\n--c--\r\n", "b", 400),
    "no name": (b"--b\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--b--\r\n", "b", 400),
    "no disposition": (b"--b\r\nX: y\r\n\r\nabc\r\n--b--\r\n", "b", 400),
    "empty": (b"", "b", 400),
    "no file": (b'--b\r\nContent-Disposition: form-data; name="k"\r\n\r\n3\r\n--b--\r\n', "b", 422),
    "many headers": (b"--b\r\n" + b"X: y\r\n" * 500 + b"\r\nabc\r\n--b--\r\n", "b", 400),
    "long header": (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nabc\r\n--b--\r\n", "b", 400),
    "many fields": (b'--b\r\nContent-Disposition: form-data; name="k"\r\n\r\n3\r\n' * 1000 + b"--b--\r\n", "b", 413),
    "many files": (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n3\r\n' * 100 + b"--b--\r\n", "b", 413
    ),
    "long field": (
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"x" * 1_000_000 + b"\r\n--b--\r\n", "b", 413
    ),
    "another field for the file": (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n3\r\n--b--\r\n', "b", 422
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_form_is_refused(service: Running, name: str) -> None:
    body, kind, status = FORMS[name]
    content_type = kind if "/" in kind else f"multipart/form-data; boundary={kind}"
    answer = service.client.post("/v1/search", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text


def test_a_form_that_is_slow_to_take_apart_keeps_nobody_waiting(service: Running) -> None:
    almost_ends = b"\r\n--b\r" * 1_500_000
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + almost_ends + b"\r\n--b--\r\n"
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url) as client:
            while not over.is_set():
                start = time.perf_counter()
                assert client.get("/healthz").status_code == 200
                waits.append(time.perf_counter() - start)

    asking = threading.Thread(target=ask)
    asking.start()
    start = time.perf_counter()
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert service.client.post("/v1/search", content=body, headers=form).status_code == 415
    took = time.perf_counter() - start
    over.set()
    asking.join()
    assert max(waits) < took / 2


def talk(url: str, *parts: bytes, pause: float = 0.0) -> bytes:
    """Say something to the socket, in parts, and read what comes until the other side hangs up."""
    split = urlsplit(url)
    with socket.create_connection((split.hostname, split.port), timeout=30) as plug:
        for part in parts:
            try:
                plug.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        return until_it_hangs_up(plug)


def until_it_hangs_up(plug: socket.socket) -> bytes:
    heard = b""
    try:
        while piece := plug.recv(65536):
            heard += piece
    except OSError:
        pass
    return heard


def answered_while_dripping(url: str, head: bytes) -> bytes:
    """What the other side says while it gets a byte every fifth of a second; nothing where it lets that go on."""
    split = urlsplit(url)
    with socket.create_connection((split.hostname, split.port), timeout=30) as plug:
        plug.sendall(head)
        for _ in range(40):
            plug.sendall(b" ")
            if select.select([plug], [], [], 0.2)[0]:
                return until_it_hangs_up(plug)
    return b""


HEAD = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_photos(tmp_path_factory.mktemp("impatient") / "photos", 3)
    with running(folder, idle_seconds=0.4, body_seconds=1.5, header_seconds=0.6, unread_seconds=0.4) as started:
        yield started


def test_a_body_that_stops_or_drips_is_given_up(impatient: Running) -> None:
    stopped = talk(impatient.url, HEAD + b"Content-Length: 100\r\n\r\n{")
    assert stopped.startswith(b"HTTP/1.1 400")
    assert b"slow_body" in stopped
    start = time.monotonic()
    assert b"slow_body" in answered_while_dripping(impatient.url, HEAD + b"Content-Length: 100\r\n\r\n")
    assert 1 < time.monotonic() - start < 8
    assert impatient.served.buffered.in_use == 0


def test_a_head_that_never_ends_is_given_up(impatient: Running) -> None:
    assert talk(impatient.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n", *[b"X: y\r\n"] * 8, pause=0.15) == b""
    assert talk(impatient.url) == b""
    assert talk(impatient.url, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000).startswith((b"HTTP/1.1 400", b""))


REFUSED = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nContent-Length: 12\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_the_rest_of_a_refused_upload_has_the_time_of_a_body(impatient: Running) -> None:
    heard = talk(impatient.url, REFUSED, *[b"xx"] * 6, GET, pause=0.15)
    assert (heard.count(b"HTTP/1.1 400"), heard.count(b"HTTP/1.1 200")) == (1, 1)
    dripping = talk(impatient.url, REFUSED, *[b"x"] * 12, GET, pause=0.2)
    assert b"HTTP/1.1 200" not in dripping
    # The head that follows has the time of a head again.
    slow_head = talk(impatient.url, REFUSED, b"x", b"x" * 11 + GET[:5], GET[5:], pause=0.7)
    assert b"HTTP/1.1 200" not in slow_head


def read_all(url: str, pause: float, first: float = 0.0) -> tuple[int, int]:
    """Bytes that were read of the answers to many requests at once, and the bytes of all answers."""
    split, requests = urlsplit(url), 100
    length = len(httpx.get(f"{url}/openapi.json").content)
    with socket.socket() as plug:
        plug.settimeout(30)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        plug.connect((split.hostname, split.port))
        plug.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * (requests - 1))
        plug.sendall(GET.replace(b"/healthz", b"/openapi.json"))
        time.sleep(first)
        heard = 0
        try:
            while piece := plug.recv(1 << 20):
                heard += len(piece)
                time.sleep(pause)
        except OSError:
            pass
    return heard, requests * length


def test_an_answer_that_nobody_reads_is_given_up(impatient: Running) -> None:
    heard, whole = read_all(impatient.url, 0, first=1.5)
    assert heard < whole


def test_an_answer_that_is_read_slowly_is_not_given_up(tmp_path: Path) -> None:
    seconds = 2.0
    with running(write_photos(tmp_path / "photos", 1), unread_seconds=seconds) as service:
        start = time.monotonic()
        heard, whole = read_all(service.url, 0.004)
    assert heard > whole
    assert time.monotonic() - start > seconds, "read too fast to show anything"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 5\r\n\r\n{}",
        HEAD + b"Content-Length: -5\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        HEAD + b"Content-Length: five\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nffffffffff\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_lengths_and_heads_that_lie_are_refused(impatient: Running, request_bytes: bytes) -> None:
    heard = talk(impatient.url, request_bytes)
    assert not heard or heard.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 501")), heard[:200]
    assert impatient.client.get("/healthz").status_code == 200


def test_query_images_are_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setenv("TMPDIR", str(spare))
    with running(write_photos(tmp_path / "photos", 3)) as service:
        before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        noise = Image.frombytes("RGB", (900, 900), random.Random(1).randbytes(900 * 900 * 3))
        large = io.BytesIO()
        noise.save(large, "PNG")
        assert len(large.getvalue()) > 2_000_000
        assert service.client.post("/v1/search", files={"file": large.getvalue()}).status_code == 200
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_memory_is_back_where_it_was_after_all_of_them(tmp_path: Path) -> None:
    from lookalike.collection.collection import Collection

    folder = write_photos(tmp_path / "photos", 3)
    with Collection(folder / ".lookalike", "thumbnail", [folder]) as collection:
        collection.index()
    with command(folder) as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        wait_ready(url)

        def measured() -> int:
            pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")

        def flood() -> None:
            for make, _ in FILES.values():
                assert client.post("/v1/search", files={"file": make()}).status_code < 500
            for make, _ in OTHERS.values():
                client.post("/v1/search", files={"file": make()})
            client.post("/v1/search", files={"file": bytes(21 * 2**20)})

        flood()
        before = measured()
        flood()
        assert measured() - before < 40 * 2**20
        assert images.sniff(client.get("/images/01.jpg").content[:32])
