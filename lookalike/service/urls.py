"""A URL of a request to the bytes behind it, unless it leads into a network that is not public."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from lookalike.errors import ImageError

REDIRECTS = 5
PORTS = (80, 443, 8080, 8443)
"""Ports of web servers; others belong to services that do not serve pictures."""
REDIRECTING = (301, 302, 303, 307, 308)
CHUNK = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not in the tables of every supported version of Python.
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
        "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
    )
]  # fmt: skip

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(text: str) -> bool:
    """Whether an address is on the public internet: not private, loopback, link-local, metadata, shared or reserved.

    An IPv6 address that carries an IPv4 address (mapped, compatible, 6to4, NAT64) is judged by both.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return all(map(_is_public, (address, *_inside(address))))


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped or address in _NAT64):
        # The address inside decides; a scope always names a network of this machine.
        return not address.scope_id
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inside(address: IpAddress) -> list[IpAddress]:
    """The IPv4 addresses that an IPv6 address carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inside: list[IpAddress] = [part for part in (address.ipv4_mapped, address.sixtofour) if part]
    if address in _NAT64 or int(address) >> 32 == 0:
        inside.append(low)
    return inside


@dataclass(frozen=True)
class Fetcher:
    """Fetches images within `most` bytes and `seconds` for all of it, redirects included.

    The name is resolved once, every address is checked, and the connection goes to a checked address: no second
    look-up can lead elsewhere. `resolve`, `allowed` and `ports` are for tests, whose server is on loopback.
    """

    most: int
    seconds: float
    resolve: Resolve = resolve
    allowed: Callable[[str], bool] = is_public
    ports: Sequence[int] = PORTS
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def __call__(self, url: str) -> bytes:
        """The body; raises ImageError, whose message says nothing of what is behind a refused address."""
        deadline = time.monotonic() + self.seconds
        for _ in range(REDIRECTS + 1):
            status, target, body = self._get(url, deadline)
            if status in REDIRECTING and target:
                url = _joined(url, target)
            elif status == 200:
                return body
            else:
                raise ImageError(f"the server answered {status}")
        raise ImageError(f"more than {REDIRECTS} redirects")

    def _get(self, url: str, deadline: float) -> tuple[int, str | None, bytes]:
        parts, host, port = self._parse(url)
        address = self._address(host, port)
        connection = _Pinned(address, host, port, self.context if parts.scheme == "https" else None)
        connection.timeout = _left(deadline)
        # Single bytes now and then renew every timeout of a socket; this timer ends them.
        watch = threading.Timer(_left(deadline), connection.abort)
        watch.daemon = True
        watch.start()
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "lookalike", "Accept": "image/*", "Accept-Encoding": "identity"}
            connection.connect()
            _left(deadline)  # the timer may have fired before there was a socket to close
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = self._body(response, deadline) if response.status == 200 else b""
            _left(deadline)  # an answer that was cut off in its head looks empty
            return response.status, response.getheader("Location"), body
        except ImageError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            late = time.monotonic() >= deadline
            raise ImageError("the server took too long" if late else "cannot be fetched") from error
        finally:
            watch.cancel()
            connection.close()

    def _parse(self, url: str) -> tuple[SplitResult, str, int]:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            host = (parts.hostname or "").rstrip(".")
        except ValueError as error:
            raise ImageError("not a URL") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ImageError("not an http or https URL")
        if parts.username or parts.password:
            raise ImageError("a URL with a user name is not fetched")
        if port not in self.ports:
            raise ImageError(f"port {port} is not fetched from")
        if not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url):
            raise ImageError("the URL has to be percent-encoded")
        if ":" not in host and not _HOST.fullmatch(host):
            raise ImageError("not a host name")
        return parts, host, port

    def _address(self, host: str, port: int) -> str:
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ImageError("the host is not known") from error
        # All must be public: it must not matter which of them a client takes.
        if not addresses or not all(map(self.allowed, addresses)):
            raise ImageError("the address is not a public one")
        return addresses[0]

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        parts, received = [], 0
        while chunk := response.read1(CHUNK):
            received += len(chunk)
            if received > self.most:
                raise ImageError(f"over the limit of {self.most:,} bytes")
            if time.monotonic() >= deadline:
                raise ImageError("the server took too long")
            parts.append(chunk)
        return b"".join(parts)


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise ImageError("not a URL") from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ImageError("the server took too long")
    return left


class _Pinned(http.client.HTTPConnection):
    """A connection to a checked address, with the name of its host in the request and in TLS."""

    def __init__(self, address: str, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._address, self._context = address, context
        self.default_port = 443 if context else 80
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Connect without a look-up; raises OSError where the public address is that of this machine."""
        plain = self._socket = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = plain
        if not ipaddress.ip_address(self._address).is_loopback and plain.getsockname()[0] == plain.getpeername()[0]:
            raise OSError("this machine itself")
        if self._context:
            # Wrapping closes the plain socket: a handshake that is too slow is ended on the wrapped one.
            wrapped = self._context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self._socket = wrapped
            wrapped.do_handshake()

    def abort(self) -> None:
        """End whatever waits on the socket; called in another thread."""
        try:
            # Not `sock`, which is None while a body is read that ends with the connection. The socket is shut down, not
            # its TLS, which the other thread is using.
            if self._socket:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return
