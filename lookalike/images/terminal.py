"""Pictures to a terminal's escape sequences: which way it shows them, and a grid of cards.

Written by hand and not by `textual-image`: that asks the terminal twice while it is imported, where a key that was
typed is lost; of kitty's protocol it knows the part that kitty alone has; and iTerm2's it does not know.
"""

import base64
import io
import os
import re
import select
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lookalike.errors import ImageError
from lookalike.images.cards import Card
from lookalike.utils.text import hyperlink, printable

Kind = Literal["kitty", "iterm", "sixel", "blocks"]
COLUMNS, ROWS = 15, 6
"""The size of a picture, in cells."""
CELL = (8, 16)
"""Pixels of a cell, where a terminal does not say it."""
SECONDS = 1.0
"""How long a terminal may take to say what it is: over a slow line, a late answer would become input of the shell."""
QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
"""Does it know kitty's protocol? How large is a cell? What is it? Each terminal answers the last, and so ends it."""
CHUNK = 4096
COLOURS = 255


@dataclass(frozen=True)
class Terminal:
    """How a terminal shows pictures, its width in cells, and the pixels of a cell (width, height)."""

    kind: Kind
    columns: int = 80
    cell: tuple[int, int] = CELL


def detect(output: IO[str], blocks: bool = False) -> Terminal | None:
    """The terminal behind `output`; None where that shows no pictures. `blocks`: else by half blocks, in colour."""
    if not output.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    kind, answer = _named(), b""
    if kind is None:
        answer = _answer()
        kind = _of_answer(answer) or ("blocks" if blocks else None)
    columns, cell = _size(output.fileno(), answer)
    return Terminal(kind, columns, cell) if kind else None


def _named() -> Kind | None:
    """The kind of a terminal that can be told by its name; inside tmux and screen, names are of what is around them."""
    term = os.environ.get("TERM", "")
    if "TMUX" in os.environ or term.startswith(("tmux", "screen")):
        return None
    if term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    names = {os.environ.get("TERM_PROGRAM"), os.environ.get("LC_TERMINAL")}
    return "iterm" if names & {"iTerm.app", "iTerm2", "WezTerm"} else None


def _of_answer(answer: bytes) -> Kind | None:
    if b"_Gi=31;OK" in answer:
        return "kitty"
    attributes = re.search(rb"\x1b\[\?([\d;]*)c", answer)
    return "sixel" if attributes and b"4" in attributes[1].split(b";") else None


def _answer() -> bytes:
    """What the terminal of this process says to the question; nothing where it cannot be asked."""
    try:
        import termios
        import tty
    except ImportError:
        return b""
    try:
        file = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if os.tcgetpgrp(file) != os.getpgrp():
            # In the background: changing the terminal's mode would stop this process.
            return b""
        before = termios.tcgetattr(file)
        try:
            tty.setcbreak(file, termios.TCSADRAIN)
            os.write(file, QUESTION)
            return _read(file)
        finally:
            termios.tcsetattr(file, termios.TCSADRAIN, before)
    except (OSError, termios.error):
        return b""
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    answer, end = b"", time.monotonic() + SECONDS
    while not re.search(rb"\x1b\[\?[\d;]*c", answer):
        ready, _, _ = select.select([file], [], [], max(0.0, end - time.monotonic()))
        part = os.read(file, CHUNK) if ready else b""
        if not part:
            break
        answer += part
    return answer


