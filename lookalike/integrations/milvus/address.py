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
from lookalike.integrations import credentials
from lookalike.integrations.credentials import without_secret

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

    @property
    def server(self) -> credentials.Server:
        """What the token is for."""
        return self.engine, self.host, str(self.port)

    @property
    def secret(self) -> str:
        """The token."""
        return self.token

    def named(self, name: str) -> "Address":
        """The same place under another name."""
        return replace(self, name=name)


def parse(uri: str) -> Address:
    """The parts of a URI, with the user's token for that server where it has none; raises EngineError."""
    try:
        parts = urlsplit(uri)
        port = parts.port or PORT
    except ValueError as error:
        raise EngineError(f"{without_secret(uri)}: not an address ({error}); {EXAMPLE}") from error
    engine, plus, security = parts.scheme.partition("+")
    options = parse_qs(parts.query, keep_blank_values=True)
    if not engine or (plus and security != "tls") or set(options) - {"db"} or parts.fragment:
        raise EngineError(f"{without_secret(uri)}: not the address of an engine; {EXAMPLE}")
    path = PurePosixPath(unquote(parts.path))
    if not _NAME.fullmatch(path.name) or (parts.hostname and len(path.parts) != 2):
        raise EngineError(f"{without_secret(uri)}: a collection's name is letters, digits and _; {EXAMPLE}")
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
    server, prefix = (engine, host, str(port)), f"LOOKALIKE_{engine.upper()}"
    if (token := credentials.remembered(server)) is not None:
        return token
    is_named = credentials.is_named(server) or credentials.is_listed(f"{prefix}_SERVER", host, port, PORT)
    return os.environ.get(f"{prefix}_TOKEN", "") if is_named else ""


def is_private(address: Address) -> bool:
    """Whether what is sent to a server can be read on the way to it by nobody: TLS, or this very machine."""
    if address.tls or address.file or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False
