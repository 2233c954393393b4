"""A URI of PostgreSQL to the address of a collection there and its password, which is neither shown nor stored.

    postgresql://host:5432/db                      the table `images` of the schema `lookalike`
    postgresql://user:password@host/db?table=photos&sslmode=verify-full
    postgresql:///db?host=/run/postgresql          a socket, here or where libpq has it
    postgresql:///db?service=photos                a section of the user's own service file

What is not in the URI comes from where libpq takes it: PGUSER, PGHOST, ~/.pgpass and so on. Only the password of the
environment (PGPASSWORD) goes to no server but the one that the user named: in an option, in PGHOST, or in
LOOKALIKE_POSTGRESQL_SERVER (`host:port`, several by commas). A collection folder names a server too, and may come from
anyone. Entries of ~/.pgpass are for a host each, so they need no such rule.
"""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from lookalike.errors import EngineError
from lookalike.integrations import credentials
from lookalike.integrations.credentials import without_secret

SCHEME = "postgresql"
PORT = 5432
TABLE = "images"
EXAMPLE = "write postgresql://host:5432/database?table=name"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
"""What needs no quotation marks in SQL, and leaves room for suffixes in PostgreSQL's 63 letters."""
OPTIONS = frozenset(
    "sslmode sslrootcert sslcert sslkey sslcrl sslcrldir sslnegotiation ssl_min_protocol_version sslsni "
    "channel_binding require_auth gssencmode krbsrvname target_session_attrs connect_timeout application_name "
    "keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout".split()
)
"""Parameters of libpq that a URI may have, which are stored with it; none of them is secret."""
OURS = ("host", "port", "user", "password", "service", "table")


@dataclass(frozen=True)
class Address:
    """The address of a table of vectors; an empty part is left to libpq. `password` is never printed."""

    name: str
    database: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    service: str = ""
    options: tuple[tuple[str, str], ...] = ()
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The URI without a password, to be stored and logged."""
        is_socket = self.host.startswith("/")
        shown = f"[{self.host}]" if ":" in self.host else self.host
        place = "" if is_socket else shown + (f":{self.port}" if self.host else "")
        more = [("host", self.host)] if is_socket else []
        more += [("port", str(self.port))] if self.port and not place else []
        more += [("service", self.service)] if self.service else []
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in [*more, *self.options])
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        query = f"{query}&table={self.name}" if query else f"table={self.name}"
        return f"{SCHEME}://{user}{place}/{quote(self.database, safe='')}?{query}"

    @property
    def server(self) -> credentials.Server:
        """What the password is for."""
        return SCHEME, self.host, str(self.port or PORT), self.user

    @property
    def secret(self) -> str:
        """The password."""
        return self.password

    def named(self, name: str) -> "Address":
        """The same place under another name."""
        return replace(self, name=name)

    @property
    def is_trusted(self) -> bool:
        """Whether the user of this process named the server, or leaves it to libpq to find one."""
        port = self.port or PORT
        return (
            not self.host
            or any(credentials.is_named((SCHEME, self.host, str(port), user)) for user in (self.user, ""))
            or credentials.is_listed("LOOKALIKE_POSTGRESQL_SERVER", self.host, port, PORT)
            or (self.host == os.environ.get("PGHOST") and str(port) == os.environ.get("PGPORT", str(PORT)))
        )


def parse(uri: str) -> Address:
    """The parts of a URI, with the password that this process was given for it; raises EngineError."""
    try:
        parts = urlsplit(uri)
        port, options = parts.port or 0, dict(parse_qsl(parts.query, keep_blank_values=True))
        port = int(options.pop("port", port))
    except ValueError as error:
        raise _refused(uri, f"not an address ({error})") from error
    if unknown := sorted(set(options) - OPTIONS - set(OURS)):
        raise _refused(uri, f"{unknown[0]} is no option of such an address")
    path = PurePosixPath(unquote(parts.path))
    if parts.scheme not in (SCHEME, "postgres") or parts.fragment or len(path.parts) > 2:
        raise _refused(uri, "not the address of a database")
    name, host = options.pop("table", TABLE), options.pop("host", parts.hostname or "")
    if not _NAME.fullmatch(name) or name == "collections":
        raise _refused(uri, f"a table's name is up to 40 of a-z, 0-9 and _, and not {name!r}")
    if "," in host or (host and options.get("service")):
        raise _refused(uri, "one host, or a service of the user's own")
    if host and not host.startswith("/"):
        port = port or PORT
    address = Address(
        *(name, path.name, host, port, options.pop("user", unquote(parts.username or ""))),
        service=options.pop("service", ""),
        password=options.pop("password", unquote(parts.password or "")),
    )
    address = replace(address, options=tuple(sorted(options.items())))
    return replace(address, password=address.password or credentials.remembered(address.server) or "")


USUAL = {
    **{"application_name": "lookalike", "connect_timeout": "10"},
    # A machine that has gone is noticed after a minute, also while an index is built.
    **{"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"},
}


def _refused(uri: str, why: str) -> EngineError:
    return EngineError(f"{without_secret(uri)}: {why}; {EXAMPLE}")


def parameters(address: Address) -> dict[str, str]:
    """What libpq is given to connect.

    An empty password keeps libpq from taking PGPASSWORD, or that of a service, for a server that the user never named;
    it then looks into ~/.pgpass.
    """
    values = {"dbname": address.database, "host": address.host, "user": address.user, "service": address.service}
    known = {name: value for name, value in values.items() if value} | dict(address.options)
    if address.port or address.host:
        # Not PGPORT, which is for the user's own server.
        known["port"] = str(address.port or PORT)
    if address.password or not address.is_trusted:
        known["password"] = address.password
    if not address.is_trusted:
        known["gssdelegation"] = "0"
    return USUAL | known
