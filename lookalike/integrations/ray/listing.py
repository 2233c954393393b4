"""A source to the list of its images: keys and positions of their bytes. Nothing is decoded here.

A local folder, tar or text list is listed by `images.sources`, so its keys are those of `lookalike index`. Elsewhere
file names decide: image extensions, tars (webdataset shards) and Parquet files.
"""

import tarfile
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import SourceError
from lookalike.images import decode as images
from lookalike.images import remote as places
from lookalike.images import sources
from lookalike.integrations.ray import records
from lookalike.types import Ids

SHARDS_AT_ONCE = 8
BLOCK = 1024
KEYS = ("key", "__key__", "id", "path", "file_name", "filename", "name", "url")
BYTES = ("bytes", "image", "image_bytes", "jpg", "png", "jpeg", "webp", "data")
URLS = ("url", "image_url")


@dataclass(frozen=True, slots=True)
class Listed:
    """An image: `size` bytes from `start` in the file `place`, or the whole file where `size` is -1.

    `kind` is file, url or parquet; for parquet `start` is the row and `size` the row group. An image with a `reason` is
    skipped.
    """

    key: str
    place: str = ""
    kind: str = "file"
    start: int = 0
    size: int = -1
    bytes: int = -1
    mtime_ns: int = -1
    reason: str | None = None


@dataclass(frozen=True)
class ParquetColumns:
    """The columns of Parquet files with the key and the picture (bytes or a URL); "" for the usual names."""

    key: str = ""
    image: str = ""


def listed(source: str, columns: ParquetColumns = ParquetColumns()) -> Iterator[Listed]:
    """All images of `source`; several may have the same key. Raises SourceError."""
    return map(_utf8, _all(source, columns))


def table(entries: Iterable[Listed]) -> Any:
    """Entries as a pyarrow table of `records.listed_schema`, of several with the same key the first.

    It takes a third of the memory of a list: the list of a large job has to fit in one machine.
    """
    import pyarrow as pa

    schema, stream, batches, digests = records.listed_schema(), iter(entries), [], array("q")
    while block := list(islice(stream, BLOCK)):
        columns = [pa.array([getattr(entry, field.name) for entry in block], field.type) for field in schema]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        digests.extend(hash(entry.key) for entry in block)
    return _without_repeated_keys(pa.Table.from_batches(batches, schema=schema), np.frombuffer(digests, np.int64))


def _without_repeated_keys(whole: Any, digests: Ids) -> Any:
    """Keys are compared where their digests are equal, so no image is left out for its digest alone."""
    import pyarrow as pa

    values, counts = np.unique(digests, return_counts=True)
    rows = np.flatnonzero(np.isin(digests, values[counts > 1]))
    if not len(rows):
        return whole
    is_first, seen = np.ones(len(digests), np.bool_), set()
    for row, key in zip(rows, whole.column("key").take(pa.array(rows)).to_pylist(), strict=True):
        is_first[row] = key not in seen
        seen.add(key)
    return whole.filter(pa.array(is_first))


def _utf8(entry: Listed) -> Listed:
    """An entry that Parquet can store: a name that is not UTF-8 is escaped, and the image is skipped."""
    key = entry.key.encode("utf-8", "backslashreplace").decode()
    return entry if key == entry.key else replace(entry, key=key, place="", reason="the name is not UTF-8")


def _all(source: str, columns: ParquetColumns) -> Iterator[Listed]:
    kind = places.kind(source)
    if kind == "nothing":
        raise SourceError(f"{source}: no such folder, archive or file")
    name = source.partition("?")[0].lower()
    if kind == "file" and name.endswith(".parquet"):
        yield from _parquet([places.place(source)[1]], source, columns)
    elif kind == "file" and name.endswith(".tar"):
        yield from _tar(source, places.place(source)[1], "")
    elif "://" not in source:
        yield from _local(source, columns)
    elif kind == "folder":
        yield from _folder(source, columns)
    else:
        raise SourceError(f"{source}: neither a folder, a .tar nor a .parquet file")


