"""What only a file system can do: names, folders, links, pipes, permissions."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lookalike.images import decode as images
from tests.hostile.craft import saved, scene

Expected = Literal["image", "reason", "ignored"]
"""Found as an image; listed with a reason; or passed over without a word."""
Writer = Callable[[Path], None]


def _photo(seed: int) -> bytes:
    return saved(scene(seed), "JPEG")


def _file(seed: int) -> Writer:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_photo(seed))

    return write


def _note(path: Path) -> None:
    path.write_text("no image, and not called one")


def _folder(path: Path) -> None:
    path.mkdir()


def _unreadable(path: Path) -> None:
    path.write_bytes(_photo(300))
    path.chmod(0)


def _sparse(path: Path) -> None:
    path.write_bytes(_photo(301))
    with path.open("r+b") as file:
        file.truncate(images.LIMITS.bytes + 1)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # the path itself may be longer than a socket's may be
    try:
        with socket.socket(socket.AF_UNIX) as plug:
            plug.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _link(target: str) -> Writer:
    return lambda path: path.symlink_to(target)


PLACES: dict[str, tuple[Writer, Expected]] = {
    "folder.jpg": (_folder, "reason"),
    "unreadable.jpg": (_unreadable, "reason"),
    "sparse.jpg": (_sparse, "reason"),
    "pipe.jpg": (_pipe, "reason"),
    "socket.jpg": (_socket, "reason"),
    "dangling.jpg": (_link("nowhere.jpg"), "reason"),
    "loop a.jpg": (_link("loop b.jpg"), "reason"),
    "loop b.jpg": (_link("loop a.jpg"), "reason"),
    "loop": (_link("."), "ignored"),
    "target.jpg": (_file(310), "image"),
    "link.jpg": (_link("target.jpg"), "image"),
    "._target.jpg": (_file(311), "ignored"),
    ".hidden.jpg": (_file(312), "ignored"),
    ".git/object.jpg": (_file(313), "ignored"),
    "node_modules/logo.jpg": (_file(314), "ignored"),
    "@eaDir/thumb.jpg": (_file(315), "ignored"),
    "a/b/c/d/e/f/deep.jpg": (_file(316), "image"),
    "with space.jpg": (_file(320), "image"),
    " leading space.jpg": (_file(321), "image"),
    "new\nline.jpg": (_file(322), "image"),
    "tab\tand\rreturn.jpg": (_file(323), "image"),
    "-rf.jpg": (_file(324), "image"),
    "--help.jpg": (_file(325), "image"),
    "'quotes\" $(echo).jpg": (_file(326), "image"),
    "back\\slash.jpg": (_file(327), "image"),
    "100%s {0} *?.jpg": (_file(328), "image"),
    "<script>alert(1)</script>.jpg".replace("/", "∕"): (_file(329), "image"),
    "\x1b[31mred.jpg": (_file(330), "image"),
    "日本 🏰 é.jpg": (_file(331), "image"),
    "e\u0301 decomposed.jpg": (_file(332), "image"),
    "\u202egpj.evil.jpg": (_file(333), "image"),
    os.fsdecode(b"caf\xe9 \xff.jpg"): (_file(334), "image"),
    "UPPER.JPG": (_file(335), "image"),
    "two.dots.jpeg": (_file(336), "image"),
    "no extension": (_file(337), "image"),
    "n" * 251 + ".jpg": (_file(338), "image"),
    "notes.txt": (_note, "ignored"),
}
"""Path below the folder to what makes it, and what has to come of it."""
