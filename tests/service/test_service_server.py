"""The command, its end, other processes that write, and images that are added and removed."""

import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from serving import command, wait_ready

from lookalike.collection.collection import Collection
from lookalike.images.sources import Folder
from lookalike.service.writing import safe_name
from lookalike.storage.manifest import read_header, write_header
from tests.cli.running import Run, status_of
from tests.service.running import Running, jpeg, running, write_photos
from tests.support.pictures import PixelEncoder, picture


def indexed(folder: Path) -> Path:
    with Collection(folder / ".lookalike", "thumbnail", [folder]) as collection:
        collection.index()
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """`lookalike serve` in this process, for where it fails before it serves."""

    def call(*arguments: str) -> tuple[int, str, str]:
        return status_of("serve", *arguments), *capfd.readouterr()

    return call


def test_what_cannot_be_served_is_one_line(run: Run, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 2)
    status, output, errors = run(str(folder))
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "has not been indexed" in errors
    indexed(folder)
    for host in ("0.0.0.0", "::"):
        line = f"lookalike: error: --host {host} lets other machines in; give them a --token (or LOOKALIKE_TOKEN)\n"
        assert run(str(folder), "--host", host) == (1, "", line)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output, errors = run(str(folder), "--port", str(taken.getsockname()[1]))
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "address already in use" in errors


def test_weights_that_are_missing_end_it_with_a_line(run: Run, tmp_path: Path) -> None:
    folder = indexed(write_photos(tmp_path / "photos", 2))
    place = folder / ".lookalike"
    write_header(place, replace(read_header(place), encoder="/no/such/encoder"))
    status, _, errors = run(str(folder), "--port", "0")
    assert (status, errors.count("\n")) == (1, 1)
    assert errors.startswith("lookalike: error: /no/such/encoder")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("the graph\nis damaged")])
def test_whatever_keeps_it_from_loading_ends_it_with_a_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    folder = indexed(write_photos(tmp_path / "photos", 2))

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(Collection, "through", fail)
    status, _, errors = run(str(folder), "--port", "0")
    assert (status, errors.count("\n")) == (1, 1)
    assert errors.startswith("lookalike: error: the collection cannot be loaded (")


def test_a_collection_without_images_is_ready_too(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with running(tmp_path / "photos") as service:
        assert service.client.get("/v1/items").json() == {"items": []}


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_sigterm_lets_what_was_begun_end_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    folder = indexed(write_photos(tmp_path / "photos", 3))
    with command(folder, "--drain-seconds", "2") as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        wait_ready(url)
        answers: list[int] = []
        large = io.BytesIO()
        picture(1, (5000, 4000)).save(large, "PNG", compress_level=1)

        def upload() -> None:
            answers.append(httpx.post(f"{url}/v1/search", files={"file": large.getvalue()}, timeout=60).status_code)

        slow = threading.Thread(target=upload)
        slow.start()
        until(lambda: "lookalike_pending_requests 0" not in client.get("/metrics").text)
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code == 503)
        not_ready = client.get("/readyz")
        assert (not_ready.status_code, not_ready.json()["error"]["code"]) == (503, "draining")
        assert "retry-after" in not_ready.headers
        still = client.get("/v1/collection")
        assert (still.status_code, still.headers["connection"]) == (200, "close")
        slow.join()
        assert answers == [200]
        process.wait(timeout=30)
        with pytest.raises(httpx.TransportError):
            client.get("/healthz")


def test_a_search_answers_while_another_process_indexes_and_then_finds_what_is_new(tmp_path: Path) -> None:
    folder = indexed(write_photos(tmp_path / "photos", 30))
    with command(folder) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        wait_ready(url)
        new = jpeg(500, (200, 150))
        search = {"files": {"file": new}, "data": {"k": "1"}}
        assert client.post("/v1/search", **search).json()["results"][0]["score"] < 0.999  # type: ignore[arg-type]
        for number in range(200):
            (folder / f"new {number}.jpg").write_bytes(jpeg(1000 + number))
        (folder / "the new one.jpg").write_bytes(new)
        other = subprocess.Popen([sys.executable, "-m", "lookalike", "index", str(folder)], stdout=subprocess.DEVNULL)
        counts, answers = set(), 0
        while other.poll() is None:
            counts.add(client.get("/v1/collection").json()["images"])
            answer = client.post("/v1/search", **search)  # type: ignore[arg-type]
            assert answer.status_code == 200
            answers += 1
        assert other.returncode == 0
        assert answers > 3
        assert min(counts) == 30
        assert client.get("/v1/collection").json()["images"] == 231
        first = client.post("/v1/search", **search).json()["results"][0]  # type: ignore[arg-type]
        assert (first["key"], first["score"]) == ("the new one.jpg", 1.0)


@pytest.fixture
def writable(tmp_path: Path) -> "object":
    with running(write_photos(tmp_path / "photos"), writable=True) as started:
        yield started


