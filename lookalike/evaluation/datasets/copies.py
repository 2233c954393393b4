"""Copy detection: DISC21's CSV beside queries and references, or the folders of Copydays, to a benchmark."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth, abridged, first_folder

REFERENCES, QUERIES = ("references", "reference"), ("queries", "final_queries", "dev_queries", "query")
ORIGINALS = "original"
EDITS = ("strong", "jpegqual", "crops")
"""The folders of Copydays with changed copies; the last two have one folder for each strength."""
SAME_PHOTO = 2
"""Of a name in Copydays the last two digits number the copies of a photo: 200001 is one of 200000."""


def copies(root: Path) -> Benchmark:
    """`root/original` with `strong`, `jpegqual`, `crops` (Copydays), else a CSV, queries, references (DISC21)."""
    return _copydays(root) if (root / ORIGINALS).is_dir() else _disc(root)


def _disc(root: Path) -> Benchmark:
    table = _table(root)
    references = Names(first_folder(table.parent, REFERENCES, "the reference images"))
    queries = Names(first_folder(table.parent, QUERIES, "the query images"))
    pairs: dict[str, dict[str, None]] = {}
    for query, reference in _rows(table):
        found = pairs.setdefault(query, {})
        if reference:
            found[reference] = None
    images = queries.require(dict.fromkeys(pairs, table.name))
    keys = references.require({name: f"{query} in {table.name}" for query, names in pairs.items() for name in names})
    made = tuple(
        BenchmarkQuery(
            query, queries.folder / images[query], None, {"all": Truth(frozenset(keys[name] for name in names))}
        )
        for query, names in pairs.items()
    )
    return Benchmark("copies", references.folder, made, "copies")


def _table(root: Path) -> Path:
    tables = [root] if root.is_file() else sorted(root.glob("*.csv"))
    if len(tables) != 1:
        listed = f"there are {abridged([table.name for table in tables])}" if tables else "there is none"
        raise EvaluationError(
            f"{root}: expected one ground truth .csv beside queries/ and references/ (DISC21), {listed}, "
            f"or a folder {ORIGINALS}/ (Copydays); --root may be the .csv itself"
        )
    return tables[0]


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    """(query, reference), with an empty reference for a query that is no copy; the heading is optional."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.reader(stream, strict=True), 1):
                cells = [cell.strip() for cell in row]
                if not any(cells) or (number == 1 and cells[0].lower() == "query_id"):
                    continue
                if len(cells) > 2 or not cells[0]:
                    raise EvaluationError(f"{table} line {number}: expected query_id,reference_id")
                yield cells[0], cells[1] if len(cells) > 1 else ""
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{table}: {getattr(error, 'strerror', None) or error}") from error


def _copydays(root: Path) -> Benchmark:
    originals = root / ORIGINALS
    by_photo: dict[str, set[str]] = {}
    for key in Names(originals).keys:
        by_photo.setdefault(_photo(Path(key)), set()).add(key)
    queries = []
    for edit in EDITS:
        for key in Names(root / edit).keys if (root / edit).is_dir() else ():
            positives = frozenset(by_photo.get(_photo(Path(key)), ()))
            queries.append(BenchmarkQuery(f"{edit}/{key}", root / edit / key, None, {"all": Truth(positives)}))
    if not queries:
        raise EvaluationError(f"{root}: no copies in {', '.join(f'{edit}/' for edit in EDITS)} beside {ORIGINALS}/")
    return Benchmark("copies", originals, tuple(queries), "copies")


def _photo(path: Path) -> str:
    return path.stem[:-SAME_PHOTO]
