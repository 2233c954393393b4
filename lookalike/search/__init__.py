"""A question to a ranking: query, options, gallery, candidates, fusion and re-ranking."""

from lookalike.search.gallery import StoredGallery
from lookalike.search.hybrid import answer
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query

__all__ = ["Query", "SearchOptions", "StoredGallery", "answer"]