def test_an_image_is_added_found_and_taken_out_again(writable: Running) -> None:
    data = jpeg(77)
    answer = writable.client.post("/v1/items", files={"file": ("../../My Café ünd so.jpeg", data)})
    (item,) = answer.json()["items"]
    assert item["key"].startswith("uploads/my-cafe-und-so-")
    stored = writable.folder / item["key"]
    assert stored.read_bytes() == data
    assert (
        writable.client.post("/v1/search", files={"file": data}, data={"k": "1"}).json()["results"][0]["id"]
        == item["id"]
    )
    again = writable.client.post("/v1/items", files={"file": ("other.jpg", data)}).json()["items"]
    assert [one["id"] for one in again] == [item["id"]]
    assert len(list(stored.parent.iterdir())) == 1
    assert writable.client.get("/v1/collection").json()["images"] == 13
    removed = writable.client.delete(f"/v1/items/{item['id']}").json()
    assert removed == {"id": item["id"], "key": item["key"]}
    assert writable.client.get(f"/v1/items/{item['id']}").status_code == 404
    assert writable.client.delete(f"/v1/items/{item['id']}").status_code == 404
    assert writable.client.get("/v1/collection").json()["images"] == 12
    assert stored.exists()


def test_an_image_that_was_taken_out_comes_back_when_it_is_uploaded_again(writable: Running) -> None:
    upload = {"file": ("photo.jpg", jpeg(77))}
    (item,) = writable.client.post("/v1/items", files=upload).json()["items"]
    writable.client.delete(f"/v1/items/{item['id']}")
    answer = writable.client.post("/v1/items", files=upload)
    assert (answer.status_code, answer.json()["items"][0]["id"]) == (200, item["id"])
    assert writable.client.get("/v1/collection").json()["images"] == 13


