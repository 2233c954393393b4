"""Collections to files that other programs read, and other programs' vectors to a collection."""

import hashlib
import io
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import load_encoder
from lookalike.errors import CollectionError, SourceError
from lookalike.images.facts import KINDS, PhotoFacts
from lookalike.index.library import library
from lookalike.storage import photo_facts, store
from lookalike.storage.catalog import Catalog, Item, to_blob
from lookalike.storage.manifest import Header, write_header
from lookalike.storage.metadata import Line, key_column, put_row
from lookalike.storage.regions import Named
from lookalike.storage.store import Store
from lookalike.types import Encoder, Ids, Progress, Vectors
from lookalike.utils.files import reason, replacing, sync_folder
from lookalike.utils.parquet import parquet, parquet_batches
from lookalike.utils.tables import csv_writer
from lookalike.utils.text import command, counted

Format = Literal["npy", "parquet", "csv", "faiss"]
BLOCK = 4096


def export(
    collection: Store, out: Path, kind: Format, progress: Progress | None = None, named: Named | None = None
) -> list[Path]:
    """Write the live rows to the folder `out`, block by block; returns the files.

    npy: vectors.npy (n, dim) float32, and keys.jsonl with a JSON string per line in step with it. faiss: vectors.faiss,
    an IndexFlatIP, with the same keys.jsonl. csv: key, width, height, sha256, what the images say of themselves where
    that was read (`images.facts`), and v0, v1, … parquet: the same with the vector as a list. Exported are the rows
    that are live at the start; writers are not blocked meanwhile. Nothing is replaced: raises CollectionError where a
    file exists. `named` are regions, which get the names of their images.
    """
    if kind not in get_args(Format):
        raise CollectionError(f"format {kind!r} is unknown; there are: {', '.join(get_args(Format))}")
    names = {"npy": ["vectors.npy", "keys.jsonl"], "faiss": ["vectors.faiss", "keys.jsonl"]}
    paths = [out / name for name in names.get(kind, [f"vectors.{kind}"])]
    for path in paths:
        if path.exists():
            raise CollectionError(f"{path} is there already; name another folder")
    described = Described.of(collection)
    writers: dict[str, Callable[..., None]] = {
        "npy": _npy, "faiss": _faiss, "csv": partial(_csv, described), "parquet": partial(_parquet, described)
    }  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = named.rows if named else collection.catalog.live_rows()
        blocks = _with_progress(_blocks(collection, rows, named), len(rows), progress)
        with ExitStack() as stack:
            files = [stack.enter_context(replacing(path, durable=False)) for path in paths]
            writers[kind](blocks, len(rows), collection.header.dim, *files)
    except OSError as error:
        raise CollectionError(f"{out}: cannot be written ({reason(error)})") from error
    finally:
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return paths


@dataclass(frozen=True)
class Described:
    """What the images of a collection say of themselves, as columns; none where nothing was read."""

    catalog: Catalog
    names: tuple[str, ...]

    @classmethod
    def of(cls, collection: Store) -> "Described":
        """All facts, where any were read."""
        return cls(collection.catalog, tuple(KINDS) if photo_facts.has_any(collection.catalog) else ())

    def values(self, items: Sequence[Item]) -> list[list[Any]]:
        """A list for each item, in the order of `names`; None for what is not known."""
        if not self.names:
            return [[] for _ in items]
        rows = [facts or PhotoFacts() for facts in photo_facts.of_items(self.catalog, items)]
        return [[getattr(row, name) for name in self.names] for row in rows]


VectorBlock = tuple[list[Item], Vectors]


def _blocks(collection: Store, rows: Ids, named: Named | None) -> Iterator[VectorBlock]:
    """A query for each row: a transaction over all of them would keep a writer from committing."""
    for start in range(0, len(rows), BLOCK):
        ids = rows[start : start + BLOCK]
        items = [_intact(collection, row) for row in ids.tolist()]
        yield [named.item(item) for item in items] if named else items, collection.vectors.rows(ids)


def _intact(collection: Store, row: int) -> Item:
    item = collection.intact_item(row)
    if item is None:
        way = f"run `{command('verify', collection.path, '--repair')}` first"
        raise CollectionError(f"{collection.path}: row {row} ({collection.catalog.item(row).key}) is damaged; {way}")
    return item


def _with_progress(blocks: Iterator[VectorBlock], total: int, progress: Progress | None) -> Iterator[VectorBlock]:
    done = 0
    for block in blocks:
        yield block
        done += len(block[0])
        if progress:
            progress(done, total)


