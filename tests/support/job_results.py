"""What `lookalike embed` would have written, of images that there are not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.encoders import load_encoder
from lookalike.integrations.ray import records
from lookalike.types import Vectors


def write_result(folder: Path, vectors: Vectors) -> None:
    """A job of the encoder `thumbnail` with these rows, under the keys 00000.jpg, 00001.jpg and so on.

    As earlier releases wrote it: without what images say of themselves.
    """
    encoder, dim = load_encoder("thumbnail"), vectors.shape[1]
    assert dim == encoder.dim
    records.write_job(str(folder), records.Job(str(folder), "thumbnail", encoder.fingerprint, dim, "float32"))
    (folder / records.VECTORS).mkdir()
    schema = records.result_schema(dim, "float32")
    schema = schema.remove(schema.get_field_index(records.FACTS))
    numbers = np.arange(len(vectors))
    columns = {
        "key": [f"{number:05}.jpg" for number in numbers],
        "sha256": [f"{number:064x}" for number in numbers],
        "width": np.ones(len(vectors), np.int32),
        "height": np.ones(len(vectors), np.int32),
        "bytes": numbers,
        "mtime_ns": numbers,
        "reason": pa.nulls(len(vectors), pa.string()),
        "fingerprint": [encoder.fingerprint] * len(vectors),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
    }
    pq.write_table(pa.table(columns, schema=schema), folder / records.VECTORS / "part.parquet")
