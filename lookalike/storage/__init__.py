"""A collection on disk: catalog, vectors and manifest, kept in step, with filters and metadata."""

from lookalike.storage.store import Store

__all__ = ["Store"]