def _npy(blocks: Iterator[VectorBlock], rows: int, dim: int, vectors: IO[bytes], keys: IO[bytes]) -> None:
    np.lib.format.write_array_header_1_0(vectors, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
    _write_blocks(blocks, vectors, keys)


def _faiss(blocks: Iterator[VectorBlock], rows: int, dim: int, vectors: IO[bytes], keys: IO[bytes]) -> None:
    """An empty IndexFlatIP as FAISS writes it, with its two counts corrected, followed by the rows."""
    faiss = library()

    head = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dim)).tobytes())
    # int32 dim, int64 count, …, and last how many numbers follow.
    struct.pack_into("<q", head, 8, rows)
    struct.pack_into("<Q", head, len(head) - 8, rows * dim)
    vectors.write(head)
    _write_blocks(blocks, vectors, keys)


def _write_blocks(blocks: Iterator[VectorBlock], vectors: IO[bytes], keys: IO[bytes]) -> None:
    """Vectors as little-endian float32; keys as a JSON string per line: a name may contain a line break."""
    for items, block in blocks:
        vectors.write(np.ascontiguousarray(block, "<f4").data)
        keys.write("".join(f"{json.dumps(item.key)}\n" for item in items).encode("ascii"))


def _csv(described: Described, blocks: Iterator[VectorBlock], _: int, dim: int, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        writer = csv_writer(text, "\r\n")
        names = ["key", "width", "height", "sha256", *described.names]
        writer.writerow([*names, *(f"v{number}" for number in range(dim))])
        for items, block in blocks:
            for item, facts, vector in zip(items, described.values(items), block, strict=True):
                numbers = [f"{value:.9g}" for value in vector.tolist()]
                told = ["; ".join(value) if isinstance(value, tuple) else value for value in facts]
                writer.writerow([item.key, item.width, item.height, item.sha256, *told, *numbers])
    finally:
        text.detach()  # else it would close the file


def _parquet(described: Described, blocks: Iterator[VectorBlock], _: int, dim: int, file: IO[bytes]) -> None:
    module = parquet()
    import pyarrow as pa

    vector = pa.list_(pa.float32(), dim)
    kinds = {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_(), list: pa.list_(pa.string())}
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("sha256", pa.string()),
            *((name, kinds[KINDS[name][-1]]) for name in described.names),
            ("vector", vector),
        ]
    )
    with module.ParquetWriter(file, schema) as writer:
        for items, block in blocks:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), dim)
            # Text in Parquet is UTF-8; other bytes become Python's backslash escapes.
            keys = [item.key.encode("utf-8", "backslashreplace").decode() for item in items]
            sizes = ([getattr(item, name) for item in items] for name in ("width", "height", "sha256"))
            facts = zip(*described.values(items), strict=True)
            writer.write_table(pa.table([keys, *sizes, *map(list, facts), flat], schema=schema))


@dataclass(frozen=True)
class Imported:
    """How many vectors were added as images of the collection, and how many could not be used."""

    added: int
    unusable: int


