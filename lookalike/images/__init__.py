"""Bytes, paths, folders, archives and URLs to upright pictures and facts about them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.images.decode import load
    from lookalike.images.sources import open_source

__all__ = ["load", "open_source"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the process that decodes hostile bytes needs no archives and no network.
    if name == "load":
        from lookalike.images.decode import load

        return load
    if name == "open_source":
        from lookalike.images.sources import open_source

        return open_source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
