"""What can be known of a question before a folder is indexed for it, which may take hours."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike.errors import ImageError, QueryError

if TYPE_CHECKING:
    from lookalike.search.options import SearchOptions
    from lookalike.search.query import Query
    from lookalike.types import Box

SIZE = 256
"""The shorter side that a picture may be decoded to, which is enough to see that it can be."""


def check_before(folders: Sequence[Path], question: "Query", options: "SearchOptions") -> None:
    """Raise QueryError for a filter, a picture or a box that is a mistake whatever the folders hold."""
    from lookalike.storage.filters import names

    if options.where:
        names(options.where)
    if question.weights is not None and len(question.weights) != len(question.examples):
        raise QueryError(f"{len(question.examples)} queries need as many weights, not {len(question.weights)}")
    for example in question.examples:
        _check_picture(folders, example, question.box)
    for example in question.negatives:
        _check_picture(folders, example, None)


def _check_picture(folders: Sequence[Path], example: Any, box: "Box | None") -> None:
    from lookalike.images import decode, sources

    if sources.is_url(str(example)):
        return
    file = _file(folders, str(example))
    if file is None:
        if not any(map(_is_indexed, folders)):
            raise QueryError(f"{example}: no such file, and none of that name in {_named(folders)}")
        return
    try:
        decode.load(file, size=SIZE, box=box)
    except ImageError as error:
        raise QueryError(f"{example}: {error}") from error


def _file(folders: Sequence[Path], name: str) -> Path | None:
    """The file of a path, or of what will be a key."""
    places = (Path(name).expanduser(), *(folder.expanduser() / name for folder in folders))
    return next((place for place in places if place.exists()), None)


def _is_indexed(folder: Path) -> bool:
    from lookalike.collection.parents import FOLDER
    from lookalike.storage.manifest import is_collection

    return is_collection(folder.expanduser()) or is_collection(folder.expanduser() / FOLDER)


def _named(folders: Sequence[Path]) -> str:
    return " or ".join(map(str, folders))