def import_vectors(
    source: Path,
    into: Path,
    names: Path | None = None,
    images: Path | None = None,
    encoder: str | Encoder | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Imported:
    """Make the collection `into` of vectors that were computed elsewhere. Raises SourceError and CollectionError.

    `source` is a .npy of (n, dim) with `names`, a text file with a key (or a JSON string) per line, or a folder as
    clip-retrieval writes it: img_emb/*.npy and metadata/*.parquet, whose other columns become metadata. `images` is the
    folder that the names are relative to, needed to show the pictures. `encoder` is the one that made the vectors;
    without it, the collection can be searched by keys and vectors only, and its fingerprint is that of the vectors: the
    SHA-256 of all rows in order, as little-endian float32, and of their shape, without names and columns.
    """
    if into.exists():
        raise CollectionError(f"{into} is there already; name a new folder")
    stream = _clip_retrieval(source) if source.is_dir() else _npy_with_names(source, names)
    first = next(stream, None)
    if first is None:
        raise SourceError(f"{source}: no vectors")
    dim = first[1].shape[1]
    if isinstance(encoder, str):
        # Weights may have to be fetched for it, so what is imported is looked at first.
        encoder = load_encoder(encoder)
    if encoder is not None and encoder.dim != dim:
        raise CollectionError(f"{source} holds vectors of {dim} numbers, {encoder.name} makes {encoder.dim}")
    spec, fingerprint = (encoder.name, encoder.fingerprint) if encoder else (f"imported-{dim}", "")
    content = hashlib.sha256()
    draft = into.with_name(f"{into.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with closing(store.create(draft, Header(spec, fingerprint, dim, dtype))) as new, new.writing():
            place = images.resolve() if images else source.resolve().parent
            is_inside = into.absolute().is_relative_to(place)
            location = os.path.relpath(place, into.absolute()) if is_inside else str(place)
            source_id = new.catalog.add_source(location, "")
            batches = _hashed(chain([first], stream), content.update)
            report = _add_batches(new, source_id, batches, place if images else None, progress)
            if not encoder:
                content.update(f"{report.added + report.unusable} x {dim}".encode())
                _set_fingerprint(new, content.hexdigest())
        draft.rename(into)
        sync_folder(into.absolute().parent)
    except OSError as error:
        raise CollectionError(f"{draft}: cannot be written ({reason(error)})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


Batch = tuple[list[Line], NDArray[Any]]
"""The columns of some images, with the key under KEY, and their vectors (n, dim)."""
KEY = ""


def _hashed(batches: Iterator[Batch], update: Callable[[memoryview], None]) -> Iterator[Batch]:
    """The same batches with vectors as float32, whose bytes go to `update` first."""
    for lines, batch in batches:
        vectors = np.ascontiguousarray(batch, "<f4")
        update(vectors.data)
        yield lines, vectors


def _set_fingerprint(new: Store, fingerprint: str) -> None:
    """Change the header of a collection that no other process has opened yet, inside `new.writing()`."""
    header = replace(new.header, fingerprint=fingerprint)
    new.catalog.put("facts", "header", header.to_text(), verb="INSERT OR REPLACE")
    write_header(new.path, header)


def _add_batches(
    new: Store, source: int, batches: Iterator[Batch], images: Path | None, progress: Progress | None
) -> Imported:
    added = unusable = 0
    seen: set[bytes] = set()
    for number, (lines, vectors) in enumerate(batches, 1):
        if vectors.shape[1] != new.header.dim:
            raise SourceError(f"vectors of {vectors.shape[1]} and of {new.header.dim} numbers cannot be mixed")
        lengths = np.linalg.norm(vectors, axis=1)
        is_usable = np.isfinite(lengths) & (lengths > 1e-12)
        keys = [_key(str(line[KEY]), images) for line in lines]
        for at, key in enumerate(keys):
            digest = hashlib.blake2b(_blob(key), digest_size=12).digest()
            is_usable[at] &= digest not in seen
            seen.add(digest)
        usable = np.flatnonzero(is_usable)
        if len(usable):
            items = [Item(-1, source, keys[at], -1, -1, "", 0, 0) for at in usable.tolist()]
            row = new.add_many(items, vectors[usable] / lengths[usable, None], new_keys=True)
            for offset, at in enumerate(usable.tolist()):
                put_row(new, row + offset, {name: value for name, value in lines[at].items() if name != KEY})
        added, unusable = added + len(usable), unusable + len(lines) - len(usable)
        if number % 16 == 0:
            new.commit()
        if progress:
            progress(added + unusable, None)
    return Imported(added, unusable)


def _blob(key: str) -> bytes:
    try:
        return to_blob(key)
    except UnicodeEncodeError as error:
        raise SourceError(f"{key!a} is no name of an image: it holds half of a surrogate pair") from error


def _key(name: str, images: Path | None) -> str:
    """The key of an image: its name relative to the folder of the images."""
    if images is None or not os.path.isabs(name):  # noqa: PTH117 - a Path of each of ten million takes minutes
        return name
    path = Path(name)
    return path.relative_to(images).as_posix() if path.is_relative_to(images) else name


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read as an array ({reason(error)})") from error
    # numpy reads the header with Python's parser, and advises to load what it refuses with pickle.
    except (ValueError, EOFError, SyntaxError, TokenError) as error:
        raise SourceError(f"{path}: cannot be read as an array (no .npy file of numbers)") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        raise SourceError(f"{path}: a matrix of floating-point numbers is wanted, one row an image")
    return array


def _npy_with_names(path: Path, names: Path | None) -> Iterator[Batch]:
    array = _mapped(path)
    if names is None:
        raise SourceError(f"{path}: which images are these? --names FILE lists them, one a line")
    try:
        with names.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            for start in range(0, len(array), BLOCK):
                block = array[start : start + BLOCK]
                keys = [_name(line) for line in islice(file, len(block))]
                if len(keys) < len(block):
                    raise SourceError(
                        f"{names} has {counted(start + len(keys), 'name')} for {counted(len(array), 'vector')}"
                    )
                yield [{KEY: key} for key in keys], block
            if file.readline().strip():
                raise SourceError(f"{names} has more names than {path} has vectors ({len(array):,})")
    except OSError as error:
        raise SourceError(f"{names}: {reason(error)}") from error


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
            keyed: list[Line] = [{**line, KEY: line[name]} for line in lines]
            if len(array) < start + len(keyed):
                raise SourceError(f"{tables[_number(path)]} has more lines than {path} has vectors ({len(array):,})")
            yield keyed, array[start : start + len(keyed)]
            start += len(keyed)
        if start < len(array):
            raise SourceError(
                f"{tables[_number(path)]} has {counted(start, 'line')} for {counted(len(array), 'vector')} in {path}"
            )


def _number(path: Path) -> int:
    """The last number in a file's name, which pairs vectors and metadata; -1 where there is none."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else -1
