"""collection.json: what never changes in the life of a collection, with a checksum of its own."""

import json
import os
import sqlite3
import uuid
import zlib
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.storage.catalog import CATALOG
from lookalike.storage.vectors import DTYPES

# 2: checksums of every catalog entry, not of vectors alone; vectors as float16 and int8; metadata.
FORMAT = 2
FILE = "collection.json"
CACHE = "cache"
"""The folder of a collection that holds what was computed of its images, by their content; it may be deleted."""


@dataclass(frozen=True)
class Header:
    """What never changes in the life of a collection; `encoder` is the name that `load_encoder` takes.

    `engine` is the URI of an engine that holds the vectors in place of the file, or None. `id` is another for every
    collection that was ever made, so that nothing made for one (an index) is taken for another's.
    """

    encoder: str
    fingerprint: str
    dim: int
    dtype: str = "float32"
    engine: str | None = None
    id: str = ""
    format: int = FORMAT

    def to_text(self) -> str:
        """The content of collection.json."""
        values = asdict(self)
        return json.dumps({**values, "checksum": _checksum(values)}, indent=2) + "\n"


def fresh(header: Header) -> Header:
    """The same with an id of its own."""
    return replace(header, id=uuid.uuid4().hex)


def parse(text: str | bytes, path: Path) -> Header:
    """The inverse of `to_text`; raises CollectionError naming `path`."""
    broken = f"{path}/{FILE} is damaged"
    way = f"run `lookalike verify {path} --repair`, or index again with --rebuild"
    try:
        values = json.loads(text)
        format_, checksum = values["format"], values.pop("checksum", None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CollectionError(f"{path}/{FILE} cannot be read; {way}") from error
    if checksum is None and format_ != FORMAT:
        raise CollectionError(
            f"{path} has format {format_}, this version reads {FORMAT}; update lookalike or index again with --rebuild"
        )
    if checksum != _checksum(values):
        raise CollectionError(f"{broken} (its checksum does not match); {way}")
    try:
        header = Header(**values)
    except TypeError as error:
        raise CollectionError(f"{path} was made by a newer version ({error}); update lookalike") from error
    if header.format != FORMAT:
        raise CollectionError(
            f"{path} has format {header.format}, this version reads {FORMAT}; update lookalike or use --rebuild"
        )
    if not isinstance(header.dim, int) or not 0 < header.dim <= 1_000_000 or header.dtype not in DTYPES:
        raise CollectionError(f"{broken} (dim {header.dim!r}, {header.dtype!r}); {way}")
    return header


def read_header(path: Path) -> Header:
    """collection.json, checked; raises CollectionError."""
    try:
        text = (path / FILE).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CollectionError(f"{path}/{FILE} cannot be read ({reason}); index again with --rebuild") from error
    return parse(text, path)


def write_header(path: Path, header: Header) -> None:
    """collection.json, whole or not at all; raises OSError."""
    draft = path / f"{FILE}.new"
    with draft.open("w", encoding="utf-8") as file:
        file.write(header.to_text())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path / FILE)


def is_collection(path: Path) -> bool:
    """Whether a collection lies in this folder."""
    return (path / FILE).is_file()


def remains(path: Path) -> list[str]:
    """What lies in a folder of a collection whose collection.json is gone; empty where that is there or nothing is.

    collection.json is written last: what a first run that was interrupted left holds no row, and counts as nothing.
    """
    if is_collection(path):
        return []
    files = [name for name, _ in DTYPES.values() if _size(path / name)]
    return [CATALOG, *files] if _has_rows(path / CATALOG) else files


def refuse_remains(path: Path) -> None:
    """Raises CollectionError where a collection lies in `path` that only its collection.json is missing of."""
    found = remains(path)
    if found:
        raise CollectionError(
            f"{path}/{FILE} is missing, but {' and '.join(found)} lie there; run `lookalike verify {path} --repair`, "
            "which takes it from its copy in the catalog, or index again with --rebuild"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _has_rows(catalog: Path) -> bool:
    """Whether a catalog has items; one that cannot be read may have."""
    if not _size(catalog):
        return False
    try:
        with closing(sqlite3.connect(f"{catalog.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute("SELECT 1 FROM items LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError as error:
        return "no such table" not in str(error)
    except sqlite3.Error:
        return True


def _checksum(values: dict[str, object]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
