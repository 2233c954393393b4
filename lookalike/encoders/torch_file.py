"""A file of PyTorch's to numpy arrays by name, without PyTorch: a state dictionary, or a TorchScript archive.

Both are a pickle that describes tensors, and the raw numbers of their storages: in a zip archive, or one after another
in the format that PyTorch wrote until 1.6. The file is untrusted: only plain containers and tensors are unpickled,
every view must lie inside its storage and every storage inside the file. Arrays are views of the mapped file.
"""

import io
import math
import mmap
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError
from lookalike.utils import plain_pickle
from lookalike.utils.files import reason
from lookalike.utils.plain_pickle import Dialect, Name, Refused, must_be

LARGEST_PICKLE = 16 * 1024 * 1024
"""Bytes of a description; that of a model with a thousand tensors has 200,000."""
MOST_SIDES, LONGEST_NAME = 8, 1000
MAGIC = 0x1950A86A20F9469CFC6C
"""The number with which a file of the old format begins."""
DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
WHOLE = frozenset("LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage".split())
Array = NDArray[Any]


@dataclass(slots=True, eq=False)
class _Storage:
    """Numbers of one type, which are found in the file after the description was read."""

    kind: str
    count: int
    values: Array | None = None

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return self.count * np.dtype(DTYPES[self.kind]).itemsize

    def fill(self, content: memoryview) -> None:
        """Take the numbers from the file; they are converted once, however many tensors share them."""
        if len(content) != self.size:
            raise ValueError(f"a storage of {len(content):,} bytes, not {self.size:,}")
        stored = np.frombuffer(content, DTYPES[self.kind]) if self.count else np.empty(0, DTYPES[self.kind])
        if self.kind == "BFloat16Storage":
            # bfloat16 is the upper half of a float32.
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        self.values = stored.astype(np.int64 if self.kind in WHOLE else np.float32, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> Array:
        values = self.storage.values
        assert values is not None
        strides = tuple(stride * values.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False)


@dataclass(slots=True, eq=False)
class _Module:
    """An object of a TorchScript archive: its attributes."""

    attributes: dict[str, Any] = field(default_factory=dict)


class _Storages(dict[str, _Storage]):
    """The storages of a file by key; a key that occurs twice is the same storage."""

    def stored(self, identity: Any) -> _Storage:
        """The storage of a persistent id: ("storage", type, key, place, count) and, in the old format, None."""
        try:
            word, kind, key, _, count, *view = identity
        except (TypeError, ValueError) as error:
            raise Refused("a reference that is no storage") from error
        if word != "storage" or not isinstance(kind, Name) or not isinstance(key, str) or view not in ([], [None]):
            raise Refused("a reference that is no storage")
        if kind.text not in DTYPES or not _is_count(count):
            raise Refused(f"a storage of {count!r:.20} numbers of {kind.text[:40]}")
        storage = self.setdefault(key, _Storage(kind.text, count))
        if (storage.kind, storage.count) != (kind.text, count):
            raise Refused(f"storage {key[:20]!r} twice, with different numbers")
        return storage


def read(path: Path) -> dict[str, Array]:
    """The tensors of the file by name: float32 for numbers with a fraction, int64 for whole ones; may be read-only.

    Names of a TorchScript archive are those of its state dictionary. Raises EncoderError, in one line, for a file that
    is missing, damaged, or holds something else.
    """
    try:
        with path.open("rb") as file:
            tensors = _named(_value(file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such file") from error
    except OSError as error:
        raise EncoderError(f"{path} cannot be read ({reason(error)})") from error
    except Refused as error:
        raise EncoderError(
            f"{path} is refused: it holds {error}; only tensors and plain containers are read"
        ) from error
    except (plain_pickle.Unreadable, zipfile.BadZipFile, ValueError, LookupError, struct.error) as error:
        cause = " ".join(str(error).split())[:100]
        raise EncoderError(f"{path} is no whole file of PyTorch's ({cause}); fetch it again") from error
    if tensors is None:
        raise EncoderError(f"{path} holds something else than tensors by name; save a model's state_dict()")
    return tensors


def _value(file: IO[bytes], data: mmap.mmap) -> Any:
    """What the file describes, with the numbers of its storages found."""
    storages = _Storages()
    if data[:2] == b"PK":
        value, contents = _from_zip(file, data, storages)
    elif data[:1] == pickle.PROTO:
        value, contents = _from_stream(data, storages)
    else:
        raise ValueError("neither a zip archive nor a pickle")
    for key, storage in storages.items():
        storage.fill(contents[key])
    return value


def _from_zip(file: IO[bytes], data: mmap.mmap, storages: _Storages) -> tuple[Any, Mapping[str, memoryview]]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ValueError("a name occurs twice in the archive")
    described = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(described) != 1:
        raise ValueError("the archive has no data.pkl")
    folder = described[0].removesuffix("data.pkl")
    if (order := entries.get(f"{folder}byteorder")) and bytes(_content(data, order)) != b"little":
        raise ValueError("its numbers are big-endian")
    pickled = _content(data, entries[described[0]])
    if len(pickled) > LARGEST_PICKLE:
        raise ValueError(f"a description of {len(pickled):,} bytes")
    value = plain_pickle.loads(bytes(pickled), _dialect(storages))
    return value, {key: _content(data, entries[f"{folder}data/{key}"]) for key in storages}


def _content(data: mmap.mmap, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an entry as they are in the file, with their checksum checked."""
    name, start = entry.filename[:60], entry.header_offset
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
        raise ValueError(f"{name} is compressed, which PyTorch does not do")
    start += 30 + sum(struct.unpack_from("<HH", data, start + 26))
    if start + entry.file_size > len(data):
        raise ValueError(f"{name} goes on beyond the end")
    content = memoryview(data)[start : start + entry.file_size]
    if zlib.crc32(content) != entry.CRC:
        raise ValueError(f"{name} has another checksum")
    return content


def _from_stream(data: mmap.mmap, storages: _Storages) -> tuple[Any, Mapping[str, memoryview]]:
    """The old format: five pickles (a magic number, a version, the machine, the value, keys), then the storages."""
    stream, dialect = io.BytesIO(data[:LARGEST_PICKLE]), _dialect(storages)
    magic, version, machine, value, keys = (plain_pickle.load(stream, dialect) for _ in range(5))
    if magic != MAGIC or version != 1001 or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("a pickle, but none of PyTorch's, or of a big-endian machine")
    at, contents = stream.tell(), dict[str, memoryview]()
    for key in must_be(list, keys):
        (count,) = struct.unpack_from("<q", data, at)
        if count != storages[key].count:
            raise ValueError("a storage of another length than described")
        end = at + 8 + storages[key].size
        if end > len(data):
            raise ValueError("it ends too early")
        contents[key] = memoryview(data)[at + 8 : end]
        at = end
    return value, contents


def _dialect(storages: _Storages) -> Dialect:
    return Dialect(NAMES, CALLS, _with_state, lambda _: _Module(), storages.stored, classes="__torch__.")


def _with_state(_: Any, target: Any, state: Any) -> Any:
    if not isinstance(state, dict):
        raise Refused("an object with state")
    if isinstance(target, _Module):
        target.attributes = state
    elif not isinstance(target, dict):  # an ordered dictionary's further attributes
        raise Refused("an object with state")
    return target


def _named(value: Any) -> dict[str, Array] | None:
    """The tensors by name; None for a value of another kind."""
    if isinstance(value, _Module):
        return {name: tensor.array() for name, tensor in _of_modules(value)}
    if not isinstance(value, dict) or not value:
        return None
    if not all(isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in value.items()):
        return None
    return {name: tensor.array() for name, tensor in value.items()}


def _of_modules(root: _Module) -> Iterator[tuple[str, _Tensor]]:
    """The tensors of a tree of modules; a module that is met twice counts once, so that there is an end."""
    waiting, met = [("", root)], {id(root)}
    while waiting:
        prefix, module = waiting.pop()
        for name, value in module.attributes.items():
            if isinstance(value, _Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _Module) and id(value) not in met:
                met.add(id(value))
                waiting.append((f"{prefix}{name}."[:LONGEST_NAME], value))


def _tensor(_: Any, storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> _Tensor:
    """A view; refused where it reaches beyond its storage or has more numbers than that."""
    if not isinstance(storage, _Storage) or not _are_counts(shape) or not _are_counts(strides) or not _is_count(offset):
        raise Refused("a tensor without a storage, shape and strides")
    count = math.prod(shape)
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) if count else 0
    if count > storage.count or last >= max(storage.count, 1):
        raise Refused(f"a tensor of {count:,} numbers that does not lie inside its storage of {storage.count:,}")
    return _Tensor(storage, offset if count else 0, shape, strides)


def _ordered(reader: Any, pairs: Any = ()) -> dict[Any, Any]:
    """An ordered dictionary; Python 2 wrote it with its pairs, each a list of two."""
    reader.keys([key for key, _ in pairs])
    return dict(pairs)


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= MOST_SIDES and all(_is_count(value) for value in values)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
NAMES = {
    "collections": ("OrderedDict",),
    "torch": tuple(DTYPES),
    "torch._utils": ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter"),
    "torch.jit._pickle": LISTS,
}
CALLS: dict[str, Callable[..., Any]] = {
    "OrderedDict": _ordered,
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_parameter": lambda _, tensor, *_rest: must_be(_Tensor, tensor),
    **dict.fromkeys(LISTS, lambda _, values: must_be(list, values)),
}
