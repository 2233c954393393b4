"""A table of columns about images (CSV or Parquet) to the collection's metadata, which filters ask."""

import csv
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from lookalike.errors import SourceError
from lookalike.storage.filters import INTEGERS, typed
from lookalike.storage.store import Store, from_blob

KEYS = ("key", "path", "image_path", "file", "filename", "file_name", "name")
"""Columns that say which image a line is about; the first that there is."""
BLOCK = 4096
COMMIT_EVERY = 16
"""Blocks: pages that a transaction changes are held in memory, some 600 bytes for a line of two columns."""
Value = int | float | str | bytes | None
Line = Mapping[str, object]
"""Column names to values, as a table has them; `storable` says what is kept of one."""


def lines(path: Path) -> Iterator[Line]:
    """The lines of a CSV or Parquet file, each a dictionary; raises SourceError."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    return _parquet(path) if is_parquet else _csv(path)


def _csv(path: Path) -> Iterator[Line]:
    """A column is of numbers where all its values are: it is read twice, and never held."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            numeric = dict.fromkeys(csv.DictReader(file).fieldnames or (), True)
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in csv.DictReader(file):
                for name in [name for name, is_numeric in numeric.items() if is_numeric]:
                    numeric[name] = not line[name] or not isinstance(typed(line[name].strip()), str)
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in csv.DictReader(file):
                yield {name: _csv_value(line[name], numeric[name]) for name in numeric}
    except (OSError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read as a CSV ({error})") from error


def _csv_value(text: str | None, is_numeric: bool) -> Value:
    if not text:
        return None
    return typed(text.strip()) if is_numeric else text


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
    """Keep the columns of a file with the images that its lines name, inside `store.writing()`: (lines, of them used).

    A column that was there before is replaced for these images. It is committed now and then: what an interruption
    leaves is whole lines, and the same table again brings the rest. Raises SourceError where no column names images.
    """
    stream = lines(path)
    read = used = 0
    name: str | None = None
    while block := list(islice(stream, BLOCK)):
        name = name or key_column(block[0], path)
        for line in block:
            used += put(store, str(line[name]), {column: value for column, value in line.items() if column != name})
        read += len(block)
        if read % (BLOCK * COMMIT_EVERY) == 0:
            store.commit()
    return read, used


def key_column(line: Line, path: Path) -> str:
    """The column that says which image a line is about."""
    for name in KEYS:
        if name in line:
            return name
    raise SourceError(f"{path}: no column names the images; one of {', '.join(KEYS)} is wanted among {', '.join(line)}")


def put(store: Store, key: str, values: Line) -> bool:
    """Keep values with the image of a key; whether there is one."""
    item = store.catalog.live_item(key)
    if item is None:
        return False
    put_row(store, item.row, values)
    return True


def storable(value: object) -> Value:
    """A value as the catalog holds it: no NaN, which SQLite has not, and text without bytes that are no UTF-8."""
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
    """Keep values with a row; None takes away what was there."""
    for name, given in values.items():
        number, value = column(store, name), storable(given)
        if value is None:
            store.catalog.database.execute('DELETE FROM meta WHERE row = ? AND "column" = ?', (row, number))
        else:
            store.catalog.put("meta", row, number, value, verb="INSERT OR REPLACE")


def column(store: Store, name: str) -> int:
    """The number of a column, given at its first use."""
    name = str(storable(name))
    found = store.catalog.database.query("SELECT id FROM columns WHERE name = ?", (name,))
    if found:
        return int(found[0][0])
    number = int(store.catalog.database.query("SELECT COALESCE(MAX(id), 0) + 1 FROM columns")[0][0])
    store.catalog.put("columns", number, name, "any")
    return number


def known(store: Store) -> int:
    """How many values the images of a collection have."""
    return int(store.catalog.database.query("SELECT COUNT(*) FROM meta JOIN items USING (row) WHERE removed = 0")[0][0])


def carry(old: Store, new: Store) -> None:
    """Give the images of `new` what `old` knows of the same keys, inside `new.writing()`."""
    numbers = {number: column(new, name) for number, name in old.catalog.database.query("SELECT id, name FROM columns")}
    sql = (
        'SELECT items.key, "column", value FROM meta JOIN items USING (row) '
        "WHERE removed = 0 AND meta.row >= ? AND meta.row < ?"
    )
    for block, start in enumerate(range(0, old.catalog.count_rows(), BLOCK), 1):
        for key, number, value in old.catalog.database.query(sql, (start, start + BLOCK)):
            item = new.catalog.live_item(from_blob(key))
            if item is not None and number in numbers:
                new.catalog.put("meta", item.row, numbers[number], value, verb="INSERT OR REPLACE")
        if block % COMMIT_EVERY == 0:
            new.commit()
