"""Plain values come through; anything that could run code, or make much of little, does not."""

import contextlib
import copyreg
import io
import os
import pickle
import random
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import plain_pickle

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


# As Python 2's pickle.dumps({"bbx": numpy.array([-1.5, 2]), "name": "\xe9"}) has it: bytes are text, letters escaped.
PYTHON_2 = rb"""(dp0
S'bbx'
p1
cnumpy.core.multiarray
_reconstruct
p2
(cnumpy
ndarray
p3
(I0
tp4
S'b'
p5
tp6
Rp7
(I1
(I2
tp8
cnumpy
dtype
p9
(S'f8'
p10
I0
I1
tp11
Rp12
(I3
S'<'
p13
NNNI-1
I-1
I0
tp14
bI00
S'\x00\x00\x00\x00\x00\x00\xf8\xbf\x00\x00\x00\x00\x00\x00\x00@'
p15
tp16
bsS'name'
p17
S'\xe9'
p18
s."""


def test_the_earliest_protocol_of_python_2_comes_through() -> None:
    value = plain_pickle.loads(PYTHON_2)
    assert value["bbx"].tolist() == [-1.5, 2]
    assert value["name"] == "é"


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
    "an array of text": np.array(["ab"]),
    "an array of bytes": np.array([b"ab"]),
    "an array of nothing known": np.zeros(2, "V4"),
    "an array of times": np.zeros(2, "M8[s]"),
    "an array of complex numbers": np.zeros(2, complex),
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


def _huge_shape() -> bytes:
    """An array whose shape has thousands of huge numbers, each a byte of file: their product would take long."""
    whole = pickle.dumps(np.zeros(2), 2)
    shape = b"(" + b"\x8a\xff" + b"\x7f" * 255 + b"2" * 5000 + b"t"
    return whole.replace(b"K\x02\x85", shape, 1)


