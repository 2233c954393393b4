"""Parquet files to record batches, where pyarrow is installed."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lookalike.errors import LookalikeError, SourceError
from lookalike.utils.extras import install_hint


def parquet() -> ModuleType:
    """pyarrow.parquet; raises LookalikeError naming the extra where it is missing."""
    try:
        import pyarrow.parquet as module
    except ImportError as error:
        raise LookalikeError(f"Parquet files need pyarrow: `{install_hint('parquet')}`") from error
    return module  # type: ignore[no-any-return]


def parquet_batches(path: Path, columns: list[str] | None = None, size: int = 4096) -> Iterator[Any]:
    """Record batches of a file; raises SourceError."""
    module = parquet()
    import pyarrow as pa

    try:
        with module.ParquetFile(path) as file:
            yield from file.iter_batches(size, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
