"""A pickle of plain containers, and of what a `Dialect` adds to them, to these values and nothing else.

Unpickling can run any code. This is Python's own unpickler, restricted to the instructions of plain data: names come
from a table and nothing is imported, and only the functions of this module and of the dialect are called. The length
of the data bounds what is built.

It is the unpickler in Python and not the one in C, which allocates memory for every length and memo index that a file
claims, and hashes keys before they can be checked.
"""

import io
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST_KEY = 64
"""Bits of a number that is a key of a dict or a member of a set."""
MOST_NUMBERS = 20_000
"""Keys that are numbers. Their hashes can be made to collide; those of text, which are salted, cannot."""
MOST_ARGUMENTS = 16
# Early protocols have no instruction for these, and call their constructors.
_NAMES = {
    "_codecs": ("encode",),
    **dict.fromkeys(("__builtin__", "builtins"), ("bytes", "bytearray", "set", "frozenset")),
}


class Refused(Exception):  # noqa: N818 - says what happened
    """Something that is not plain data; the message says what, as the end of "the pickle holds"."""


class Unreadable(Exception):  # noqa: N818
    """Not a whole pickle; the message is the cause."""


class Unfinished:
    """A value that is none by itself, such as a name, or an array whose state is still to come."""

    __slots__ = ()

    def finished(self) -> Any:
        """The value where its state has come; a name stays a name."""
        return self


@dataclass(frozen=True, slots=True)
class Name(Unfinished):
    """A global that the file refers to; never looked up."""

    module: str
    text: str


def _no_state(*_: Any) -> Any:
    raise Refused("an object with state")


