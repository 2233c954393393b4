"""A URI to where a search server is and how to get in; secrets are taken apart from what is shown and stored.

    milvus://host:19530/photos                   a server or a cluster's proxy
    milvus://user:password@host/photos?db=prod   another database of it
    milvus+tls://host:443/photos                 over TLS
    milvus:///home/me/try.db/photos              Milvus Lite: a file, the collection's name after it

LOOKALIKE_MILVUS_TOKEN (`user:password` or an API key) stands for what the URI does not say; LOOKALIKE_MILVUS_CA names a
certificate to trust, LOOKALIKE_MILVUS_CERT and LOOKALIKE_MILVUS_KEY the client's own.
"""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from lookalike.errors import EngineError

SCHEME = "milvus"
PORT = 19530
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
EXAMPLE = "write milvus://host:19530/name, or milvus:///folder/file.db/name for Milvus Lite"


@dataclass(frozen=True)
class Address:
    """Where a collection of a server is; `file` is Milvus Lite's and empty otherwise. `token` is never shown."""

    engine: str
    name: str
    host: str = ""
    port: int = PORT
    tls: bool = False
    database: str = ""
    file: str = ""
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The URI without what must not be stored or logged."""
        scheme = f"{self.engine}+tls" if self.tls else self.engine
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = f"{self.file}/{self.name}" if self.file else f"{host}:{self.port}/{self.name}"
        return f"{scheme}://{place}{f'?db={self.database}' if self.database else ''}"


_TOKENS: dict[tuple[str, str, int], str] = {}
"""Of this process: what a URI on the command line said, after the stored URI no longer does."""


def remember(address: Address) -> None:
    """Keep what gives entry to a server while this process lives."""
    if address.token:
        _TOKENS[address.engine, address.host, address.port] = address.token


def stored(uri: str) -> str:
    """A URI as it may be written down; what gives entry is kept for this process alone. Raises EngineError."""
    address = parse(uri)
    remember(address)
    return str(address)


def renamed(uri: str) -> str:
    """The address of a collection beside that of `uri`, for what is to take its place."""
    address = parse(uri)
    stem, number = _generation(address.name)
    return str(replace(address, name=f"{stem[:240]}_r{number + 1}"))


def is_same(uri: str, other: str) -> bool:
    """Whether two addresses are of one collection, before and after it was rebuilt."""
    one, two = parse(uri), parse(other)
    return replace(one, name=_generation(one.name)[0], token="") == replace(
        two, name=_generation(two.name)[0], token=""
    )


def _generation(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*)_r(\d+)", name)
    return (found[1], int(found[2])) if found else (name, 1)


def parse(uri: str) -> Address:
    """The parts of a URI, its token from the environment where it has none; raises EngineError."""
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
    token = token or _TOKENS.get((engine, parts.hostname, port), "")
    return Address(
        engine, path.name, parts.hostname, port, bool(plus), database,
        token=token or os.environ.get(f"LOOKALIKE_{engine.upper()}_TOKEN", ""),
    )  # fmt: skip


def _without_secret(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)
