"""Bytes, paths, folders, archives and URLs to upright pictures and facts about them."""

from lookalike.images.decode import load
from lookalike.images.sources import open_source

__all__ = ["load", "open_source"]
