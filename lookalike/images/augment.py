"""A query picture to itself and its mirrored and turned copies, so that the collection may hold it either way."""

from collections.abc import Iterable, Sequence

from PIL.Image import Image, Transpose

from lookalike.errors import QueryError

KINDS = ("flip", "rotate")
QUARTERS = (Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)


def parse(text: str) -> tuple[str, ...]:
    """ "flip,rotate" as the kinds that `variants` takes; raises QueryError."""
    return _checked(part.strip() for part in text.split(","))


def variants(image: Image, kinds: Sequence[str]) -> list[Image]:
    """`image` first, then its copies: mirrored (`flip`), by quarter turns (`rotate`), or both, which makes eight.

    Encode each and put all vectors into one probe: an item then counts with its best cosine to any. A query cut to a
    box is turned after it was cut.
    """
    _checked(kinds)
    turned = [image, *(image.transpose(quarter) for quarter in QUARTERS)] if "rotate" in kinds else [image]
    mirrored = [one.transpose(Transpose.FLIP_LEFT_RIGHT) for one in turned] if "flip" in kinds else []
    return turned + mirrored


def _checked(kinds: Iterable[str]) -> tuple[str, ...]:
    """Each once; raises QueryError for what is none."""
    found = tuple(dict.fromkeys(kinds))
    for kind in found:
        if kind not in KINDS:
            raise QueryError(f"{kind!r} is nothing that a query can be invariant to; there are {', '.join(KINDS)}")
    return found
