"""Vectors to their nearest neighbours: exactly, through a FAISS index, and all of them against one another."""

from lookalike.index.ann import open_candidates
from lookalike.index.exact import ExactIndex

__all__ = ["ExactIndex", "open_candidates"]
