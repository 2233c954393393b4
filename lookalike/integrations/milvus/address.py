"""A URI to the address and credentials of a search server; secrets are kept apart from what is shown and stored.

    milvus://host:19530/photos                   a server or a cluster's proxy
    milvus://user:password@host/photos?db=prod   another database of it
    milvus+tls://host:443/photos                 over TLS
    milvus:///home/me/try.db/photos              Milvus Lite: a file, the collection's name after it

LOOKALIKE_MILVUS_TOKEN (`user:password` or an API key) is used for a URI without credentials, but only for a server that
the user named: in an option, or in LOOKALIKE_MILVUS_SERVER (`host:port`, several by commas). A collection folder names
a server too, and may come from anyone. LOOKALIKE_MILVUS_CA names a certificate to trust, LOOKALIKE_MILVUS_CERT and
LOOKALIKE_MILVUS_KEY the client's own.
"""

import os
import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from lookalike.errors import EngineError

SCHEME = "milvus"
PORT = 19530
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
EXAMPLE = "write milvus://host:19530/name, or milvus:///folder/file.db/name for Milvus Lite"


@dataclass(frozen=True)
class Address:
    """The address of a server's collection; `file` is empty except for Milvus Lite. `token` is never printed."""

    engine: str
    name: str
    host: str = ""
    port: int = PORT
    tls: bool = False
    database: str = ""
    file: str = ""
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The URI without credentials, to be stored and logged."""
        scheme = f"{self.engine}+tls" if self.tls else self.engine
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = f"{self.file}/{self.name}" if self.file else f"{host}:{self.port}/{self.name}"
        return f"{scheme}://{place}{f'?db={self.database}' if self.database else ''}"


_NAMED: set[tuple[str, str, int]] = set()
"""Servers that the user of this process named, by engine, host and port."""
_TOKENS: dict[tuple[str, str, int], str] = {}
"""Credentials from URIs of this process, by engine, host and port; stored URIs have none."""


def remember(address: Address) -> None:
    """Keep the credentials of a server for the life of this process."""
    if address.token:
        _TOKENS[address.engine, address.host, address.port] = address.token


def stored(uri: str) -> str:
    """A URI that the user gave, without its credentials, which are kept for this process alone; raises EngineError."""
    address = parse(uri)
    _NAMED.add((address.engine, address.host, address.port))
    remember(address)
    return str(address)


def renamed(uri: str) -> str:
    """The address of the collection that is to replace that of `uri`, on the same server."""
    address = parse(uri)
    stem, number = _generation(address.name)
    return str(replace(address, name=f"{stem[:240]}_r{number + 1}"))


def is_same(uri: str, other: str) -> bool:
    """Whether two addresses are of the same collection, before and after it was rebuilt."""
    return _without_generation(parse(uri)) == _without_generation(parse(other))


def _without_generation(address: Address) -> Address:
    return replace(address, name=_generation(address.name)[0], token="")


def _generation(name: str) -> tuple[str, int]:
    """`photos_r2` as (photos, 2), and `photos` as (photos, 1)."""
    match = re.fullmatch(r"(.*)_r(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 1)


def parse(uri: str) -> Address:
    """The parts of a URI, with the user's token for that server where it has none; raises EngineError."""
    try:
        parts = urlsplit(uri)
        port = parts.port or PORT
    except ValueError as error:
        raise EngineError(f"{_without_secret(uri)}: not an address ({error}); {EXAMPLE}") from error
    engine, plus, security = parts.scheme.partition("+")
    options = parse_qs(parts.query, keep_blank_values=True)
    if not engine or (plus and security != "tls") or set(options) - {"db"} or parts.fragment:
        raise EngineError(f"{_without_secret(uri)}: not the address of an engine; {EXAMPLE}")
    path = PurePosixPath(unquote(parts.path))
    if not _NAME.fullmatch(path.name) or (parts.hostname and len(path.parts) != 2):
        raise EngineError(f"{_without_secret(uri)}: a collection's name is letters, digits and _; {EXAMPLE}")
    database = options.get("db", [""])[0]
    if not parts.hostname:
        file = str(path.parent)
        if not file.endswith(".db") or plus or database:
            raise EngineError(f"{uri}: names no host and no .db file; {EXAMPLE}")
        return Address(engine, path.name, file=file)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    token = f"{user}:{password}" if password else user
    token = token or _token(engine, parts.hostname, port)
    return Address(engine, path.name, parts.hostname, port, bool(plus), database, token=token)


def _token(engine: str, host: str, port: int) -> str:
    """The token for a server: of a URI of this process, or of the environment where the user named that server."""
    server, prefix = (engine, host, port), f"LOOKALIKE_{engine.upper()}"
    if server in _TOKENS:
        return _TOKENS[server]
    named = {place.strip().lower() for place in os.environ.get(f"{prefix}_SERVER", "").split(",")}
    is_named = server in _NAMED or f"{host}:{port}" in named or (port == PORT and host in named)
    return os.environ.get(f"{prefix}_TOKEN", "") if is_named else ""


def is_private(address: Address) -> bool:
    """Whether what is sent to a server can be read on the way to it by nobody: TLS, or this very machine."""
    if address.tls or address.file or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def _without_secret(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)
