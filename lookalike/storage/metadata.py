"""A table of columns about images (CSV or Parquet) to the collection's metadata, which filters read."""

import csv
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path

from lookalike.errors import SourceError
from lookalike.storage import photo_facts
from lookalike.storage.catalog import HasCatalog
from lookalike.storage.filters import INTEGERS, typed
from lookalike.storage.names import Names
from lookalike.storage.store import Store
from lookalike.utils.tables import unmarked

KEYS = ("key", "path", "image_path", "file", "filename", "file_name", "name", "image")
"""Columns that name the image of a line; the first that exists is taken."""
BLOCK = 4096
FEW = 0.5
"""A table of which less than this share names images is probably one of others, or names them in another way."""
COMMIT_EVERY = 16
"""Blocks: pages that a transaction changes stay in memory, some 600 bytes for a line of two columns."""
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
Value = int | float | str | bytes | None
Line = Mapping[str, object]
"""Column names to values as they are in the table; `storable` makes of each what is kept."""

log = logging.getLogger(__name__)


def lines(path: Path) -> Iterator[Line]:
    """The lines of a CSV or Parquet file, each a dictionary; raises SourceError."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    return _parquet(path) if is_parquet else _csv(path)


def _csv(path: Path) -> Iterator[Line]:
    """A column is numeric where all its values are: the file is read twice, and is never in memory as a whole."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            numeric = dict.fromkeys(csv.DictReader(file).fieldnames or (), True)
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in csv.DictReader(file):
                for name in [name for name, is_numeric in numeric.items() if is_numeric]:
                    numeric[name] = not line[name] or not isinstance(_number(line[name]), str)
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in csv.DictReader(file):
                yield {name: _csv_value(line[name], numeric[name]) for name in numeric}
    except (OSError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read as a CSV ({error})") from error


def _csv_value(text: str | None, is_numeric: bool) -> Value:
    if not text:
        return None
    return _number(text) if is_numeric else unmarked(text)


def _number(text: str) -> int | float | str:
    """A number, also `nan` and `inf` as tables have them for what was not measured; else the text."""
    word = text.strip()
    return float(word) if NOT_FINITE.fullmatch(word) else typed(word)


def _parquet(path: Path) -> Iterator[Line]:
    from lookalike.utils.parquet import parquet_batches

    for batch in parquet_batches(path):
        names = [name for name, column in zip(batch.schema.names, batch.columns, strict=True) if _is_plain(column)]
        yield from batch.select(names).to_pylist()


def _is_plain(column: object) -> bool:
    import pyarrow as pa

    kind = getattr(column, "type", None)
    return not (pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind))


def attach(store: Store, path: Path) -> tuple[int, int]:
    """Store the columns of a file with the images that its lines name, inside `store.writing()`: (lines, of them used).

    What names an image is told in `names.Names`; where less than half of the lines do, a warning is logged. A column
    that exists is replaced for these images. Commits every few blocks: an interruption leaves whole lines, and the same
    table again adds the rest. Raises SourceError where no column names images.
    """
    read, used, unknown = 0, 0, ""
    before = {name for _, name in store.catalog.columns()}
    with closing(Names(store)) as names:
        column: str | None = None
        for block in _blocks(lines(path)):
            column = column or key_column(block[0], path)
            for line in block:
                row = names.row(str(line[column]))
                if row is not None:
                    put_row(store, row, {name: value for name, value in line.items() if name != column})
                    used += 1
                else:
                    unknown = unknown or str(line[column])
            read += len(block)
            if read % (BLOCK * COMMIT_EVERY) == 0:
                store.commit()
    for name in sorted({name for _, name in store.catalog.columns()} & photo_facts.told(store.catalog) - before):
        log.warning("%s: filters read its column %s from now on, and not what the images say of it", path, name)
    if used < FEW * read:
        log.warning("%s: only %d of %d lines name an image here; there is no %s", path, used, read, ascii(unknown))
    return read, used


def _blocks(stream: Iterator[Line]) -> Iterator[list[Line]]:
    while block := list(islice(stream, BLOCK)):
        yield block


def key_column(line: Line, path: Path) -> str:
    """The column that names the image of a line; raises SourceError."""
    for name in KEYS:
        if name in line:
            return name
    raise SourceError(f"{path}: no column names the images; one of {', '.join(KEYS)} is wanted among {', '.join(line)}")


def storable(value: object) -> Value:
    """A value as the catalog keeps it: no NaN, which SQLite does not have, and text of valid UTF-8 only."""
    match value:
        case None | bytes():
            return value
        case int():
            return int(value) if value in INTEGERS else float(value)
        case float():
            return None if math.isnan(value) else value
        case _:
            return str(value).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def put_row(store: Store, row: int, values: Line) -> None:
    """Store values with a row; None deletes the value that was there."""
    for name, raw in values.items():
        number, value = column(store, name), storable(raw)
        if value is None:
            store.catalog.clear_value(row, number)
        else:
            store.catalog.put("meta", row, number, value, verb="INSERT OR REPLACE")


def column(store: Store, name: str) -> int:
    """The number of a column, which is made where it does not exist."""
    name = str(storable(name))
    number = store.catalog.column(name)
    return store.catalog.add_column(name) if number is None else number


def columns_in(new: Store, old: HasCatalog) -> dict[int, int]:
    """Column numbers of `old` to those of `new`, inside `new.writing()`."""
    return {number: column(new, name) for number, name in old.catalog.columns()}
