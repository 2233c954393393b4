"""What a service allows, to whom, and how much of it; every limit in one place."""

from dataclasses import dataclass, field

from lookalike.images.decode import Limits
from lookalike.utils.cores import cores

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """The defaults suit one machine that answers people it may not know."""

    token: str | None = None
    """What every request but those for the page itself has to show; None: nobody is asked."""
    hosts: tuple[str, ...] | None = None
    """Names that a request may call this host by (against DNS rebinding); None: any."""
    origins: tuple[str, ...] = ()
    """Other origins whose pages may call the API (CORS)."""
    allow_urls: bool = False
    writable: bool = False

    limits: Limits = field(default_factory=lambda: Limits(pixels=100_000_000, bytes=20 * MIB))
    """Of one uploaded image."""
    files: int = 16
    """Images in one request."""
    json_bytes: int = 4 * MIB
    searches: int = 64
    """In one batch."""
    k: int = 1000
    depth: int = 10_000
    """`offset` + `k`: results are ranked from the top every time."""
    reranked: int = 200
    """The most candidates that a request may have re-ranked by their pixels."""
    compared: int = 2500
    """The most candidates that a request may have compared with one another: memory grows with their square."""

    idle_seconds: float = 15.0
    """Without a byte of a request's body, before it is given up."""
    body_seconds: float = 120.0
    """For a whole body: a phone on a slow network sends 20 MB in less."""
    header_seconds: float = 15.0
    unread_seconds: float = 60.0
    """Without anything of an answer being read, before it is given up: the system hands on what waits in large steps,
    which a phone on a slow network takes half a minute for."""
    decode_seconds: float = 10.0
    url_seconds: float = 10.0

    buffered_bytes: int = 256 * MIB
    """Of bodies that are being received or worked on, over all requests."""
    workers: int = field(default_factory=cores)
    """Requests that compute at one time."""
    waiting: int = 128
    """Requests that wait for a worker; the next is told to come back later."""
    connections: int = 2000
    thumbnail_bytes: int = 64 * MIB
    """Of thumbnails kept in memory."""

    def upload_bytes(self) -> int:
        """The most that the body of one request with images may have."""
        return self.limits.bytes + 256 * 1024
