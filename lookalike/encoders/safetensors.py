"""A safetensors file to arrays that are mapped from it, the header being taken for hostile."""

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError

# As the reference implementation has it.
LONGEST_HEADER = 100_000_000
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file; numpy reads it when asked to (`np.asarray`)."""

    shape: tuple[int, ...]
    _kind: str
    _data: memoryview

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        values = np.frombuffer(self._data, DTYPES[self._kind]).reshape(self.shape)
        if self._kind == "BF16":
            # bfloat16 is the upper half of a float32.
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values if dtype is None else values.astype(dtype, copy=bool(copy))


def read(path: Path) -> dict[str, Tensor]:
    """The tensors by name; raises EncoderError for a file that is missing, truncated or not of this format."""
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _tensors(data)
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such file") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise EncoderError(f"{path} is no whole safetensors file ({reason}); fetch it again") from error


def _tensors(data: memoryview) -> dict[str, Tensor]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(LONGEST_HEADER, len(data) - 8):
        raise ValueError("truncated, or no header")
    header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_without_repeats)
    if not isinstance(header, dict):
        raise ValueError("the header is no table of tensors")
    header.pop("__metadata__", None)
    body = data[8 + length :]
    tensors = {name: _tensor(name, entry, body) for name, entry in header.items()}
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    if [start for start, _ in spans] != [0, *(end for _, end in spans)][: len(spans)]:
        raise ValueError("tensors overlap or leave gaps")
    if (spans[-1][1] if spans else 0) != len(body):
        raise ValueError(f"{len(body):,} bytes of tensors where the header has {spans[-1][1] if spans else 0:,}")
    return tensors


def _tensor(name: str, entry: Any, body: memoryview) -> Tensor:
    if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
        raise ValueError(f"tensor {name[:60]!r} is of no floating type that is read here")
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, end]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        raise ValueError(f"tensor {name[:60]!r} has sides or offsets that are no counts")
    if len(shape) > 8 or not start <= end <= len(body):
        raise ValueError(f"truncated: tensor {name[:60]!r} ends beyond the file")
    if math.prod(shape) * DTYPES[entry["dtype"]].itemsize != end - start:
        raise ValueError(f"tensor {name[:60]!r} has {end - start:,} bytes, which its shape {shape} does not fit")
    return Tensor(tuple(shape), entry["dtype"], body[start:end])


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return table
