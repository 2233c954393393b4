"""Collections to files that other programs read, and other programs' vectors to a collection."""

import csv
import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, SourceError
from lookalike.storage import store
from lookalike.storage.catalog import Item, to_blob
from lookalike.storage.manifest import Header, write_header
from lookalike.storage.metadata import Line, key_column, put_row
from lookalike.storage.store import Store, sync_folder
from lookalike.types import Encoder, Ids, Progress, Vectors
from lookalike.utils.parquet import parquet, parquet_batches

Format = Literal["npy", "parquet", "csv", "faiss"]
BLOCK = 4096


def export(opened: Store, out: Path, kind: Format, progress: Progress | None = None) -> list[Path]:
    """Write the live rows to the folder `out`, some at a time; the files.

    npy: vectors.npy (n, dim) float32, and keys.jsonl with a JSON string a line in step with it. faiss: vectors.faiss,
    an IndexFlatIP, with the same keys.jsonl. csv: key, width, height, sha256 and v0, v1, … parquet: the same with the
    vector as one list. They are the rows that are live when it begins; whoever writes meanwhile is not held up. Nothing
    is replaced: raises CollectionError where a file is there already.
    """
    if kind not in get_args(Format):
        raise CollectionError(f"format {kind!r} is unknown; there are: {', '.join(get_args(Format))}")
    names = {"npy": ["vectors.npy", "keys.jsonl"], "faiss": ["vectors.faiss", "keys.jsonl"]}
    paths = [out / name for name in names.get(kind, [f"vectors.{kind}"])]
    for path in paths:
        if path.exists():
            raise CollectionError(f"{path} is there already; name another folder")
    writers: dict[str, Callable[..., None]] = {"npy": _npy, "faiss": _faiss, "csv": _csv, "parquet": _parquet}
    drafts = [path.with_name(f"{path.name}.new") for path in paths]
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = opened.catalog.database.numbers("SELECT row FROM items WHERE removed = 0 ORDER BY row")
        writers[kind](_told(_blocks(opened, rows), len(rows), progress), len(rows), opened.header.dim, *drafts)
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    except OSError as error:
        raise CollectionError(f"{out}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return paths


VectorBlock = tuple[list[Item], Vectors]


def _blocks(opened: Store, rows: Ids) -> Iterator[VectorBlock]:
    """Each row is asked for by itself: a transaction over all of them would keep a writer from committing."""
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        yield [_intact(opened, row) for row in some.tolist()], opened.vectors.rows(some)


def _intact(opened: Store, row: int) -> Item:
    item = opened.intact_item(row)
    if item is None:
        way = f"run `lookalike verify {opened.path} --repair` first"
        raise CollectionError(f"{opened.path}: row {row} ({opened.catalog.item(row).key}) is damaged; {way}")
    return item


def _told(blocks: Iterator[VectorBlock], total: int, progress: Progress | None) -> Iterator[VectorBlock]:
    done = 0
    for block in blocks:
        yield block
        done += len(block[0])
        if progress:
            progress(done, total)


def _keys(items: Sequence[Item]) -> str:
    """JSON, a string a line: a name may hold a line break, and bytes that are not UTF-8."""
    return "".join(f"{json.dumps(item.key)}\n" for item in items)


def _npy(blocks: Iterator[VectorBlock], rows: int, dim: int, vectors: Path, keys: Path) -> None:
    with vectors.open("wb") as file, keys.open("w", encoding="ascii") as names:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for items, block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").data)
            names.write(_keys(items))


def _faiss(blocks: Iterator[VectorBlock], rows: int, dim: int, vectors: Path, keys: Path) -> None:
    """The file that FAISS writes of an empty IndexFlatIP, with its two counts put right, and the rows behind it."""
    import faiss

    head = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dim)).tobytes())
    # int32 dim, int64 count, …, and last how many numbers follow.
    struct.pack_into("<q", head, 8, rows)
    struct.pack_into("<Q", head, len(head) - 8, rows * dim)
    with vectors.open("wb") as file, keys.open("w", encoding="ascii") as names:
        file.write(head)
        for items, block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").data)
            names.write(_keys(items))


