"""The tasks of the workers: decode a part of the manifest, encode a batch of prepared images."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lookalike.encoders import load_encoder
from lookalike.errors import EncoderMismatch, ImageError
from lookalike.images import decode as images
from lookalike.images import remote as places
from lookalike.images import sources
from lookalike.integrations.ray import records
from lookalike.types import Encoder

READS_AT_ONCE = 4
"""A store answers in tens of milliseconds: while an image is decoded, the next ones are read."""
CHUNK = 32
"""Images of a block: 5 MB at 224 x 224."""


class Decode:
    """Rows of the manifest to prepared images, or to reasons, in small blocks, so that encoding starts early."""

    def __init__(self, encoder: str, system: Any, image_column: str) -> None:
        self.encoder, self.system, self.image_column = encoder, system, image_column

    def __call__(self, table: Any) -> Iterator[Any]:
        """A pyarrow table of `listed_schema` to tables of `prepared_schema`."""
        import pyarrow as pa
        from threadpoolctl import threadpool_limits

        encoder, rows = encoder_of(self.encoder), table.to_pylist()
        with ThreadPoolExecutor(READS_AT_ONCE) as pool, threadpool_limits(1, "blas"):
            read = BytesReader(self.system, self.image_column)
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                # Only reading runs ahead: other tasks already compute on all cores.
                reads = [pool.submit(read, row) for row in chunk]
                outcomes = [prepared(row, data.result, encoder) for row, data in zip(chunk, reads, strict=True)]
                yield pa.Table.from_pylist(outcomes, schema=records.prepared_schema())


class Encode:
    """Prepared images to vectors, with an encoder that stays loaded; each actor of the pool has its own."""

    def __init__(self, job: records.Job) -> None:
        self.job, self.encoder = job, load_encoder(job.encoder)
        if self.encoder.fingerprint != job.fingerprint:
            raise EncoderMismatch(
                f"{job.encoder} on this worker is {self.encoder.fingerprint[:12]}, in the job it is "
                f"{job.fingerprint[:12]}; give all nodes the same weights and the same version"
            )

    def __call__(self, table: Any) -> Any:
        """A table of `prepared_schema` to one of `result_schema`."""
        import pyarrow as pa
        from threadpoolctl import threadpool_limits

        arrays = [
            np.frombuffer(row["data"], row["dtype"]).reshape(row["shape"])
            for row in table.select(["data", "dtype", "shape"]).to_pylist()
            if row["data"] is not None
        ]
        with threadpool_limits(1, "blas"):
            vectors = self.encoder.encode_batch(arrays) if arrays else np.empty((0, self.job.dim), np.float32)
        schema = records.result_schema(self.job.dim, self.job.dtype)
        whole = iter(vectors.astype(self.job.dtype))
        column = [None if data is None else next(whole) for data in table.column("data").to_pylist()]
        facts = [table.column(name).combine_chunks() for name in schema.names[:7]]
        stamp = pa.array([self.job.fingerprint] * table.num_rows, pa.string())
        photo = table.column(records.FACTS).combine_chunks()
        return pa.table([*facts, stamp, pa.array(column, schema.field("vector").type), photo], schema=schema)


@functools.cache
def encoder_of(name: str) -> Encoder:
    """The encoder, loaded once in each worker process for its preprocessing."""
    return load_encoder(name)


class BytesReader:
    """Reads the bytes of rows of the manifest; keeps a single row group of a Parquet file in memory."""

    def __init__(self, system: Any, image_column: str) -> None:
        self._system = system
        self._image_column = image_column
        self._group = functools.lru_cache(maxsize=1)(self._read_group)

    def __call__(self, row: dict[str, Any]) -> bytes:
        """The image's bytes; raises ImageError."""
        if row["reason"] is not None:
            raise ImageError(row["reason"])
        if row["kind"] == "url":
            return sources.fetch(row["place"])
        limit = images.LIMITS.bytes
        if row["bytes"] > limit:
            raise ImageError(f"{row['bytes']:,} bytes, over the limit of {limit:,}")
        try:
            if row["kind"] == "parquet":
                value = self._group(row["place"], row["size"])[row["start"]].as_py()
                value = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(value, bytes):
                    raise ImageError("no bytes in its column")
                return value
            with self._system.open_input_file(row["place"]) as file:
                if row["size"] >= 0:
                    file.seek(row["start"])
                return bytes(file.read(row["size"] if row["size"] >= 0 else limit + 1))
        except FileNotFoundError as error:
            raise ImageError("no such file") from error
        except OSError as error:
            raise ImageError(places.short(error)) from error

    def _read_group(self, path: str, group: int) -> Any:
        import pyarrow.parquet as pq

        with self._system.open_input_file(path) as raw, pq.ParquetFile(raw) as file:
            return file.read_row_group(group, columns=[self._image_column]).column(0)


def prepared(row: dict[str, Any], read: Callable[[], bytes], encoder: Encoder) -> dict[str, Any]:
    """An image as a row of `prepared_schema`: decoded and prepared, or with a reason."""
    result: dict[str, Any] = {"key": row["key"], "bytes": row["bytes"], "mtime_ns": row["mtime_ns"]}
    try:
        data = read()
        decoded = images.decode(data, size=encoder.decode_size)
        array = np.ascontiguousarray(images.prepare(encoder, decoded))
    except ImageError as error:
        return {**result, "reason": str(error)}
    return {
        **result,
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": decoded.width,
        "height": decoded.height,
        "data": array.tobytes(),
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        records.FACTS: json.dumps(decoded.facts.to_json()) if decoded.facts else None,
    }