@dataclass(frozen=True)
class Dialect:
    """What a kind of file holds beside plain containers.

    `names` are the globals that it may refer to, by module, and `calls` what a call of one gives: a function of the
    reader, whose `spend` and `keys` limit what it does, and the arguments. `state` (reader, target, state) gives the
    value to keep in place of a target that gets state, `instance` a new object of a named class, `stored` the value of
    a persistent id. They raise Refused; None stands for an instruction that is refused.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    state: Callable[[Any, Any, Any], Any] = _no_state
    instance: Callable[[Name], Any] | None = None
    stored: Callable[[Any], Any] | None = None
    classes: str = ""
    """The beginning of the modules of which any name may be referred to; empty: none."""


PLAIN = Dialect()


def loads(data: bytes, dialect: Dialect = PLAIN) -> Any:
    """The value in `data`; raises Refused or Unreadable."""
    return load(io.BytesIO(data), dialect)


def load(stream: io.BytesIO, dialect: Dialect = PLAIN) -> Any:
    """The value of the pickle at the position of `stream`, which is then behind it; raises Refused or Unreadable."""
    try:
        value = _Unpickler(stream, dialect).load()
    except (
        pickle.UnpicklingError, struct.error, EOFError, ValueError, LookupError, TypeError, AttributeError,
        OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise Unreadable(" ".join(str(error).split())[:80] or "it ends too early") from error
    if isinstance(value, Unfinished):
        raise Refused("no value")
    return value


class _Memo(dict[int, Any]):
    """Indexes are keys as well, and can have any length; programs that write pickles count from 0 or 1."""

    jumps = 0

    def __setitem__(self, index: int, value: Any) -> None:
        self.jumps += index > len(self) + 1
        if self.jumps > MOST_NUMBERS:
            raise Refused("a memo without order")
        super().__setitem__(index, value)

    def __getitem__(self, index: int) -> Any:
        value = super().__getitem__(index)
        return value if not isinstance(value, Unfinished) else value.finished()


class _Unpickler(pickle._Unpickler):
    """Replaces the instructions that call, set attributes, hash, or trust a length."""

    stack: list[Any]

    def __init__(self, stream: io.BytesIO, dialect: Dialect) -> None:
        super().__init__(stream, encoding="latin1")
        self.memo = _Memo()
        self.dialect, self.calls = dialect, {**_CALLS, **dialect.calls}
        # The bytes that all calls together may copy: a few bytes of the file can request many copies of a long value.
        self.budget, self.numbers = 2 * stream.getbuffer().nbytes, 0

    def find_class(self, module: str, name: str) -> Name:
        if name in _NAMES.get(module, ()) or name in self.dialect.names.get(module, ()):
            return Name(module, name)
        if self.dialect.classes and f"{module}.".startswith(self.dialect.classes):
            return Name(module, name)
        raise Refused(f"the name {f'{module}.{name}'[:80]!r}")

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name):
            raise Refused("a call of something that is not a known name")
        self.spend(arguments)
        try:
            self.stack.append(self.calls[function.text](self, *arguments))
        except (TypeError, KeyError) as error:
            raise Refused(f"a call of {function.text}") from error

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.stack[-1] = self.dialect.state(self, target, state)

    def new(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if self.dialect.instance is None or not isinstance(kind, Name) or arguments != ():
            raise Refused("an instruction that plain data does not need")
        self.stack.append(self.dialect.instance(kind))

    def persistent(self) -> None:
        if self.dialect.stored is None:
            raise Refused("an instruction that plain data does not need")
        self.stack.append(self.dialect.stored(self.stack.pop()))

    def spend(self, values: Any) -> None:
        """Subtract the lengths of a tuple of arguments from the budget."""
        if not isinstance(values, tuple) or len(values) > MOST_ARGUMENTS:
            raise ValueError("expected a tuple of a few arguments")
        self.budget -= sum(len(value) for value in values if isinstance(value, str | bytes | list))
        if self.budget < 0:
            raise Refused("more copies of its contents than its length explains")

    def keys(self, values: list[Any]) -> list[Any]:
        """Check keys of dicts and members of sets; nested keys are refused, as hashing them can take very long."""
        if not all(value is None or isinstance(value, str | bytes | int | float) for value in values):
            raise Refused("a key that is not text or a number")
        # Numbers that differ by a multiple of 2 ** 61 - 1 have the same hash, and a table of these takes hours.
        if any(isinstance(value, int) and value.bit_length() > LONGEST_KEY for value in values):
            raise Refused("a key that is a huge number")
        self.numbers += sum(isinstance(value, int | float) for value in values)
        if self.numbers > MOST_NUMBERS:
            raise Refused(f"more than {MOST_NUMBERS:,} keys that are numbers")
        return values


def _refuse(_: Any) -> None:
    raise Refused("an instruction that plain data does not need")


def _hashing(opcode: bytes, keys: slice) -> Callable[[Any], None]:
    """The standard instruction, after a check of the keys at these places of the stack."""
    load = pickle._Unpickler.dispatch[opcode[0]]

    def checked(reader: Any) -> None:
        reader.keys(reader.stack[keys])
        load(reader)

    return checked


_STANDARD = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1 LONG4
    FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST EMPTY_DICT EMPTY_TUPLE EMPTY_SET TUPLE TUPLE1 TUPLE2 TUPLE3 LIST
    APPEND APPENDS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL
"""
_INSTRUCTIONS: dict[bytes, Callable[[Any], None]] = {
    pickle.REDUCE: _Unpickler.reduce,
    pickle.BUILD: _Unpickler.build,
    pickle.NEWOBJ: _Unpickler.new,
    pickle.BINPERSID: _Unpickler.persistent,
    # The instruction for bytearrays allocates memory before it reads the bytes.
    pickle.BYTEARRAY8: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    pickle.SETITEM: _hashing(pickle.SETITEM, slice(-2, -1)),
    pickle.SETITEMS: _hashing(pickle.SETITEMS, slice(0, None, 2)),
    pickle.DICT: _hashing(pickle.DICT, slice(0, None, 2)),
    pickle.ADDITEMS: _hashing(pickle.ADDITEMS, slice(None)),
    pickle.FROZENSET: _hashing(pickle.FROZENSET, slice(None)),
}
_Unpickler.dispatch = (
    dict.fromkeys(range(256), _refuse)
    | {code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _STANDARD.split())}
    | {opcode[0]: load for opcode, load in _INSTRUCTIONS.items()}
)


def must_be(kind: type, value: Any) -> Any:
    """The value, which is of this type; raises TypeError."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}")
    return value


_LATIN = dict.fromkeys(("latin1", "latin-1"), "latin1")
_CALLS: dict[str, Callable[..., Any]] = {
    "encode": lambda _, text, encoding: must_be(str, text).encode(_LATIN[must_be(str, encoding)]),
    "bytes": lambda _: b"",
    "bytearray": lambda _, data=b"": must_be(bytes, data),
    "set": lambda reader, *items: set(reader.keys(must_be(list, *items) if items else [])),
    "frozenset": lambda reader, *items: frozenset(reader.keys(must_be(list, *items) if items else [])),
}
