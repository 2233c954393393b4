"""Plain values come through; anything that could run code, or make much of little, does not."""

import io
import os
import pickle
import random
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.datasets import plain_pickle
from lookalike.errors import EvaluationError

PLAIN = {
    "text": ["a", "bé", ""],
    "numbers": (1, -2, 2**70, 1.5, True, None, 255, 65536),
    "sets": [{1, 2}, frozenset({"x"}), set()],
    "bytes": [b"\x00\xff", b"", bytearray(b"ab")],
    "nested": {"deep": {"er": [(1, 2, 3, 4), (), (1,)]}},
}
ARRAYS: dict[str, np.ndarray[Any, Any] | np.float64] = {
    "int64": np.arange(6).reshape(2, 3),
    "int32 empty": np.array([], np.int32),
    "float fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bool": np.array([True, False]),
    "big endian": np.array([1, 2, 3], ">i4"),
    "scalar": np.float64(2.5),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_come_through(protocol: int) -> None:
    assert plain_pickle.loads(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_arrays_come_through(name: str, protocol: int) -> None:
    value = plain_pickle.loads(pickle.dumps([ARRAYS[name], ARRAYS[name]], protocol))
    np.testing.assert_array_equal(value[1], ARRAYS[name])
    assert value[0].dtype == ARRAYS[name].dtype


def test_what_python_2_and_numpy_1_wrote_comes_through() -> None:
    written = pickle.dumps({"easy": np.array([3, 4])}, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert plain_pickle.loads(written)["easy"].tolist() == [3, 4]
    assert plain_pickle.loads(b"\x80\x02U\x05i_001q\x00.") == "i_001"


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


HOSTILE = {
    "a shell command": Runs(os.system, "true"),
    "eval": Runs(eval, "1"),
    "an open file": Runs(io.open, "/dev/null"),
    "a class": OrderedDict(a=1),
    "an object array": np.array([{}, []], object),
    "a structured array": np.zeros(2, [("a", "i4"), ("b", "f8")]),
    "a path": Path("x"),
    "getattr": Runs(getattr, "x", "upper"),
    "a large bytearray": Runs(bytearray, 10**12),
    "a large bytes": Runs(bytes, 10**12),
    "complex": 1j,
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_no_plain_data_is_refused(name: str, protocol: int) -> None:
    with pytest.raises(EvaluationError, match=r"^refused: the pickle holds "):
        plain_pickle.loads(pickle.dumps([HOSTILE[name]], protocol))


def test_nothing_that_is_named_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    file = tmp_path / "gnd.pkl"
    file.write_bytes(pickle.dumps(Runs(os.mkdir, str(mark))))
    with pytest.raises(EvaluationError, match=r"gnd\.pkl: refused: the pickle holds the name 'posix\.mkdir'"):
        plain_pickle.load(file)
    assert not mark.exists()


def _doubling() -> bytes:
    """30 levels of a tuple that holds the one below twice, as the key of a dict: hashing it takes 2**30 steps."""
    return b"\x80\x02}(K\x01" + b"\x85" + b"2\x86" * 30 + b"Nu."


def _copies() -> bytes:
    """A long text in the memo, encoded again and again by four bytes at a time."""
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    call = b"h\x01h\x00U\x06latin1\x86R0"
    return b"\x80\x02" + text + b"q\x000c_codecs\nencode\nq\x010" + call * 1000 + b"N."


BOMBS = {
    "more bytes than there are": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "a memo of four thousand million": b"\x80\x02Nr" + b"\xff\xff\xff\xff" + b"j\xff\xff\xff\x7f.",
    "an array larger than its bytes": pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85", 1),
    "a key that takes for ever to hash": _doubling(),
    "copies of copies": _copies(),
    "keys of one hash": pickle.dumps({k * (2**61 - 1): None for k in range(1, 100)}, 2),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_cannot_ask_for_much(name: str) -> None:
    with pytest.raises(EvaluationError):
        plain_pickle.loads(BOMBS[name])


def test_a_large_or_missing_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.pkl"
    with large.open("wb") as file:
        file.truncate(plain_pickle.LARGEST_FILE + 1)
    with pytest.raises(EvaluationError, match="over the limit"):
        plain_pickle.load(large)
    with pytest.raises(EvaluationError, match="no such file"):
        plain_pickle.load(tmp_path / "none.pkl")


@pytest.mark.parametrize("data", [b"", b".", b"garbage", b"\x80\x02", b"(.", b"K\x01h\x07.", b"a", b"e.", b"R."])
def test_what_is_no_pickle_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(EvaluationError, match=r"^(not a readable pickle|refused)"):
        plain_pickle.loads(data)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_damaged_pickle_is_read_or_refused_and_nothing_else() -> None:
    whole = bytearray(pickle.dumps({"gnd": [{"bbx": [1.0, 2.0], "easy": np.arange(5)}], **PLAIN}, 2))
    chance = random.Random(6)
    refused = []
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            plain_pickle.loads(bytes(data[: chance.randint(1, len(data))]))
        except EvaluationError as error:
            refused.append(str(error))
    assert len(refused) > 1000
    assert not any("\n" in message for message in refused)
