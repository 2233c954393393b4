"""The address of a collection in any engine: to what is stored, and to that of the collection that replaces it."""

from importlib import import_module
from typing import Protocol, Self, cast

from lookalike.errors import EngineError
from lookalike.integrations import credentials
from lookalike.integrations.names import generation

PARSERS = {
    "milvus": "lookalike.integrations.milvus.address:parse",
    "postgresql": "lookalike.integrations.postgres.address:parse",
    "postgres": "lookalike.integrations.postgres.address:parse",
}
"""The scheme of a URI to the function that reads it."""


class Address(Protocol):
    """The address of a server's collection; as text it holds no secret."""

    @property
    def name(self) -> str:
        """The collection's name on the server."""
        ...

    @property
    def server(self) -> credentials.Server:
        """What its secret is for."""
        ...

    @property
    def secret(self) -> str:
        """A password or a token, or nothing."""
        ...

    def named(self, name: str) -> Self:
        """The same place under another name."""
        ...


def parse(uri: str) -> Address:
    """The parts of a URI, with the user's secret for that server where it has none; raises EngineError."""
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme not in PARSERS:
        there = ", ".join(f"{name}://" for name in PARSERS if name != "postgres")
        raise EngineError(f"{credentials.without_secret(uri)}: no such engine; there are {there}")
    module, _, name = PARSERS[scheme].partition(":")
    return cast("Address", getattr(import_module(module), name)(uri))


def stored(uri: str) -> str:
    """A URI that the user gave, without its secret, which is kept for this process alone; raises EngineError."""
    address = parse(uri)
    credentials.name(address.server, address.secret)
    return str(address)


def renamed(uri: str) -> str:
    """The address of the collection that is to replace that of `uri`, on the same server."""
    address = parse(uri)
    stem, number = generation(address.name)
    return str(address.named(f"{stem[:240]}_r{number + 1}"))


def is_same(uri: str, other: str) -> bool:
    """Whether two addresses are of the same collection, before and after it was rebuilt."""
    return _without_generation(uri) == _without_generation(other)


def _without_generation(uri: str) -> str:
    address = parse(uri)
    return str(address.named(generation(address.name)[0]))
