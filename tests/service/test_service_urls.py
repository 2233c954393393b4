import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pytest

from lookalike.errors import ImageError
from lookalike.service import urls
from lookalike.service.urls import Fetcher, is_public
from tests.service.running import jpeg, running, write_photos

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.255 169.254.169.254 169.254.0.1 172.16.0.1
172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.168.0.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe::
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 3fff::1 5f00::1
8.8.8.8%1 localhost 0x7f.1 2130706433 ::8.8.8.8%1
""".split()
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2002:808:808::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_nobodys_business_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_open_internet_are_allowed(address: str) -> None:
    assert is_public(address)


def drip(file: BufferedIOBase, data: bytes) -> None:
    """Twenty bytes a second, as long as somebody takes them."""
    try:
        for byte in data:
            file.write(bytes([byte]))
            file.flush()
            time.sleep(0.05)
    except OSError:
        return


class Pages(http.server.BaseHTTPRequestHandler):
    """A server whose every path does one thing."""

    def do_GET(self) -> None:
        name, _, rest = self.path.lstrip("/").partition("/")
        if name == "go":
            self.send_response(302)
            self.send_header("Location", rest if rest.startswith("http") else f"/{rest}")
            self.end_headers()
        elif name == "loop":
            self.send_response(301)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif name == "slow":
            self.send_response(200)
            self.end_headers()
            drip(self.wfile, b"x" * 100)
        elif name == "dripping-head":
            drip(self.wfile, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100)
        elif name == "dripping-chunk":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            drip(self.wfile, b"0" * 100)
        elif name == "large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(200_000))
        elif name == "host":
            self._answer(self.headers["Host"].encode())
        elif name == "photo":
            self._answer(jpeg(1))
        else:
            self.send_error(404)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def web(secure: tuple[Path, Path] | None = None) -> Iterator[int]:
    """A server of `Pages`, with a certificate and its key over TLS."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*secure)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with web() as number:
        yield number


def fetcher(port: int, **answers: list[str]) -> Fetcher:
    """Resolves names as `answers` says and takes "127.0.0.1" as public, as if the test's server were elsewhere."""

    def resolve(host: str, _: int) -> list[str]:
        return answers.get(host.replace(".", "_"), ["127.0.0.1"])

    return Fetcher(100_000, 1.0, resolve, lambda address: address == "127.0.0.1" or is_public(address), (port,))


def test_a_picture_is_fetched_from_the_address_that_was_checked_under_its_own_name(port: int) -> None:
    fetch = fetcher(port)
    assert fetch(f"http://photos.example:{port}/photo") == jpeg(1)
    assert fetch(f"http://photos.example:{port}/host") == f"photos.example:{port}".encode()
    assert fetch(f"http://photos.example:{port}/go/photo") == jpeg(1)


