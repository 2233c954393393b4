"""Text for people: counts with the right noun, names that cannot control a terminal, and hyperlinks."""

import shlex
from collections.abc import Iterable


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular for 1.

    Examples
    --------
    >>> counted(1, "image"), counted(2000, "image"), counted(0, "copy", "copies")
    ('1 image', '2,000 images', '0 copies')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def command(*words: object) -> str:
    """A command line of this program, quoted for the shell, so that it can be copied from a message.

    Examples
    --------
    >>> command("index", "my photos")
    "lookalike index 'my photos'"
    """
    return shlex.join(["lookalike", *map(str, words)])


def meant(word: str, words: Iterable[str]) -> str:
    """What a misspelt word may mean, for an error; nothing where none of the words is near.

    Examples
    --------
    >>> meant("dinov2-bsae", ["dinov2-base", "thumbnail"]), meant("x", ["thumbnail"])
    (' (did you mean dinov2-base?)', '')
    """
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(words), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def printable(text: str) -> str:
    """Text with control characters escaped: a file name must not break the line or control the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def hyperlink(text: str, address: str) -> str:
    """Text that a terminal opens `address` for (OSC 8); plain text without an address, or with one that is not safe."""
    if not address or not (address.isascii() and address.isprintable()):
        return text
    return f"\x1b]8;;{address}\x1b\\{text}\x1b]8;;\x1b\\"
