"""What a service allows, to whom, and how much; all limits in one place."""

from dataclasses import dataclass, field

from lookalike.images.decode import Limits
from lookalike.utils.cores import cores

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """The settings of a service; the defaults suit one machine that answers strangers."""

    token: str | None = None
    """What every request but those for the page itself has to send; None: no token is needed."""
    hosts: tuple[str, ...] | None = None
    """Names of this host that a request may have in its Host header (against DNS rebinding); None: any."""
    origins: tuple[str, ...] = ()
    """Other origins whose pages may call the API (CORS)."""
    root_path: str = ""
    """Where a proxy mounts the service, such as /photos; the proxy may take it off a request's path or leave it."""
    cookie_path: str | None = None
    """Where the page's cookie is valid, of several collections for all of them; None: below `root_path`."""
    allow_urls: bool = False
    writable: bool = False
    show_places: bool = False
    """Tell where photos were taken, and let filters test it."""

    limits: Limits = field(default_factory=lambda: Limits(pixels=100_000_000, bytes=20 * MIB))
    """Of an uploaded image."""
    files: int = 16
    """Images in one request."""
    json_bytes: int = 4 * MIB
    searches: int = 64
    """In a batch."""
    k: int = 1000
    depth: int = 10_000
    """`offset` + `k`: results are ranked from the top every time."""
    reranked: int = 200
    """Candidates that a request may have re-ranked by their pixels."""
    compared: int = 2500
    """Candidates that a request may have compared with each other: memory grows with their square."""

    idle_seconds: float = 15.0
    """Without a byte of a request's body, before the request is refused."""
    body_seconds: float = 120.0
    """For a whole body: a phone on a slow network sends 20 MB in less."""
    header_seconds: float = 15.0
    unread_seconds: float = 60.0
    """Without anything of an answer being read, before the connection is closed: the system passes data on in large
    steps, each of which takes half a minute over the slow network of a phone."""
    decode_seconds: float = 10.0
    url_seconds: float = 10.0

    buffered_bytes: int = 256 * MIB
    """Of bodies in memory, over all requests."""
    workers: int = field(default_factory=cores)
    """Requests that compute at a time."""
    waiting: int = 128
    """Requests that wait for a worker; the next is refused with 429."""
    connections: int = 2000
    thumbnail_bytes: int = 64 * MIB
    """Of thumbnails in memory."""

    def inner_path(self, path: str) -> str:
        """The path of a request inside the service; empty for the mount point without a slash at its end."""
        is_below = path == self.root_path or path.startswith(f"{self.root_path}/")
        return path.removeprefix(self.root_path) if is_below else path

    def upload_bytes(self) -> int:
        """The most bytes of a body with images."""
        return self.limits.bytes + 256 * 1024