def test_a_name_with_any_private_address_is_refused(port: int) -> None:
    for addresses in (["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["::1"], []):
        with pytest.raises(ImageError, match="not a public one"):
            fetcher(port, mixed_example=addresses)(f"http://mixed.example:{port}/photo")


def test_every_redirect_is_checked_anew(port: int) -> None:
    fetch = fetcher(port, inside_example=["192.168.1.1"])
    with pytest.raises(ImageError, match="not a public one"):
        fetch(f"http://photos.example:{port}/go/http://inside.example:{port}/photo")
    with pytest.raises(ImageError, match="not an http or https URL"):
        fetch(f"http://photos.example:{port}/go/httpx://a/b")
    with pytest.raises(ImageError, match="not a URL"):
        fetch(f"http://photos.example:{port}/go/http://[")
    with pytest.raises(ImageError, match="port 22 is not fetched from"):
        fetch(f"http://photos.example:{port}/go/http://photos.example:22/")
    with pytest.raises(ImageError, match="more than 5 redirects"):
        fetch(f"http://photos.example:{port}/loop")


def test_a_name_is_looked_up_once_for_each_request_so_it_cannot_change_in_between(port: int) -> None:
    hosts: list[str] = []

    def rebinding(host: str, _: int) -> list[str]:
        hosts.append(host)
        return ["127.0.0.1"] if len(hosts) == 1 else ["10.0.0.1"]

    fetch = Fetcher(100_000, 1.0, rebinding, lambda address: address == "127.0.0.1", (port,))
    assert fetch(f"http://rebind.example:{port}/photo") == jpeg(1)
    assert hosts == ["rebind.example"]


def test_this_machine_itself_is_refused_by_its_public_address_too(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that leads the public address back to the machine: both ends of the connection are the same."""
    connect = socket.create_connection

    def led_back(address: tuple[str, int], timeout: float) -> socket.socket:
        assert address == ("93.184.216.34", port)
        return connect(("127.0.0.1", port), timeout)

    monkeypatch.setattr(socket, "create_connection", led_back)
    with pytest.raises(ImageError, match=r"^cannot be fetched$") as refused:
        fetcher(port, own_example=["93.184.216.34"])(f"http://own.example:{port}/photo")
    assert str(refused.value.__cause__) == "this machine itself"


@pytest.mark.parametrize("path", ["slow", "dripping-head", "dripping-chunk"])
def test_a_server_that_drips_is_left_after_the_time_allowed(port: int, path: str) -> None:
    start = time.monotonic()
    with pytest.raises(ImageError, match="took too long"):
        fetcher(port)(f"http://photos.example:{port}/{path}")
    assert time.monotonic() - start < 3


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of photos.example, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example"]
    subprocess.run([openssl, *request, *name, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def secure_fetcher(port: int, certificate: Path) -> Fetcher:
    return replace(fetcher(port), context=ssl.create_default_context(cafile=certificate))


def test_a_picture_is_fetched_over_tls_under_the_name_that_was_asked_for(secure: tuple[Path, Path]) -> None:
    with web(secure) as port:
        fetch = secure_fetcher(port, secure[0])
        assert fetch(f"https://photos.example:{port}/photo") == jpeg(1)
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetch(f"https://other.example:{port}/photo")


@pytest.mark.parametrize("path", ["slow", "dripping-head", "dripping-chunk"])
def test_so_it_is_over_tls(secure: tuple[Path, Path], path: str) -> None:
    with web(secure) as port:
        start = time.monotonic()
        with pytest.raises(ImageError, match="took too long"):
            secure_fetcher(port, secure[0])(f"https://photos.example:{port}/{path}")
        assert time.monotonic() - start < 3


def test_a_handshake_that_ends_too_late_is_not_followed_by_a_request(
    secure: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def from_far_away(*arguments: Any) -> socket.socket:
        plug = connect(*arguments)
        time.sleep(0.5)
        return plug

    monkeypatch.setattr(socket, "create_connection", from_far_away)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*secure)

    def late(listening: socket.socket) -> None:
        with listening.accept()[0] as plain:
            time.sleep(1.2)
            try:
                with context.wrap_socket(plain, server_side=True) as shaken:
                    drip(shaken.makefile("wb"), b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        serving = threading.Thread(target=late, args=(listening,))
        serving.start()
        start = time.monotonic()
        with pytest.raises(ImageError, match="took too long"):
            secure_fetcher(port, secure[0])(f"https://photos.example:{port}/photo")
        assert time.monotonic() - start < 2
        serving.join()


def test_what_is_too_large_or_missing_is_refused(port: int) -> None:
    with pytest.raises(ImageError, match="over the limit of 100,000 bytes"):
        fetcher(port)(f"http://photos.example:{port}/large")
    with pytest.raises(ImageError, match="the server answered 404"):
        fetcher(port)(f"http://photos.example:{port}/none")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://a.example/x", "gopher://a.example", "//a.example/x", "http://", "http:///x",
        "http://user:secret@a.example/", "http://a.example:22/", "http://a.example:0/", "http://a.example:99999/",
        "http://a b.example/", "http://a.example/\r\nX: y", "http://[::1", "http://exa mple.org", "http://ä.example/",
        "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0/", "http://127.1/", "http://0x7f000001/",
        "http://2130706433/", "http://localhost/", "http://169.254.169.254/latest/meta-data/", "https://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_urls_that_lead_inside_or_nowhere_are_refused(url: str) -> None:
    with pytest.raises(ImageError):
        Fetcher(1000, 2.0, urls.resolve)(url)


@pytest.mark.parametrize(
    ("place", "path", "reason"),
    [
        ("user:secret@photos.example", "photo", "a URL with a user name is not fetched"),
        ("user@photos.example", "photo", "a URL with a user name is not fetched"),
        ("photos.example", "a photo", "the URL has to be percent-encoded"),
        ("photos.example", "ph\xf6to", "the URL has to be percent-encoded"),
        ("photos.example", "photo\x7f", "the URL has to be percent-encoded"),
    ],
)
def test_a_url_that_is_not_plain_is_refused_before_anything_is_looked_up(
    port: int, place: str, path: str, reason: str
) -> None:
    def resolve(host: str, _: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(ImageError, match=f"^{reason}$"):
        Fetcher(1000, 1.0, resolve, ports=(port,))(f"http://{place}:{port}/{path}")


def test_a_search_with_a_url_is_one_with_what_lies_behind_it(tmp_path: Path, port: int) -> None:
    with running(write_photos(tmp_path / "photos"), allow_urls=True) as service:
        service.served.fetch = fetcher(port, inside_example=["10.0.0.1"])
        answer = service.search(query={"url": f"http://photos.example:{port}/photo"}, k=1)
        assert answer.json()["results"][0]["key"] == "01.jpg"
        refused = service.search(query={"url": f"http://inside.example:{port}/photo"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_url")
        assert "10.0.0.1" not in refused.text
        seen = service.client.post(
            "/v1/embed", json={"query": {"url": f"http://photos.example:{port}/photo"}, "preview": True}
        ).json()
        assert seen["preview"].startswith("data:image/jpeg;base64,")
        no_image = service.search(query={"url": f"http://photos.example:{port}/host"})
        assert (no_image.status_code, no_image.json()["error"]["code"]) == (415, "not_an_image")


def test_what_is_fetched_is_counted_as_if_it_had_been_uploaded(tmp_path: Path, port: int) -> None:
    size = len(jpeg(1))
    with running(write_photos(tmp_path / "photos"), allow_urls=True, buffered_bytes=3 * size, files=4) as service:
        service.served.fetch = fetcher(port)
        photo = {"url": f"http://photos.example:{port}/photo"}
        assert service.search(query=photo, negatives=[{"vector": [1.0] * 192}]).status_code == 200
        refused = service.search(query=[photo, photo, photo])
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
        assert service.served.buffered.in_use == 0
        many = service.search(query=[photo] * 3, negatives=[photo] * 2)
        assert (many.status_code, many.json()["error"]["code"]) == (413, "too_many")
        batch = service.client.post("/v1/search/batch", json={"searches": [{"query": photo}] * 5})
        assert (batch.status_code, batch.json()["error"]["code"]) == (413, "too_many")
