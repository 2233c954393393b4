"""A table of queries with their positives and junk (CSV or JSON lines) to a benchmark."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth
from lookalike.types import Box

FILES = ("pairs.jsonl", "pairs.json", "pairs.csv")
SEPARATOR = ";"
COLUMNS = ("query", "box", "positives", "junk")


@dataclass(frozen=True)
class _Line:
    """A line of the table; `where` is file and line number."""

    where: str
    query: str
    box: Box | None
    positives: tuple[str, ...]
    junk: tuple[str, ...]


def pairs(root: Path) -> Benchmark:
    """`root` is the table, or a folder that holds it as `pairs.csv` or `pairs.jsonl`, beside the images or `images/`.

    CSV has the columns query and positives, and optionally box ("left,top,right,bottom") and junk; names in a cell are
    separated by ";". A JSON line is an object of the same names with lists. A query is an image of the gallery or
    another file under the table's folder. Its own photo, if that is in the gallery, is left out unless it is listed.
    """
    file = _table(root)
    lines = list(_read(file))
    folder = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    names = Names(folder)
    keys = names.require({name: line.where for line in lines for name in (*line.positives, *line.junk)})
    counts: Counter[str] = Counter()
    queries = []
    for line in lines:
        counts[line.query] += 1
        queries.append(_query(line, counts[line.query], names, keys, file.parent))
    return Benchmark("pairs", folder, tuple(queries))


def _table(root: Path) -> Path:
    if root.is_file():
        return root
    tables = [root / name for name in FILES if (root / name).is_file()]
    if len(tables) != 1:
        raise EvaluationError(f"{root}: expected one of {', '.join(FILES)}, found {len(tables)}")
    return tables[0]


def _read(file: Path) -> Iterator[_Line]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    yield from _read_csv(file, text) if file.suffix.lower() == ".csv" else _read_json(file, text)


def _read_csv(file: Path, text: str) -> Iterator[_Line]:
    reader = csv.DictReader(io.StringIO(text), strict=True, restkey="surplus cells")
    try:
        for row in reader:
            cells: dict[str, Any] = {name: value for name, value in row.items() if value}
            for name in ("positives", "junk"):
                cells[name] = [part.strip() for part in str(cells.get(name, "")).split(SEPARATOR) if part.strip()]
            if "box" in cells:
                cells["box"] = cells["box"].split(",")
            yield _line(f"{file.name} line {reader.line_num}", cells)
    except csv.Error as error:
        raise EvaluationError(f"{file.name} line {reader.line_num}: {error}") from error


def _read_json(file: Path, text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{file.name} line {number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"{where}: not a JSON object ({error})") from error
        if not isinstance(value, dict):
            raise EvaluationError(f"{where}: not a JSON object")
        yield _line(where, value)


def _line(where: str, cells: Mapping[str, Any]) -> _Line:
    unknown = [name for name in cells if name not in COLUMNS]
    if unknown:
        raise EvaluationError(f"{where}: unknown column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    query = cells.get("query")
    if not isinstance(query, str) or not query:
        raise EvaluationError(f"{where}: no query")
    positives, junk = (_texts(where, name, cells.get(name) or ()) for name in ("positives", "junk"))
    return _Line(where, query, _box(where, cells.get("box")), positives, junk)


def _texts(where: str, name: str, values: Iterable[Any]) -> tuple[str, ...]:
    if isinstance(values, list | tuple) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise EvaluationError(f"{where}: {name} is no list of names")


def _box(where: str, corners: Any) -> Box | None:
    if corners is None:
        return None
    try:
        return Box(*(float(corner) for corner in corners))
    except (TypeError, ValueError, OverflowError) as error:
        raise EvaluationError(f"{where}: box is not four numbers: left, top, right, bottom") from error


def _query(line: _Line, times: int, names: Names, keys: Mapping[str, str], folder: Path) -> BenchmarkQuery:
    positives = frozenset(keys[name] for name in line.positives)
    junk = frozenset(keys[name] for name in line.junk)
    own, image = _photo(line.query, names, folder)
    if not image.is_file():
        raise EvaluationError(f"{line.where}: the query image {line.query!r} is missing (looked for {image})")
    hidden = frozenset({own} - positives - junk) if own else frozenset[str]()
    name = line.query if times == 1 else f"{line.query} #{times}"
    return BenchmarkQuery(name, image, line.box, {"all": Truth(positives, junk)}, hidden)


def _photo(query: str, names: Names, folder: Path) -> tuple[str | None, Path]:
    """The key of a query's photo, None outside the gallery, and its file.

    A file of this path beside the table takes precedence over an image of the same name elsewhere in the gallery.
    """
    beside = folder / query
    if beside.is_file() and not (names.folder / query).is_file():
        inside = beside.relative_to(names.folder).as_posix() if beside.is_relative_to(names.folder) else None
        return (inside if inside in names.keys else None), beside
    own = names.key(query)
    return own, names.folder / own if own else beside
