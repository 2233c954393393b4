"""A picture with its caption, as pages, notebooks and terminals show it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image


@dataclass(frozen=True)
class Card:
    """A picture, its name, and a note such as its score.

    `picture(size)` decodes it with a longer side of at most `size`, and raises ImageError where it cannot be shown; it
    is called when it is drawn. `kind` is a class of the stylesheet, which gives the frame. `link` opens the picture.
    """

    name: str
    picture: Callable[[int], Image]
    note: str = ""
    kind: str = "plain"
    link: str = ""


def address(path: Path | None, key: str = "") -> str:
    """The address that opens an image: of its file, or its key where that is a URL; else none."""
    if path is not None:
        return path.absolute().as_uri()
    return key if key.startswith(("https://", "http://")) else ""
