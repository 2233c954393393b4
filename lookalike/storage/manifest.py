"""collection.json: what never changes in the life of a collection, with a checksum of its own."""

import json
import sqlite3
import uuid
import zlib
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.storage.catalog import CATALOG
from lookalike.storage.sqlite import reading
from lookalike.storage.vectors import DTYPES
from lookalike.utils.files import reason, write_whole
from lookalike.utils.text import command

# 2: checksums of every catalog entry, not of vectors alone; vectors as float16 and int8; metadata.
FORMAT = 2
FILE = "collection.json"
CACHE = "cache"
"""The folder of a collection for features of its images, by their content; it may be deleted."""


@dataclass(frozen=True)
class Header:
    """What never changes in the life of a collection; `encoder` is the name that `load_encoder` takes.

    `engine` is the URI of an engine that stores the vectors in place of the file, or None. `id` is different for every
    collection, so that an index of one collection is not taken for another's.
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


def with_new_id(header: Header) -> Header:
    """The same header with a new id."""
    return replace(header, id=uuid.uuid4().hex)


def parse(text: str | bytes, path: Path) -> Header:
    """The inverse of `to_text`; raises CollectionError naming `path`."""
    damaged = f"{path}/{FILE} is damaged"
    way = f"run `{command('verify', path, '--repair')}`, or index again with --rebuild"
    try:
        values = json.loads(text)
        format_, checksum = values["format"], values.pop("checksum", None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CollectionError(f"{path}/{FILE} cannot be read; {way}") from error
    if checksum is None and format_ != FORMAT:
        raise _of_another_release(path, format_)
    if checksum != _checksum(values):
        raise CollectionError(f"{damaged} (its checksum does not match); {way}")
    try:
        header = Header(**values)
    except TypeError as error:
        raise CollectionError(f"{path} was made by a newer version ({error}); update lookalike") from error
    if header.format != FORMAT:
        raise _of_another_release(path, header.format)
    if not isinstance(header.dim, int) or not 0 < header.dim <= 1_000_000 or header.dtype not in DTYPES:
        raise CollectionError(f"{damaged} (dim {header.dim!r}, {header.dtype!r}); {way}")
    return header


def _of_another_release(path: Path, format_: object) -> CollectionError:
    """The error that says which command brings a collection of an older release up, or that this release is older."""
    if isinstance(format_, int) and format_ > FORMAT:
        return CollectionError(f"{path} was made by a newer release (format {format_}); update lookalike")
    places = [path.parent] if path.name.startswith(".") else ["PHOTOS", "--collection", path]
    way = command("index", *places, "--rebuild")
    return CollectionError(f"{path} was made by an older release (format {format_}); make it anew: `{way}`")


def encoder_in(path: Path) -> str | None:
    """The encoder that a collection.json names, which may be of another release or damaged otherwise."""
    try:
        encoder = json.loads((path / FILE).read_bytes())["encoder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return encoder if isinstance(encoder, str) else None


def read_header(path: Path) -> Header:
    """collection.json, checked; raises CollectionError."""
    try:
        text = (path / FILE).read_bytes()
    except OSError as error:
        raise CollectionError(f"{path}/{FILE} cannot be read ({reason(error)}); index again with --rebuild") from error
    return parse(text, path)


def write_header(path: Path, header: Header) -> None:
    """Write collection.json, whole or not at all; raises OSError."""
    write_whole(path / FILE, header.to_text())


def is_collection(path: Path) -> bool:
    """Whether there is a collection in this folder."""
    return (path / FILE).is_file()


def remains(path: Path) -> list[str]:
    """The files of a collection whose collection.json is gone; empty where that exists or nothing does.

    collection.json is written last: an interrupted first run leaves a catalog without rows, which does not count.
    """
    if is_collection(path):
        return []
    files = [name for name, _ in DTYPES.values() if _size(path / name)]
    return [CATALOG, *files] if _has_rows(path / CATALOG) else files


def refuse_remains(path: Path) -> None:
    """Raise CollectionError where the collection in `path` lacks only its collection.json."""
    files = remains(path)
    if files:
        way = f"run `{command('verify', path, '--repair')}`"
        raise CollectionError(
            f"{path}/{FILE} is missing, but {' and '.join(files)} lie there; {way}, "
            "which takes it from its copy in the catalog, or index again with --rebuild"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _has_rows(catalog: Path) -> bool:
    """Whether a catalog has items, after rolling back what a killed run left; True where it cannot be read."""
    if not _size(catalog):
        return False
    try:
        with closing(reading(catalog)) as reader:
            return reader.execute("SELECT 1 FROM items LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError as error:
        return "no such table" not in str(error)
    except sqlite3.Error:
        return True


def _checksum(values: dict[str, object]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