def _size(file: int, answer: bytes) -> tuple[int, tuple[int, int]]:
    """Columns, and pixels of a cell."""
    columns = os.get_terminal_size(file).columns or 80
    if cell := re.search(rb"\x1b\[6;(\d+);(\d+)t", answer):
        return columns, (int(cell[2]) or CELL[0], int(cell[1]) or CELL[1])
    try:
        import fcntl
        import termios

        rows, across, width, height = struct.unpack("HHHH", fcntl.ioctl(file, termios.TIOCGWINSZ, bytes(8)))
    except (ImportError, OSError):
        return columns, CELL
    return columns, (width // across, height // rows) if width and height and across and rows else CELL


def grid(cards: Sequence[Card], terminal: Terminal) -> str:
    """Pictures side by side, each with its note and its name below, in as many rows as that takes."""
    across = max(1, (terminal.columns + 1) // (COLUMNS + 1))
    return "".join("".join(_row(cards[at : at + across], terminal)) for at in range(0, len(cards), across))


def _row(cards: Sequence[Card], terminal: Terminal) -> Iterator[str]:
    strip = _strip(cards, terminal)
    yield encoded(strip, terminal.kind, len(cards) * (COLUMNS + 1) - 1, ROWS) + "\n"
    yield " ".join(_cut(card.note) for card in cards).rstrip() + "\n"
    yield " ".join(_named_link(card) for card in cards).rstrip() + "\n"


def _strip(cards: Sequence[Card], terminal: Terminal) -> Image.Image:
    """The pictures of a row as one, which is transparent around them; a missing one is a grey patch."""
    width, height = terminal.cell
    tile = COLUMNS * width, ROWS * height
    strip = Image.new("RGBA", ((len(cards) * (COLUMNS + 1) - 1) * width, tile[1]))
    for number, card in enumerate(cards):
        try:
            picture = ImageOps.contain(card.picture(max(tile)), tile, Image.Resampling.LANCZOS)
        except ImageError:
            picture = Image.new("RGB", tile, "grey")
        strip.paste(picture, (number * (COLUMNS + 1) * width, tile[1] - picture.height))
    return strip


def _named_link(card: Card) -> str:
    text = _cut(card.name)
    name = text.rstrip()
    return hyperlink(name, card.link) + " " * (len(text) - len(name))


def _cut(text: str) -> str:
    """Text as wide as a picture; of a longer one its end, by which names differ."""
    from rich.cells import cell_len

    text, mark = printable(text), ""
    while cell_len(mark + text) > COLUMNS:
        text, mark = text[1:], "…"
    return mark + text + " " * (COLUMNS - cell_len(mark + text))


def encoded(image: Image.Image, kind: Kind, columns: int, rows: int) -> str:
    """A picture of `columns` x `rows` cells as escape sequences; the cursor is in its last row then."""
    if kind == "blocks":
        return blocks(image, columns, rows)
    if kind == "sixel":
        return sixel(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    if kind == "iterm":
        size = f"size={len(buffer.getvalue())};width={columns};height={rows};preserveAspectRatio=0"
        return f"\x1b]1337;File=inline=1;{size}:{data}\x07"
    return _kitty(data, columns, rows)


def _kitty(data: str, columns: int, rows: int) -> str:
    """By kitty's protocol, in chunks: q=2 lets the terminal answer nothing."""
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    heads = [f"a=T,f=100,c={columns},r={rows},q=2,"] + [""] * (len(parts) - 1)
    return "".join(
        f"\x1b_G{head}m={int(number + 1 < len(parts))};{part}\x1b\\"
        for number, (head, part) in enumerate(zip(heads, parts, strict=True))
    )


def sixel(image: Image.Image) -> str:
    """By sixels: bands of six rows, and of each the columns of one colour after another; the rest is not painted."""
    plain = image.convert("RGBA")
    paletted = plain.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    palette = np.asarray(paletted.getpalette(), np.int64).reshape(-1, 3) * 100 // 255
    colours = np.where(np.asarray(plain)[:, :, 3] > 127, np.asarray(paletted, np.int64), -1)
    parts = [f'\x1bP0;1;0q"1;1;{image.width};{image.height}']
    used = [number for number in np.unique(colours).tolist() if number >= 0]
    parts += [f"#{number};2;{';'.join(map(str, palette[number].tolist()))}" for number in used]
    for top in range(0, image.height, 6):
        band = colours[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        painted = [number for number in np.unique(band).tolist() if number >= 0]
        parts += [f"#{number}{_runs(((band == number) * weights).sum(axis=0))}$" for number in painted]
        parts.append("-")
    return "".join([*parts, "\x1b\\"])


def _runs(values: NDArray[np.int64]) -> str:
    """Columns of a band as letters, with counts where one is repeated."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
    counts = np.diff(np.append(starts, len(values)))
    letters = [chr(63 + value) for value in values[starts].tolist()]
    return "".join(
        f"!{count}{letter}" if count > 3 else letter * count
        for letter, count in zip(letters, counts.tolist(), strict=True)
    )


def blocks(image: Image.Image, columns: int, rows: int) -> str:
    """By the upper halves of cells, each in two colours: for any terminal of 24-bit colour."""
    small = np.asarray(image.convert("RGBA").resize((columns, 2 * rows), Image.Resampling.BOX), np.int64)
    return "\n".join(
        "".join(map(_block, small[row].tolist(), small[row + 1].tolist())) + "\x1b[0m" for row in range(0, 2 * rows, 2)
    )


def _block(upper: list[int], lower: list[int]) -> str:
    """A cell of two pixels (red, green, blue, opacity)."""
    if upper[3] < 128 and lower[3] < 128:
        return "\x1b[0m "
    top, bottom = (f"8;2;{red};{green};{blue}" for red, green, blue, _ in (upper, lower))
    if upper[3] < 128:
        return f"\x1b[0;3{bottom}m▄"
    return f"\x1b[0;3{top}m▀" if lower[3] < 128 else f"\x1b[3{top};4{bottom}m▀"
