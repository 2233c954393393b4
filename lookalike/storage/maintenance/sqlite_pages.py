"""The file of an SQLite database to the records in its leaves, without the inner pages that should lead to them.

The file is damaged: every number in it may be wrong, so callers use a record only where its own checksum matches.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

TABLE_LEAF, INDEX_LEAF, INDEX_INNER = 0x0D, 0x0A, 0x02
SIZES = tuple(1 << power for power in range(9, 17))
USUAL = 4096
PageRecord = tuple[Any, ...]
WIDTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""Serial types of SQLite's record format to bytes."""


@dataclass(frozen=True)
class Pages:
    """The pages of a file, numbered from 1."""

    data: bytes | mmap.mmap
    size: int

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.data) // self.size

    def page(self, number: int) -> bytes:
        """The bytes of a page; raises IndexError."""
        if not 0 < number <= self.count:
            raise IndexError(number)
        return bytes(self.data[(number - 1) * self.size : number * self.size])

    def unused(self) -> set[int]:
        """Pages on the free list, as far as it can be followed: their content was deleted."""
        free: set[int] = set()
        trunk = _integer(self.data[32:36])
        while 0 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self.page(trunk)
            count = min(_integer(page[4:8]), self.size // 4 - 2)
            free |= {_integer(page[at : at + 4]) for at in range(8, 8 + 4 * count, 4)}
            trunk = _integer(page[:4])
        return free

    def records(self, number: int) -> Iterator[tuple[int | None, PageRecord]]:
        """(rowid, values) of every readable cell of a leaf; rowid is None for an index."""
        page = self.page(number)
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INNER):
            return
        first = start + (12 if kind == INDEX_INNER else 8)
        cells = min(_integer(page[start + 3 : start + 5]), (self.size - first) // 2)
        for at in range(first, first + 2 * cells, 2):
            try:
                yield self._cell(page, _integer(page[at : at + 2]), kind)
            except (IndexError, ValueError, OverflowError):
                continue

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int | None, PageRecord]:
        rowid = None
        at += 4 if kind == INDEX_INNER else 0
        length, at = _varint(page, at)
        if kind == TABLE_LEAF:
            rowid, at = _varint(page, at)
        return rowid, _record(self._payload(page, at, length, kind))

    def _payload(self, page: bytes, at: int, length: int, kind: int) -> bytes:
        """The content of a cell; a long one continues in overflow pages (see SQLite's file format)."""
        if length > len(self.data):
            raise ValueError(length)
        most = self.size - 35 if kind == TABLE_LEAF else (self.size - 12) * 64 // 255 - 23
        if length <= most:
            return page[at : at + length]
        least = (self.size - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.size - 4)
        local = local if local <= most else least
        payload, following = page[at : at + local], _integer(page[at + local : at + local + 4])
        while len(payload) < length:
            overflow = self.page(following)
            payload += overflow[4 : 4 + length - len(payload)]
            following = _integer(overflow[:4])
        return payload


def open_pages(path: Path) -> Pages:
    """The pages of a database file; their size is the file's own, or the usual one where that number is damaged."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    size = _integer(data[16:18])
    size = 65536 if size == 1 else size
    return Pages(data, size if size in SIZES else USUAL)


def records(path: Path) -> Iterator[tuple[int | None, PageRecord]]:
    """Every record of every leaf in use, in the order of the file: (rowid, values); rowid is None for an index."""
    pages = open_pages(path)
    unused = pages.unused()
    for number in range(1, pages.count + 1):
        if number not in unused:
            yield from pages.records(number)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """A number of up to nine bytes, and the position after it."""
    value = 0
    for step in range(8):
        value = value << 7 | page[at + step] & 0x7F
        if page[at + step] < 0x80:
            return value, at + step + 1
    return value << 8 | page[at + 8], at + 9


def _record(payload: bytes) -> PageRecord:
    length, at = _varint(payload, 0)
    types = []
    while at < length:
        serial, at = _varint(payload, at)
        types.append(serial)
    ends = [length]
    for serial in types:
        ends.append(ends[-1] + (WIDTHS[serial] if serial < 12 and serial in WIDTHS else (serial - 12) // 2))
    if ends[-1] > len(payload) or any(serial in (10, 11) for serial in types):
        raise ValueError("a record that ends behind its payload")
    return tuple(_value(serial, payload[a:b]) for serial, (a, b) in zip(types, pairwise(ends), strict=True))


def _value(serial: int, data: bytes) -> Any:
    if serial == 0:
        return None
    if serial in (8, 9):
        return serial - 8
    if serial < 7:
        return int.from_bytes(data, "big", signed=True)
    if serial == 7:
        return struct.unpack(">d", data)[0]
    return data.decode("utf-8") if serial % 2 else data
