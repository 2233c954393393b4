"""The arguments of each tool as pydantic models: the source of the schemas that an assistant reads."""

from typing import Annotated

from pydantic import Field, model_validator

from lookalike.analysis.duplicates import Level
from lookalike.service.models import DEFAULTS, ById, Options, Region, Strict

LONGEST_PATH = 4096
Few = Annotated[int, Field(ge=0, le=24, description="How many of the results come with a small picture.")]
PICTURES = 6
"""As many as `Few` gives where nothing is said."""


class ByKey(Strict):
    """An image of the collection by its key, as results have it."""

    key: Annotated[str, Field(min_length=1, max_length=8192)]


class ByPath(Strict):
    """An image file in one of the folders that `collections` lists; no other file is read."""

    path: Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]


Indexed = ByKey | ById
Reference = ByKey | ByPath | ById


class OfCollection(Strict):
    """What every tool takes."""

    collection: (
        Annotated[str, Field(min_length=1, max_length=255, description="Its name; needed where there are several.")]
        | None
    ) = None


class CollectionsInput(Strict):
    """Nothing."""


class SearchInput(Options, OfCollection):
    """By images, by words, or by both."""

    query: Reference | Annotated[list[Reference], Field(min_length=1, max_length=16, fail_fast=True)] | None = None
    negatives: Annotated[list[Reference], Field(max_length=16, fail_fast=True, default_factory=list)]
    thumbnails: Few = PICTURES

    @model_validator(mode="after")
    def _asks_for_something(self) -> "SearchInput":
        if self.query is None and self.text is None:
            raise ValueError("give a query (a key, a path or an id) or a text")
        return self

    def queries(self) -> list[Reference]:
        """`query` as a list."""
        if self.query is None:
            return []
        return self.query if isinstance(self.query, list) else [self.query]


class SimilarInput(OfCollection):
    """An image of the collection, and how many others."""

    image: Indexed
    k: Annotated[int, Field(ge=1, le=1000, description="How many results.")] = DEFAULTS.k
    where: (
        Annotated[str, Field(min_length=1, max_length=1024, description="Only images for which this holds.")] | None
    ) = None
    min_score: Annotated[float, Field(ge=-1, le=1, description="Leave out results below this.")] | None = None
    thumbnails: Few = PICTURES

    def options(self) -> Options:
        """The same as the options of a search, which leaves out the image itself."""
        return Options(k=self.k, where=self.where, min_score=self.min_score, exclude_self=True)


class ExplainInput(OfCollection):
    """A query and one of its results."""

    query: Reference
    item: Indexed
    box: Region | None = None
    picture: Annotated[bool, Field(description="Draw both, with what matches.")] = True


class DuplicatesInput(OfCollection):
    """What counts as a copy, and how many groups of copies are listed."""

    level: Annotated[
        Level, Field(description="The same bytes; the same pixels; re-encoded or resized; also cropped, turned, …")
    ] = "exact"
    threshold: Annotated[float, Field(ge=-1, le=1)] | None = None
    keep: Annotated[
        str, Field(min_length=1, max_length=1024, description="best, oldest, newest, largest, or a pattern of a path.")
    ] = "best"
    groups: Annotated[int, Field(ge=1, le=500, description="How many groups are listed, the largest first.")] = 20
    thumbnails: Few = PICTURES


class FactsInput(OfCollection):
    """One image; without it, the whole collection."""

    image: Indexed | None = None
    thumbnails: Few = 1


__all__ = [
    "ByKey", "ByPath", "CollectionsInput", "DuplicatesInput", "ExplainInput", "FactsInput", "Indexed",
    "OfCollection", "Reference", "SearchInput", "SimilarInput",
]  # fmt: skip
