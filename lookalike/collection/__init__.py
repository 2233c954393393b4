"""What a user holds: a collection that is asked, written to, and kept in step with its folders."""

from lookalike.collection.collection import Collection, open

__all__ = ["Collection", "open"]
