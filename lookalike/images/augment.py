"""A query picture to its mirrored, turned and scaled copies, so that the search is invariant to these transforms."""

from collections.abc import Iterable, Sequence

from PIL.Image import Image, Transpose

from lookalike.errors import QueryError

KINDS = ("flip", "rotate", "scale")
SMALLER = (1.4, 2.0)
"""With `scale`, the picture is also encoded as a part of a picture so many times larger, where an encoder tells."""
ZOOM = 0.7
"""And the middle of it, of so large a share of each side."""
QUARTERS = (Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)


def parse(text: str) -> tuple[str, ...]:
    """ "flip,rotate" as the kinds that `variants` takes; raises QueryError."""
    return _checked(part.strip() for part in text.split(","))


def variants(image: Image, kinds: Sequence[str]) -> list[Image]:
    """`image` first, then its copies: mirrored (`flip`), by quarter turns (`rotate`), or both, which makes eight.

    `scale` adds none here: see `middle`. With the vectors of all copies in one probe, the score of an item is its best
    cosine to any of them. A query with a box is cut first, then turned.
    """
    _checked(kinds)
    turned = [image, *(image.transpose(quarter) for quarter in QUARTERS)] if "rotate" in kinds else [image]
    mirrored = [copy.transpose(Transpose.FLIP_LEFT_RIGHT) for copy in turned] if "flip" in kinds else []
    return turned + mirrored


def middle(image: Image) -> Image:
    """The middle of a picture, `ZOOM` of each side."""
    width, height = (max(1, round(side * ZOOM)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _checked(kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds without repeats; raises QueryError for an unknown one."""
    unique = tuple(dict.fromkeys(kinds))
    for kind in unique:
        if kind not in KINDS:
            raise QueryError(f"{kind!r} is nothing that a query can be invariant to; there are {', '.join(KINDS)}")
    return unique
