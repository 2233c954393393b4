"""CSV files that people open in a spreadsheet, which takes a cell that begins with = for a formula and runs it."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf)", re.IGNORECASE)
CRLF = "\r\n"
MARK = "'"
"""Put before such text, as spreadsheets do themselves; `unmarked` takes it off again."""


def csv_writer(file: IO[str], end: str = "\n") -> "CsvWriter":
    """As `csv.writer`, with `end` after each line and text cells that come through `marked`."""
    return CsvWriter(file, end)


@dataclass(frozen=True)
class CsvWriter:
    """Writes rows; numbers stay, and None is an empty cell."""

    file: IO[str]
    end: str

    def writerow(self, row: Iterable[object]) -> None:
        """Write one line."""
        line = io.StringIO(newline="")
        # The library puts a cell with a line break in quotation marks only for the break that ends its own lines.
        csv.writer(line, lineterminator=CRLF).writerow([marked(cell) for cell in row])
        self.file.write(line.getvalue().removesuffix(CRLF) + self.end)

    def writerows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write a line for each row."""
        for row in rows:
            self.writerow(row)


def marked(cell: object) -> object:
    """A cell as it is written: text that a spreadsheet would run begins with an apostrophe; numbers stay.

    Examples
    --------
    >>> marked("=1+1"), marked("-3.jpg"), marked("-3"), marked("a=b")
    ("'=1+1", "'-3.jpg", '-3', 'a=b')
    """
    return f"{MARK}{cell}" if isinstance(cell, str) and _would_run(cell.lstrip(MARK)) else cell


def unmarked(cell: str) -> str:
    """What `marked` made a cell of.

    Examples
    --------
    >>> unmarked("'=1+1"), unmarked("''=1"), unmarked("'tis")
    ('=1+1', "'=1", "'tis")
    """
    return cell[1:] if cell.startswith(MARK) and _would_run(cell.lstrip(MARK)) else cell


def _would_run(text: str) -> bool:
    return text.startswith(BEGINS_FORMULA) and not NUMBER.fullmatch(text)