BOMBS = {
    "a key that is a set": b"\x80\x04}(K\x01\x91Ns.",
    "a member that is a tuple": b"\x80\x04\x8f(K\x01\x85\x90.",
    "a shape of huge numbers": _huge_shape(),
    "a call with thousands of arguments": b"cnumpy\ndtype\n(X\x02\x00\x00\x00i8" + b"N" * 2000 + b"tR0N.",
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


KEYS = [b"J" + struct.pack("<i", number << 16) for number in range(51)]
NUMBERS = b"".join(KEYS)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04}(" + b"".join(key + b"N" for key in KEYS) + b"u.",
        b"\x80\x04}" + b"".join(key + b"Ns" for key in KEYS) + b".",
        b"(" + b"".join(key + b"N" for key in KEYS) + b"d.",
        b"\x80\x04\x8f(" + NUMBERS + b"\x90.",
        b"\x80\x04(" + NUMBERS + b"\x91.",
        b"c__builtin__\nset\n((" + NUMBERS + b"ltR.",
        b"N" + b"".join(b"p%d\n" % (number * (2**61 - 1)) for number in range(1, 53)) + b".",
    ],
    ids=["items", "an item at a time", "a dict", "a set", "a frozenset", "a call of set", "the memo"],
)
def test_there_is_an_end_to_numbers_that_can_be_made_to_collide(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.utils.plain_pickle.MOST_NUMBERS", 50)
    with pytest.raises(EvaluationError, match=r"more than 50 keys that are numbers|a memo without order"):
        plain_pickle.loads(data)


def _length(opcode: bytes, layout: str, size: int) -> bytes:
    return b"\x80\x05" + opcode + struct.pack(layout, size) + b"abc."


CLAIMS = {
    "LONG4": _length(b"\x8b", "<i", 2**31 - 1),
    "BINSTRING": _length(b"T", "<i", 2**31 - 1),
    "BINBYTES": _length(b"B", "<I", 2**32 - 1),
    "BINBYTES8": _length(b"\x8e", "<Q", 2**40),
    "BINUNICODE": _length(b"X", "<I", 2**32 - 1),
    "BINUNICODE8": _length(b"\x8d", "<Q", 2**40),
    "BYTEARRAY8": _length(b"\x96", "<Q", 2**40),
    "FRAME": _length(b"\x95", "<Q", 2**40),
    "BYTEARRAY8 in a frame": b"\x80\x05\x95" + struct.pack("<QcQ", 2**40, b"\x96", 2**62) + b"a.",
    "LONG_BINPUT": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "PUT": b"Np" + b"9" * 60 + b"\n.",
    "a long number": b"\x80\x02L0x" + b"f" * 60 + b"\n.",
    "an array of no bytes": pickle.dumps(np.zeros(0), 2).replace(b"K\x00\x85", b"J\xff\xff\xff\x7f\x85"),
    "empty sides": pickle.dumps(np.zeros(0), 4).replace(b"K\x00\x85", b"(K\x00" + b"J\xff\xff\xff\x7f" * 9 + b"t"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_length_that_is_only_claimed_takes_no_memory(name: str) -> None:
    tracemalloc.start()
    with contextlib.suppress(EvaluationError):
        plain_pickle.loads(CLAIMS[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


REFUSED = {
    "a persistent id": b"Pabc\n.",
    "a persistent id from the stack": b"\x80\x02K\x01Q.",
    "an extension": b"\x80\x02\x82\xf0)R.",
    "an extension of two bytes": b"\x80\x02\x83\xf0\x00)R.",
    "an extension of four bytes": b"\x80\x02\x84\xf0\x00\x00\x00)R.",
    "a buffer that comes beside": b"\x80\x05\x97.",
    "a buffer made read-only": b"\x80\x05C\x01a\x98.",
    "an instance": b"(i__builtin__\nset\n.",
    "an object": b"(c__builtin__\nset\no.",
    "a new object": b"\x80\x02c__builtin__\nset\n)\x81.",
    "a new object by keyword": b"\x80\x04c__builtin__\nset\n)}\x92.",
    "state of a name": b"\x80\x02c__builtin__\nset\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
    "state of a list": b"\x80\x02]N}X\x01\x00\x00\x00aK\x01s\x86b.",
    "a call of text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "a scalar of nothing": b"\x80\x02cnumpy\nscalar\n)R.",
    "a set of text": b"\x80\x02c__builtin__\nset\nX\x01\x00\x00\x00a\x85R.",
    "a dtype of a list": b"\x80\x02cnumpy\ndtype\n]\x85R.",
    "a dtype in words": pickle.dumps(np.zeros(1), 2).replace(b"X\x02\x00\x00\x00f8", b"X\x07\x00\x00\x00(2 x)i4"),
    "an array class": b"\x80\x02cnumpy\nndarray\nK\x05\x85\x85R.",
    "a name alone": b"\x80\x02cnumpy\nndarray\n.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_instruction_that_calls_or_fetches_is_refused(name: str) -> None:
    copyreg.add_extension("os", "getcwd", 0xF0)
    try:
        with pytest.raises(EvaluationError, match=r"^refused: the pickle holds "):
            plain_pickle.loads(REFUSED[name])
    finally:
        copyreg.remove_extension("os", "getcwd", 0xF0)


@pytest.mark.parametrize("change", [b"K\x00K\x07s", b"(K\x00K\x07u", b"K\x07a", b"(K\x07e", b"(K\x07\x90"])
def test_an_array_cannot_be_changed_once_it_is_made(change: bytes) -> None:
    whole = pickle.dumps(np.zeros(2), 4)
    with pytest.raises(EvaluationError, match=r"^not a readable pickle"):
        plain_pickle.loads(whole[:-1] + change + b".")


def test_a_protocol_of_the_future_is_refused() -> None:
    with pytest.raises(EvaluationError, match="unsupported pickle protocol: 6"):
        plain_pickle.loads(b"\x80\x06N.")


def test_nesting_deeper_than_python_recurses_comes_through() -> None:
    value = plain_pickle.loads(b"]" * 5000 + b"a" * 4999 + b".")
    depth = 1
    while value:
        value, depth = value[0], depth + 1
    assert depth == 5000


def test_a_large_or_missing_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.pkl"
    with large.open("wb") as file:
        file.truncate(plain_pickle.LARGEST_FILE + 1)
    with pytest.raises(EvaluationError, match="over the limit"):
        plain_pickle.load(large)
    with pytest.raises(EvaluationError, match="no such file"):
        plain_pickle.load(tmp_path / "none.pkl")


def test_a_file_that_ends_early_says_so() -> None:
    with pytest.raises(EvaluationError, match=r"^not a readable pickle \(it ends too early\)$"):
        plain_pickle.loads(pickle.dumps(PLAIN, 2)[:-1])


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
