"""Images to the files beside them that say something of them: photo.jpg.xmp, else photo.xmp, in any case of letters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lookalike.errors import ImageError
from lookalike.images import xmp
from lookalike.images.xmp import Xmp

EXTENSION = ".xmp"
T = TypeVar("T")


@dataclass(frozen=True)
class Sidecar:
    """A file beside an image; `size` and `mtime_ns` tell a changed one from an unchanged one."""

    name: str
    size: int
    mtime_ns: int
    read: Callable[[], bytes]

    def content(self) -> Xmp:
        """What it says; nothing where it cannot be read."""
        try:
            return xmp.read(self.read())
        except ImageError:
            return Xmp()


def is_sidecar(name: str) -> bool:
    """Whether a file is one by its name."""
    return len(name) > len(EXTENSION) and name[-len(EXTENSION) :].lower() == EXTENSION


def by_image(names: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The sidecars among named things, by what stands before `.xmp` in their names."""
    return {name[: -len(EXTENSION)]: thing for name, thing in names if is_sidecar(name)}


def of(name: str, sidecars: dict[str, T]) -> T | None:
    """The sidecar of an image, whose own name counts more than the one without its ending."""
    return sidecars.get(name) or sidecars.get(name.rpartition(".")[0])


def spellings(name: str) -> Sequence[str]:
    """What the sidecar of an image can be called, best first."""
    stem = name.rpartition(".")[0] or name
    return [f"{base}{ending}" for base in dict.fromkeys((name, stem)) for ending in (EXTENSION, EXTENSION.upper())]


def may_belong(sidecar: str, image: str) -> bool:
    """Whether a file of one name may be the sidecar of an image of the other."""
    base = sidecar[: -len(EXTENSION)]
    return base in (image, image.rpartition(".")[0])