def _csv(blocks: Iterator[VectorBlock], _: int, dim: int, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "width", "height", "sha256", *(f"v{number}" for number in range(dim))])
        for items, block in blocks:
            for item, vector in zip(items, block, strict=True):
                numbers = [f"{value:.9g}" for value in vector.tolist()]
                writer.writerow([item.key, item.width, item.height, item.sha256, *numbers])


def _parquet(blocks: Iterator[VectorBlock], _: int, dim: int, path: Path) -> None:
    module = parquet()
    import pyarrow as pa

    vector = pa.list_(pa.float32(), dim)
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("sha256", pa.string()),
            ("vector", vector),
        ]
    )
    with module.ParquetWriter(path, schema) as writer:
        for items, block in blocks:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), dim)
            # Parquet's text is UTF-8; other bytes are shown as the escapes that Python shows.
            keys = [item.key.encode("utf-8", "backslashreplace").decode() for item in items]
            columns = [keys, *([getattr(item, name) for item in items] for name in ("width", "height", "sha256")), flat]
            writer.write_table(pa.table(columns, schema=schema))


@dataclass(frozen=True)
class Imported:
    """How many vectors became images of the collection, and how many could not be used."""

    added: int
    unusable: int


def import_vectors(
    source: Path,
    into: Path,
    names: Path | None = None,
    images: Path | None = None,
    encoder: Encoder | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Imported:
    """Make the collection `into` of vectors that were computed elsewhere.

    `source` is a .npy of (n, dim) with `names`, a text file of a key (or a JSON string) a line, or a folder as
    clip-retrieval writes it: img_emb/*.npy and metadata/*.parquet, whose other columns become metadata. `images` is the
    folder that the names are relative to, which is what shows the pictures. Without `encoder`, the one that made the
    vectors, it can be searched by keys and vectors alone, and its fingerprint is of the vectors, wherever they lie: the
    SHA-256 of all rows in their order, as little-endian float32, and of their shape, without names and columns. Raises
    SourceError and CollectionError.
    """
    if into.exists():
        raise CollectionError(f"{into} is there already; name a new folder")
    stream = _clip_retrieval(source) if source.is_dir() else _npy_with_names(source, names)
    first = next(stream, None)
    if first is None:
        raise SourceError(f"{source}: no vectors")
    dim = first[1].shape[1]
    if encoder is not None and encoder.dim != dim:
        raise CollectionError(f"{source} holds vectors of {dim} numbers, {encoder.name} makes {encoder.dim}")
    spec, fingerprint = (encoder.name, encoder.fingerprint) if encoder else (f"imported-{dim}", "")
    content = hashlib.sha256()
    draft = into.with_name(f"{into.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with ExitStack() as stack:
            opened = store.create(draft, Header(spec, fingerprint, dim, dtype))
            stack.callback(opened.close)
            stack.enter_context(opened.writing())
            place = images.resolve() if images else source.resolve().parent
            inside = into.absolute().is_relative_to(place)
            source_id = opened.catalog.add_source(os.path.relpath(place, into.absolute()) if inside else str(place), "")
            batches = _seen(chain([first], stream), content.update)
            done = _take(opened, source_id, batches, place if images else None, progress)
            if not encoder:
                content.update(f"{done.added + done.unusable} x {dim}".encode())
                _identify(opened, content.hexdigest())
        draft.rename(into)
        sync_folder(into.absolute().parent)
    except OSError as error:
        raise CollectionError(f"{draft}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return done


Batch = tuple[list[Line], NDArray[Any]]
"""What is known of some images, the key under KEY, and their vectors (n, dim)."""
KEY = ""


def _seen(batches: Iterator[Batch], update: Callable[[memoryview], None]) -> Iterator[Batch]:
    """The same with their vectors as float32, each of which `update` is given the bytes of before it is used."""
    for lines, batch in batches:
        vectors = np.ascontiguousarray(batch, "<f4")
        update(vectors.data)
        yield lines, vectors


def _identify(opened: Store, fingerprint: str) -> None:
    """Say what made the vectors of a collection that nobody has opened yet, inside `opened.writing()`."""
    header = replace(opened.header, fingerprint=fingerprint)
    opened.catalog.put("facts", "header", header.to_text(), verb="INSERT OR REPLACE")
    write_header(opened.path, header)


def _take(
    opened: Store, source: int, batches: Iterator[Batch], images: Path | None, progress: Progress | None
) -> Imported:
    added = unusable = 0
    seen: set[bytes] = set()
    for number, (lines, vectors) in enumerate(batches, 1):
        if vectors.shape[1] != opened.header.dim:
            raise SourceError(f"vectors of {vectors.shape[1]} and of {opened.header.dim} numbers cannot be mixed")
        lengths = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > 1e-12)
        keys = [_key(str(line[KEY]), images) for line in lines]
        for at, key in enumerate(keys):
            mark = hashlib.blake2b(_blob(key), digest_size=12).digest()
            usable[at] &= mark not in seen
            seen.add(mark)
        kept = np.flatnonzero(usable)
        if len(kept):
            items = [Item(-1, source, keys[at], -1, -1, "", 0, 0) for at in kept.tolist()]
            row = opened.add_many(items, vectors[kept] / lengths[kept, None], new_keys=True)
            for offset, at in enumerate(kept.tolist()):
                put_row(opened, row + offset, {name: value for name, value in lines[at].items() if name != KEY})
        added, unusable = added + len(kept), unusable + len(lines) - len(kept)
        if number % 16 == 0:
            opened.commit()
        if progress:
            progress(added + unusable, None)
    return Imported(added, unusable)


def _blob(key: str) -> bytes:
    try:
        return to_blob(key)
    except UnicodeEncodeError as error:
        raise SourceError(f"{key!a} is no name of an image: it holds half of a surrogate pair") from error


def _key(name: str, images: Path | None) -> str:
    """A key is relative to the folder of the images."""
    if images is None or not os.path.isabs(name):  # noqa: PTH117 - a Path of each of ten million takes minutes
        return name
    path = Path(name)
    return path.relative_to(images).as_posix() if path.is_relative_to(images) else name


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: cannot be read as an array ({error})") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        raise SourceError(f"{path}: a matrix of floating-point numbers is wanted, one row an image")
    return array


def _npy_with_names(path: Path, names: Path | None) -> Iterator[Batch]:
    array = _mapped(path)
    if names is None:
        raise SourceError(f"{path}: which images are these? --names FILE lists them, one a line")
    try:
        with names.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for start in range(0, len(array), BLOCK):
                block = array[start : start + BLOCK]
                keys = [_name(line) for line in islice(file, len(block))]
                if len(keys) < len(block):
                    raise SourceError(f"{names} has {start + len(keys):,} names for {len(array):,} vectors")
                yield [{KEY: key} for key in keys], block
            if file.readline().strip():
                raise SourceError(f"{names} has more names than {path} has vectors ({len(array):,})")
    except OSError as error:
        raise SourceError(f"{names}: {(error.strerror or str(error)).lower()}") from error


def _name(line: str) -> str:
    line = line.rstrip("\r\n")
    if line.startswith('"'):
        try:
            return str(json.loads(line))
        except ValueError:
            return line
    return line


def _clip_retrieval(folder: Path) -> Iterator[Batch]:
    arrays = sorted((folder / "img_emb").glob("*.npy"), key=_number)
    tables = {_number(path): path for path in (folder / "metadata").glob("*.parquet")}
    if not arrays:
        raise SourceError(f"{folder}: no img_emb/*.npy; name a .npy file, or a folder as clip-retrieval writes it")
    for path in arrays:
        if _number(path) not in tables:
            raise SourceError(f"{path}: no metadata/*.parquet of the same number beside it")
        array, start = _mapped(path), 0
        for batch in parquet_batches(tables[_number(path)], size=BLOCK):
            lines = batch.to_pylist()
            name = key_column(lines[0], tables[_number(path)]) if lines else KEY
            told: list[Line] = [{**line, KEY: line[name]} for line in lines]
            if len(array) < start + len(told):
                raise SourceError(f"{tables[_number(path)]} has more lines than {path} has vectors ({len(array):,})")
            yield told, array[start : start + len(told)]
            start += len(told)
        if start < len(array):
            raise SourceError(f"{tables[_number(path)]} has {start:,} lines for {len(array):,} vectors in {path}")


def _number(path: Path) -> int:
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else -1
