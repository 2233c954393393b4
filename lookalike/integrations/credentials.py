"""Which servers the user of this process named, and the secrets of each: what is stored of an address holds none.

A secret of the environment goes only to a server that the user named, in an option or in an environment variable. A
collection folder names a server too, and may come from anyone.
"""

import os
import re

Server = tuple[str, ...]
"""Whatever tells one server, and one user of it, from another."""

_NAMED: set[Server] = set()
"""Servers that the user of this process named."""
_SECRETS: dict[Server, str] = {}
"""Secrets from URIs of this process; stored URIs have none."""


def name(server: Server, secret: str) -> None:
    """The user named this server, with this secret or without; for the life of this process."""
    _NAMED.add(server)
    if secret:
        _SECRETS[server] = secret


def is_named(server: Server) -> bool:
    """Whether the user of this process named a server."""
    return server in _NAMED


def remembered(server: Server) -> str | None:
    """The secret that a URI of this process had for a server."""
    return _SECRETS.get(server)


def is_listed(variable: str, host: str, port: int, default_port: int) -> bool:
    """Whether an environment variable lists a server: `host:port`, several by commas, the usual port left out."""
    places = {place.strip().lower() for place in os.environ.get(variable, "").split(",")}
    return f"{host}:{port}" in places or (port == default_port and host in places)


def without_secret(uri: str) -> str:
    """A URI to be shown in an error: nothing before an @, and no value of an option that may be secret."""
    return re.sub(r"(?i)(\w*(?:password|secret|key)\w*=)[^&]*", r"\1…", re.sub(r"//[^/@]*@", "//…@", uri))
