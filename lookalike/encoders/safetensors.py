"""A safetensors file to memory-mapped arrays; the header is untrusted.

The library checks the header: its length, every type, shape and offset, and that the tensors cover the file without
gaps. Its front end for numpy copies each tensor and has no bfloat16, so this module makes views of the bytes.
"""

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError

MOST_SIDES = 8
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the file, read by `np.asarray`."""

    shape: tuple[int, ...]
    _kind: str
    _data: memoryview

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        values = np.frombuffer(self._data, DTYPES[self._kind]).reshape(self.shape)
        if self._kind == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values if dtype is None else values.astype(dtype, copy=bool(copy))


def read(path: Path) -> dict[str, StoredTensor]:
    """The tensors by name; raises EncoderError for a file that is missing, truncated or not of this format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"), path.open("rb") as file:
            return _tensors(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such file") from error
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise EncoderError(f"{path} is no whole safetensors file ({reason}); fetch it again") from error


def _tensors(data: memoryview) -> dict[str, StoredTensor]:
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8:start]), object_pairs_hook=_without_repeats)
    header.pop("__metadata__", None)
    return {name: _tensor(name, entry, data[start:]) for name, entry in header.items()}


def _tensor(name: str, entry: dict[str, Any], body: memoryview) -> StoredTensor:
    if entry["dtype"] not in DTYPES or len(entry["shape"]) > MOST_SIDES:
        raise ValueError(f"tensor {name[:60]!r} is of no type or shape that is read here")
    start, end = entry["data_offsets"]
    return StoredTensor(tuple(entry["shape"]), entry["dtype"], body[start:end])


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The library takes the last of two.
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return table
