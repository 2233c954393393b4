"""What every command prints with: results on stdout, all else on stderr, and no file name talks to the terminal."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path


def number(value: object) -> str:
    """With thousands set apart."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(value: object) -> str:
    """A fact in one line: lists by commas, tables as names and values."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {number(inner)}" for name, inner in value.items())
    return number(value)


def printable(text: str) -> str:
    """A hostile file name must neither break the line nor talk to the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def write(text: str, end: str) -> None:
    """A path as the bytes that it has on disk."""
    sys.stdout.flush()
    sys.stdout.buffer.write((text + end).encode("utf-8", "surrogateescape"))


def print_json(value: object) -> None:
    """One document; ASCII, so that a name that is not UTF-8 survives."""
    print(json.dumps(value, indent=2))


def note(text: str) -> None:
    """A line on stderr."""
    print(f"lookalike: {printable(text)}", file=sys.stderr)


def tell_skipped(reasons: Sequence[tuple[str, str]], path: Path) -> None:
    """The first few, and where the rest is listed."""
    for key, reason in reasons[:3]:
        note(f"skipped {key}: {reason}")
    if len(reasons) > 3:
        note(f"{len(reasons):,} skipped in all; `lookalike info {path} --skipped` lists them")
