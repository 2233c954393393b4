import numpy as np
import pytest
from PIL import Image

from lookalike.errors import QueryError
from lookalike.images.augment import middle, parse, variants

# Each pixel has its own colour, so that the eight copies differ.
ROWS = np.arange(6, dtype=np.uint8).reshape(2, 3)
PICTURE = Image.fromarray(np.repeat(ROWS[..., None], 3, axis=2))


def pixels(images: list[Image.Image]) -> list[list[list[int]]]:
    return [np.asarray(image)[..., 0].tolist() for image in images]


def test_without_kinds_it_is_the_picture_alone() -> None:
    assert variants(PICTURE, ()) == [PICTURE]


def test_flip_adds_the_mirror_image() -> None:
    assert pixels(variants(PICTURE, ["flip"])) == [[[0, 1, 2], [3, 4, 5]], [[2, 1, 0], [5, 4, 3]]]


def test_rotate_adds_the_three_other_quarter_turns() -> None:
    assert pixels(variants(PICTURE, ["rotate"])) == [np.rot90(ROWS, turn).tolist() for turn in range(4)]


def test_both_make_the_eight_ways_a_picture_can_lie() -> None:
    copies = pixels(variants(PICTURE, ["flip", "rotate"]))
    assert copies[0] == ROWS.tolist()
    assert len({str(copy) for copy in copies}) == len(copies) == 8
    ways = [np.rot90(rows, turn).tolist() for rows in (ROWS, ROWS[:, ::-1]) for turn in range(4)]
    assert sorted(copies) == sorted(ways)


def test_text_names_each_kind_once() -> None:
    assert parse("flip, rotate,flip") == ("flip", "rotate")


@pytest.mark.parametrize("text", ["turn", "flip,turn", "", "flip,"])
def test_another_kind_is_one_line(text: str) -> None:
    with pytest.raises(QueryError, match="is nothing that a query can be invariant to; there are flip, rotate, scale"):
        parse(text)


def test_variants_refuse_another_kind_too() -> None:
    with pytest.raises(QueryError, match="'turn' is nothing"):
        variants(PICTURE, ["turn"])


def test_the_middle_has_seven_tenths_of_each_side() -> None:
    grey = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10))
    assert np.asarray(middle(grey)).tolist() == [[10 * row + column for column in range(1, 8)] for row in range(1, 8)]
    assert middle(grey.crop((0, 0, 1, 1))).size == (1, 1)