def _local(source: str, columns: ParquetColumns) -> Iterator[Listed]:
    path = Path(source).expanduser().absolute()
    if path.is_dir() and _packed(str(path)):
        yield from _folder(str(path), columns)
        return
    local = sources.open_source(path)
    if isinstance(local, sources.Tar | sources.Zip):
        raise SourceError(f"{path}: a zip or a compressed tar cannot be read in pieces; unpack it, or use a plain .tar")
    for entry in local.entries():
        file = local.path(entry.key)
        place, kind = (str(file), "file") if file else (entry.key, "url")
        yield Listed(entry.key, place, kind, bytes=entry.size, mtime_ns=entry.mtime_ns, reason=entry.reason)


def _packed(folder: str) -> bool:
    """Whether a local folder has tars or Parquet files and no images directly in it."""
    names = [path.suffix.lower() for path in Path(folder).iterdir() if not path.name.startswith(".")]
    return any(name in (".tar", ".parquet") for name in names) and not any(name in images.EXTENSIONS for name in names)


def _folder(source: str, columns: ParquetColumns) -> Iterator[Listed]:
    from pyarrow import fs

    system, root = places.place(source)
    try:
        infos = sorted(system.get_file_info(fs.FileSelector(root, recursive=True)), key=lambda info: str(info.path))
    except OSError as error:
        raise SourceError(f"{source}: {places.short(error)}") from error
    files = [info for info in infos if info.type == fs.FileType.File]
    inner = {info.path: str(info.path)[len(root.rstrip("/")) + 1 :] for info in files}
    for info in files:
        if sources.is_candidate(inner[info.path]):
            yield Listed(inner[info.path], info.path, bytes=info.size, mtime_ns=info.mtime_ns or -1)
    tars = [info.path for info in files if info.path.lower().endswith(".tar")]
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        # With the name of the shard before the keys of its members: two shards may use the same names.
        for members in pool.map(lambda path: list(_tar(source, path, f"{inner[path]}/")), tars):
            yield from members
    yield from _parquet([info.path for info in files if info.path.lower().endswith(".parquet")], source, columns)


def _tar(source: str, path: str, prefix: str) -> Iterator[Listed]:
    system, _ = places.place(source)
    try:
        with system.open_input_file(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined] # or the list grows with the shard
                if member.isfile() and sources.is_candidate(member.name):
                    mtime = sources.nanoseconds(member.mtime)
                    yield Listed(
                        prefix + member.name, path, "file", member.offset_data, member.size, member.size, mtime
                    )
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise SourceError(f"{source}: {path} cannot be read as a tar ({places.short(error)})") from error


def _parquet(paths: list[str], source: str, columns: ParquetColumns) -> Iterator[Listed]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    system, _ = places.place(source)
    for path in paths:
        try:
            with system.open_input_file(path) as raw, pq.ParquetFile(raw) as file:
                chosen = choose(file.schema_arrow, columns, path)
                for group in range(file.num_row_groups):
                    yield from _row_group(file, group, path, chosen)
        except (ArrowException, OSError) as error:
            raise SourceError(f"{path}: cannot be read as Parquet ({places.short(error)})") from error


def _row_group(file: Any, group: int, path: str, chosen: ParquetColumns) -> Iterator[Listed]:
    is_url = chosen.image in URLS
    names = list(dict.fromkeys([chosen.key, *([chosen.image] if is_url else [])]))
    table = file.read_row_group(group, columns=names).to_pydict()
    for row, key in enumerate(table[chosen.key]):
        if key is None:
            yield Listed(f"{Path(path).name}/{group}/{row}", path, "parquet", row, group, reason="has no key")
        elif is_url:
            yield Listed(str(key), str(table[chosen.image][row] or ""), "url")
        else:
            yield Listed(str(key), path, "parquet", row, group)


def choose(schema: Any, columns: ParquetColumns, path: str) -> ParquetColumns:
    """The columns of this file; raises SourceError that names the existing ones."""
    names = schema.names
    key = columns.key or next((name for name in KEYS if name in names), "")
    image = columns.image or next((name for name in (*BYTES, *URLS) if name in names), "")
    for column, option in ((key, "--key"), (image, "--image")):
        if column not in names:
            raise SourceError(f"{path} has the columns {', '.join(names)}; say which one with {option} COLUMN")
    return ParquetColumns(key, image)
