"""The output of a job: Parquet with a row for every image, embedded or skipped, and a small job.json beside it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from lookalike.errors import SourceError
from lookalike.images import remote as places
from lookalike.types import Ids, Vectors

VECTORS, MANIFEST, CHECKPOINT, JOB, SKIPPED = "vectors", "manifest", "checkpoint", "job.json", "skipped.jsonl"
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Job:
    """The constants of a job, which are equal in all its runs."""

    source: str
    encoder: str
    fingerprint: str
    dim: int
    dtype: str
    key: str = ""
    image: str = ""
    format: int = 1


@dataclass(frozen=True)
class Record:
    """An embedded image."""

    key: str
    sha256: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    facts: str | None = None
    """What its file says of itself, as JSON; None in results of earlier releases."""


FACTS = "facts"


def listed_schema() -> Any:
    """The columns of the manifest: `listing.Listed`."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    names = [("key", text), ("place", text), ("kind", text), ("start", number), ("size", number), ("bytes", number)]
    return pa.schema([*names, ("mtime_ns", number), ("reason", text)])


def prepared_schema() -> Any:
    """The columns between decoding and encoding: arrays as bytes, since shapes may differ between images."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = [("key", text), ("sha256", text), ("width", pa.int32()), ("height", pa.int32()), ("bytes", number)]
    columns += [("mtime_ns", number), ("reason", text), ("data", pa.binary()), ("dtype", text)]
    return pa.schema([*columns, ("shape", pa.list_(pa.int32())), (FACTS, text)])


def result_schema(dim: int, dtype: str) -> Any:
    """The columns of the result; `vector` is null for a row with a `reason`."""
    import pyarrow as pa

    fields = list(prepared_schema())[:7]
    vector = pa.list_(pa.float16() if dtype == "float16" else pa.float32(), dim)
    return pa.schema([*fields, ("fingerprint", pa.string()), ("vector", vector), (FACTS, pa.string())])


def read_job(target: str) -> Job | None:
    """The job at `target`, or None where there is no job; raises SourceError."""
    text = places.read_text(places.join(target, JOB))
    if text is None:
        return None
    try:
        job = Job(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise SourceError(f"{target}/{JOB} cannot be read; it was made by another version, or damaged") from error
    return job


def write_job(target: str, job: Job) -> None:
    """Write job.json at `target`."""
    places.write_text(places.join(target, JOB), json.dumps(asdict(job), indent=2) + "\n")


def require_job(target: str) -> Job:
    """As `read_job`; raises SourceError where there is no job."""
    job = read_job(target)
    if job is None:
        raise SourceError(f"{target}: no result of `lookalike embed` lies here ({JOB} is missing)")
    return job


def dataset(target: str) -> Any:
    """The result as a pyarrow dataset of all committed files; None before the first."""
    from pyarrow import ArrowException
    from pyarrow import dataset as ds

    folder = places.join(target, VECTORS)
    if places.kind(folder) != "folder":
        return None
    system, path = places.place(folder)
    try:
        return ds.dataset(path, filesystem=system, format="parquet")
    except (ArrowException, OSError) as error:
        raise _unreadable(target, error) from error


def _batches(target: str, result: Any, **options: Any) -> Iterator[Any]:
    from pyarrow import ArrowException

    try:
        yield from result.to_batches(**options)
    except (ArrowException, OSError) as error:
        raise _unreadable(target, error) from error


def _unreadable(target: str, error: Exception) -> SourceError:
    return SourceError(
        f"{places.join(target, VECTORS)}: cannot be read ({places.short(error)}); "
        "run the `lookalike embed` that wrote it again"
    )


def counts(target: str) -> tuple[int, dict[str, int]]:
    """The number of images with a vector, and of skipped ones by reason; each key counts once."""
    result = dataset(target)
    if result is None or "reason" not in result.schema.names:
        return 0, {}
    # Hashes, which take 8 bytes a key.
    keys: dict[str | None, list[Ids]] = {None: []}
    for batch in _batches(target, result, columns=["key", "reason"]):
        table = zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
        for reason, rows in groupby(sorted(table, key=lambda row: row[1] or ""), key=lambda row: row[1]):
            keys.setdefault(reason, []).append(np.array([hash(key) for key, _ in rows], np.int64))
    seen = _unique(keys.pop(None))
    images, reasons = len(seen), Counter[str]()
    for reason, blocks in keys.items():
        fresh = np.setdiff1d(_unique(blocks), seen, assume_unique=True)
        reasons[str(reason)] = len(fresh)
        seen = np.union1d(seen, fresh)
    return images, {reason: count for reason, count in reasons.most_common() if count}


def _unique(blocks: Sequence[Ids]) -> Ids:
    return np.unique(np.concatenate([np.empty(0, np.int64), *blocks]))


def skipped(target: str) -> Iterator[tuple[str, str]]:
    """(key, reason) of skipped images."""
    from pyarrow import dataset as ds

    result = dataset(target)
    if result is None:
        return
    for batch in _batches(target, result, columns=["key", "reason"], filter=ds.field("reason").is_valid()):
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)


def records(target: str) -> Iterator[tuple[list[Record], Vectors]]:
    """The embedded images in blocks with unit rows (n, dim) float32, always in the same order."""
    from pyarrow import dataset as ds

    job, result = require_job(target), dataset(target)
    if result is None:
        return
    names = [
        "key",
        "sha256",
        "width",
        "height",
        "bytes",
        "mtime_ns",
        *([FACTS] if FACTS in result.schema.names else []),
    ]
    columns = [*names, "vector"]
    for batch in _batches(target, result, columns=columns, filter=ds.field("reason").is_null(), batch_size=4096):
        if not batch.num_rows:
            continue
        table = {name: batch.column(name).to_pylist() for name in names}
        rows = [Record(*values) for values in zip(*table.values(), strict=True)]
        vectors = to_array(batch.column("vector"), job.dim)
        # float32 rows are the encoder's own, to the last bit.
        yield rows, unit(vectors) if job.dtype == "float16" else vectors


def to_array(column: Any, dim: int) -> Vectors:
    """A fixed-size list column without nulls to (n, dim) float32."""
    # A filtered batch is a slice of its buffers, which `flatten` respects.
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)


def unit(vectors: Vectors) -> Vectors:
    """Rows of unit length; float16 changes lengths by 1e-4."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