def test_an_upload_looks_at_no_other_file_of_the_sources(writable: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    (writable.folder / "broken.jpg").write_bytes(b"not an image")
    picture(80).save(writable.folder / "trip" / "nobody indexed it.png")
    (writable.folder / "01.jpg").unlink()
    walked: list[Path] = []
    walk = Folder._walk

    def walking(self: Folder, folder: Path, prefix: str, visited: set[tuple[int, int]], sniff: bool) -> Iterator[Any]:
        walked.append(folder)
        return walk(self, folder, prefix, visited, sniff)

    monkeypatch.setattr(Folder, "_walk", walking)
    sent = [("file", ("one.jpg", jpeg(81))), ("file", ("two.jpg", jpeg(82)))]
    answer = writable.client.post("/v1/items", files=sent)
    assert [item["key"][:11] for item in answer.json()["items"]] == ["uploads/one", "uploads/two"]
    assert walked == []
    with Collection(writable.folder / ".lookalike", PixelEncoder()) as collection:
        assert len(collection) == 14
        assert collection.skipped() == []
        # What is left is for the next run over all.
        report = collection.index()
        assert (report.added, report.removed, report.skipped) == (1, 1, 1)


def test_an_upload_comes_into_every_vector_set(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 3)
    with Collection(folder / ".lookalike", PixelEncoder(), [folder]) as collection:
        collection.index()
        collection.add_set("thumbnail")
        with running(folder, writable=True) as service:
            (item,) = service.client.post("/v1/items", files={"file": jpeg(77)}).json()["items"]
        assert {name: vector_set.keys()[-1] for name, vector_set in collection.sets.items()} == {
            "pixels": item["key"],
            "thumbnail": item["key"],
        }


def test_an_upload_comes_into_a_folder_that_is_called_by_a_link(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with running(tmp_path / "link", writable=True) as service:
        answer = service.client.post("/v1/items", files={"file": ("new.jpg", jpeg(77))})
        assert answer.status_code == 200
        assert service.client.get("/v1/collection").json()["images"] == 4


def test_what_cannot_be_used_is_not_stored(writable: Running) -> None:
    before = sorted(writable.folder.rglob("*.*"))
    for data, status in ((b"not an image", 415), (jpeg(1)[:300], 422)):
        assert writable.client.post("/v1/items", files={"file": data}).status_code == status
    assert writable.client.post("/v1/items", data={"file": "text"}, files={"other": b"x"}).status_code == 422
    mixed = [("file", jpeg(60)), ("file", b"not an image")]
    assert writable.client.post("/v1/items", files=mixed).status_code == 415
    with Collection(writable.folder / ".lookalike", PixelEncoder()) as other, other.store.writing():
        locked = writable.client.post("/v1/items", files={"file": jpeg(61)})
        assert (locked.status_code, locked.json()["error"]["code"]) == (503, "locked")
        assert "retry-after" in locked.headers
    assert sorted(path for path in writable.folder.rglob("*.*") if ".lookalike" not in path.parts) == [
        path for path in before if ".lookalike" not in path.parts
    ]


@pytest.mark.parametrize(
    ("uploaded", "name"),
    [
        ("photo.jpg", "photo-0123456789ab.jpg"), ("../../etc/passwd", "image-0123456789ab.jpg"),
        ("a/b\\c d.png", "c-d-0123456789ab.jpg"), ("", "image-0123456789ab.jpg"), (".hidden", "image-0123456789ab.jpg"),
        ("x" * 500 + ".jpg", "x" * 60 + "-0123456789ab.jpg"), ("\x00\n\u202e日本.jpg", "image-0123456789ab.jpg"),
        ("CON.jpg", "con-0123456789ab.jpg"), ("-rf.jpg", "rf-0123456789ab.jpg"),
    ],
)  # fmt: skip
def test_stored_names_are_plain(uploaded: str, name: str) -> None:
    assert safe_name(uploaded, "0123456789abcdef", ".jpg") == name


def head_answered(url: str, length: int) -> int:
    """The status of an upload whose head alone is sent, and whether the connection can be used after its body is."""
    place = urlsplit(url)
    where = place.hostname or "", place.port or 0
    with socket.create_connection(where, 30) as plug, plug.makefile("rb") as heard:
        host = f"Host: {place.netloc}\r\n"
        kind = "Content-Type: multipart/form-data; boundary=x\r\n"
        plug.sendall(f"POST /v1/search HTTP/1.1\r\n{host}{kind}Content-Length: {length}\r\n\r\n".encode())
        status = int(heard.readline().split()[1])
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(heard.readline, b"\r\n"))
        heard.read(int(headers["content-length"]))
        plug.sendall(bytes(length))
        plug.sendall(f"GET /healthz HTTP/1.1\r\n{host}\r\n".encode())
        assert heard.readline().split()[1] == b"200"
        return status


def test_too_many_at_once_are_told_to_come_back(tmp_path: Path) -> None:
    encoder, gate = PixelEncoder(), threading.Event()
    plain = encoder.encode_batch
    with running(write_photos(tmp_path / "photos", 3), encoder, workers=1, waiting=2) as service:
        service.batcher._encode = lambda arrays: (gate.wait(90), plain(arrays))[1]
        statuses: list[int] = []
        retry: list[str] = []

        def ask(number: int) -> None:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                answer = client.post("/v1/search", files={"file": jpeg(number, (97, 65))})
                statuses.append(answer.status_code)
                retry.extend(value for key, value in answer.headers.items() if key == "retry-after")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        until(lambda: statuses.count(429) == 30 - service.served.work._most)
        assert head_answered(service.url, 1 << 20) == 429
        assert service.client.get("/healthz").status_code == 200
        gate.set()
        for thread in threads:
            thread.join()
        assert statuses.count(200) == service.served.work._most == 19
        assert statuses.count(429) == 11
        assert len(retry) == 11
        assert all(1 <= int(value) <= 30 for value in retry)


def is_dropped(plug: socket.socket) -> bool:
    """Whether the other side closed a connection over which nothing was sent."""
    plug.settimeout(0.1)
    try:
        return plug.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_connections_beyond_the_most_are_dropped_and_the_others_served(tmp_path: Path) -> None:
    with running(write_photos(tmp_path / "photos", 1), connections=4) as service, ExitStack() as stack:
        place = urlsplit(service.url)
        plugs = [stack.enter_context(socket.create_connection((place.hostname, place.port or 0), 30)) for _ in range(8)]
        until(lambda: sum(map(is_dropped, plugs)) >= 4, 10)  # idle ones are given up after 15 seconds
        left = [plug for plug in plugs if not is_dropped(plug)]
        assert left, "those that came first"
        left[0].sendall(f"GET /healthz HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        left[0].settimeout(30)
        assert left[0].recv(15) == b"HTTP/1.1 200 OK"


def test_a_number_that_is_slow_to_come_keeps_nobody_waiting(tmp_path: Path) -> None:
    with running(write_photos(tmp_path / "photos", 1)) as service:
        scraped, gate = threading.Event(), threading.Event()

        def slow() -> float:
            scraped.set()
            gate.wait(30)
            return 7

        service.served.metrics.gauge("lookalike_slow", "Of a server that is away.", slow)
        texts: list[str] = []
        scraping = threading.Thread(target=lambda: texts.append(httpx.get(f"{service.url}/metrics", timeout=60).text))
        scraping.start()
        assert scraped.wait(30)
        start = time.monotonic()
        assert service.client.get("/healthz").status_code == 200
        assert time.monotonic() - start < 15
        gate.set()
        scraping.join()
        assert "lookalike_slow 7" in texts[0]


def test_one_bad_array_does_not_spoil_the_batch_of_the_others(tmp_path: Path) -> None:
    import numpy as np

    from lookalike.service.batching import Batcher, Slots

    def encode(arrays: "object") -> "object":
        rows = np.stack(arrays)  # type: ignore[call-overload]
        if not np.isfinite(rows).all():
            raise ValueError("not finite")
        return rows

    sizes: list[int] = []
    batcher = Batcher(encode, Slots(2), 8, sizes.append)  # type: ignore[arg-type]
    results: dict[int, object] = {}

    def hand_in(number: int) -> None:
        try:
            results[number] = float(batcher.encode_batch([np.full(2, np.nan if number == 3 else number)])[0, 0])
        except ValueError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert results == {**{number: float(number) for number in range(8)}, 3: "not finite"}
    assert sum(sizes) == 8
