"""A test of a filter on what images say of themselves to the rows that meet it.

Dates compare as dates, also with a part of one: `taken > 2019-07` begins in August. Texts compare without case, and *
and ? in them stand for any letters. A folder also fits with a slash at its end, so `folder = "trips/*"` holds for the
images in trips itself. A list meets a test where one of its texts does, and `!=` where none does that it excludes.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.storage import photo_facts
from lookalike.storage.catalog import Catalog, from_blob
from lookalike.storage.photo_facts import DATES, FLAGS, FOLDER, JOIN, LISTS, OF_ITEM, TEXTS
from lookalike.types import Ids

LIVE = "items.removed = 0 AND items.sha256 != x''"
DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?)?)?)?)?"
)
FRACTION = re.compile(r"([0-9.]{1,12})/([0-9.]{1,12})")
YES = {"yes": 1, "true": 1, "1": 1, "no": 0, "false": 0, "0": 0}
RADIUS = 6_371_008.8
"""Of the earth, in metres: the mean that IUGG gives."""
BLOCK = 65536
Degrees = NDArray[np.float64]


def matching(catalog: Catalog, name: str, operator: str, values: Sequence[object]) -> Ids:
    """The rows that meet a test of a fact; raises QueryError where it cannot be compared so."""
    if name not in OF_ITEM and name != FOLDER:
        refuse_unread(catalog, name)
    if name == FOLDER:
        return folders(catalog, operator, values)
    if name in TEXTS:
        return _texts(catalog, name, _fits(operator, values))
    if name in LISTS:
        return _lists(catalog, name, operator, values)
    if operator == ":":
        return _rows(catalog, name, f"CAST({photo_facts.value(name)} AS TEXT) GLOB ?", [str(values[0])])
    if name in DATES:
        return _dates(catalog, name, operator, values)
    read = _flag if name in FLAGS else _number
    numbers = [read(name, operator, value) for value in values]
    sign = f"IN ({', '.join('?' * len(numbers))})" if operator == "in" else f"{operator} ?"
    return _rows(catalog, name, f"{photo_facts.value(name)} {sign}", numbers)


def refuse_unread(catalog: Catalog, name: str) -> None:
    """Raise QueryError where no image was read for its facts."""
    is_empty = not catalog.database.query("SELECT 1 FROM items WHERE removed = 0 AND sha256 != x'' LIMIT 1")
    if not is_empty and not photo_facts.has_any(catalog):
        raise QueryError(f"{name}: not read from these images yet; `lookalike facts COLLECTION` reads it")


def near(catalog: Catalog, latitude: float, longitude: float, metres: float) -> Ids:
    """The rows of images that were taken at most so far from a place."""
    refuse_unread(catalog, "near")
    places = [photo_facts.value(name) for name in photo_facts.PLACES]
    sql = f"SELECT items.row, {places[0]}, {places[1]} {JOIN} WHERE {LIVE} AND {places[0]} BETWEEN ? AND ?"
    band = np.degrees(metres / RADIUS) + 1e-6
    rows = [row for row in catalog.database.query(sql, (latitude - band, latitude + band)) if row[2] is not None]
    table = np.array(rows, np.float64).reshape(-1, 3)
    is_near = _metres(latitude, longitude, table[:, 1], table[:, 2]) <= metres
    rows_near: Ids = table[is_near, 0].astype(np.int64)
    return rows_near


def _metres(latitude: float, longitude: float, latitudes: Degrees, longitudes: Degrees) -> Degrees:
    """Distances on a sphere (haversine)."""
    north, norths = np.radians(latitude), np.radians(latitudes)
    across = np.radians(longitudes - longitude)
    chord = np.sin((norths - north) / 2) ** 2 + np.cos(north) * np.cos(norths) * np.sin(across / 2) ** 2
    return np.asarray(2 * RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1))), np.float64)


def _rows(catalog: Catalog, name: str, condition: str, values: Sequence[object]) -> Ids:
    tables = "FROM items" if name in OF_ITEM and condition.startswith(OF_ITEM[name]) else photo_facts.joined(name)
    return catalog.database.numbers(f"SELECT items.row {tables} WHERE {LIVE} AND {condition}", values)


def _fits(operator: str, values: Sequence[object]) -> Callable[[str], bool]:
    """Whether a text meets a test; `=` and `in` know * and ?, and `:` also classes of letters."""
    if operator in ("<", "<=", ">", ">="):
        other = str(values[0]).casefold()
        signs = {"<": str.__lt__, "<=": str.__le__, ">": str.__gt__, ">=": str.__ge__}
        return lambda text: bool(signs[operator](text.casefold(), other))
    patterns = [str(value).casefold() for value in values]
    plain = [text.replace("[^", "[!") if operator == ":" else text.replace("[", "[[]") for text in patterns]
    likes = [re.compile(fnmatch.translate(text)) for text in plain]
    if operator == "!=":
        return lambda text: not likes[0].match(text.casefold())
    return lambda text: any(like.match(text.casefold()) for like in likes)


def _fits_folder(operator: str, values: Sequence[object]) -> Callable[[str], bool]:
    if operator in ("<", "<=", ">", ">="):
        return _fits(operator, values)
    fits = _fits("=" if operator == "!=" else operator, values)
    return lambda folder: (operator == "!=") != (fits(folder) or (bool(folder) and fits(f"{folder}/")))


def _texts(catalog: Catalog, name: str, fits: Callable[[str], bool]) -> Ids:
    tables, value = photo_facts.joined(name), photo_facts.value(name)
    every = "FROM facts WHERE name > 'photo:' AND name < 'photo;'" if tables == JOIN else f"{tables} WHERE {LIVE}"
    kept = [text for (text,) in catalog.database.query(f"SELECT DISTINCT {value} {every}") if text and fits(text)]
    sql = f"SELECT items.row {tables} WHERE {LIVE} AND {value} IN ({{}})"
    return np.array([row for (row,) in catalog.among(sql, kept)], np.int64)


def _lists(catalog: Catalog, name: str, operator: str, values: Sequence[object]) -> Ids:
    tables = f"{photo_facts.joined(name)} CROSS JOIN json_each({photo_facts.value(name)}) AS each WHERE {LIVE}"
    texts = [text for (text,) in catalog.database.query(f"SELECT DISTINCT each.value {tables}")]
    fits = _fits("=" if operator == "!=" else operator, values)
    kept = [text for text in texts if fits(text)]
    rows = np.array(
        [row for (row,) in catalog.among(f"SELECT items.row {tables} AND each.value IN ({{}})", kept)], np.int64
    )
    if operator != "!=":
        return np.unique(rows)
    return np.setdiff1d(catalog.database.numbers(f"SELECT DISTINCT items.row {tables}"), rows)


def folders(catalog: Catalog, operator: str, values: Sequence[object], prefix: str = "") -> Ids:
    """The rows whose folder meets a test, where keys begin with `prefix`."""
    fits, known = _fits_folder(operator, values), dict[str, bool]()
    rows: list[int] = []
    sql = "SELECT row, key FROM items WHERE removed = 0 AND row >= ? AND row < ?"
    for start in range(0, catalog.count_rows(), BLOCK):
        for row, key in catalog.database.query(sql, (start, start + BLOCK)):
            folder = photo_facts.folder(prefix + from_blob(key))
            if folder not in known:
                known[folder] = fits(folder)
            if known[folder]:
                rows.append(row)
    return np.array(rows, np.int64)


def _dates(catalog: Catalog, name: str, operator: str, values: Sequence[object]) -> Ids:
    """As much of each date is compared as the filter says of one."""
    dates = [_date(name, operator, value) for value in values]
    sign = "=" if operator == "in" else operator
    tests = [f"substr({photo_facts.value(name)}, 1, {len(date)}) {sign} ?" for date in dates]
    return _rows(catalog, name, f"({' OR '.join(tests)})", dates)


def _date(name: str, operator: str, value: object) -> str:
    text = str(value)
    match = DATE.fullmatch(text)
    try:
        if match:
            parts = [int(part) for part in match.groups()[:6] if part]
            datetime(*[*parts, *(1, 1, 1)[len(parts) :]][: max(3, len(parts))])  # type: ignore[arg-type]
            return text.replace(" ", "T")
    except ValueError:
        pass
    way = 'a date is wanted, as 2019, 2019-07, 2019-07-14 or "2019-07-14T12:30"'
    raise QueryError(f"{name} {operator} {text}: {way}")


def _number(name: str, operator: str, value: object) -> float:
    if isinstance(value, int | float):
        return float(f"{value:.7g}") if name in ("exposure", "focal_length") else value
    match = FRACTION.fullmatch(str(value))
    try:
        if match:
            return float(f"{float(match[1]) / float(match[2]):.7g}")
    except (ValueError, ZeroDivisionError):
        pass
    raise QueryError(f"{name} {operator} {value}: a number is wanted, as 400 or 1/250")


def _flag(name: str, operator: str, value: object) -> int:
    number = YES.get(str(value).lower())
    if number is None:
        raise QueryError(f"{name} {operator} {value}: yes or no is wanted")
    return number
