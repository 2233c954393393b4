"""How every command prints: results on stdout, all else on stderr, names of files without control characters."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path


def number(value: object) -> str:
    """A number as text, with commas between thousands."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(value: object) -> str:
    """A fact as one line of text: a list by commas, a table as names and values."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {number(inner)}" for name, inner in value.items())
    return number(value)


def printable(text: str) -> str:
    """Text with control characters escaped: a file name must not break the line or control the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def write(text: str, end: str) -> None:
    """Print a path as the bytes that it has on disk."""
    sys.stdout.flush()
    sys.stdout.buffer.write((text + end).encode("utf-8", "surrogateescape"))


def print_json(value: object) -> None:
    """Print one document, in ASCII: a name that is not UTF-8 stays readable."""
    print(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Print a line on stderr."""
    print(f"lookalike: {printable(text)}", file=sys.stderr)


def tell_skipped(reasons: Sequence[tuple[str, str]], path: Path) -> None:
    """Name the first three on stderr, and the command that lists the rest."""
    for key, reason in reasons[:3]:
        note(f"skipped {key}: {reason}")
    if len(reasons) > 3:
        note(f"{len(reasons):,} skipped in all; `lookalike info {path} --skipped` lists them")
