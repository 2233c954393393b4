import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import ImageError
from lookalike.search.rerank.cache import remembered
from lookalike.storage.features import FeatureCache
from tests.search.rerank.rows import Rows, clusters


class Number:
    """Something that can be kept: one number, in decimal digits."""

    def __init__(self, value: int) -> None:
        self.value = value

    def to_bytes(self) -> bytes:
        return b"%d" % self.value

    @classmethod
    def from_bytes(cls, data: bytes) -> "Number | None":
        return cls(int(data)) if data.isdigit() else None


class Galleries(Rows):
    def __init__(self, folder: Path | None) -> None:
        super().__init__(clusters(5))
        self.cache_dir = folder

    def content(self, row: int) -> str:
        return f"{row % 4:064x}"  # rows 0 and 4 are the same file


def recall(
    gallery: Rows, computed: list[int], settings: str = "|s", rows: tuple[int, ...] = (0, 1, 2)
) -> dict[int, int]:
    lock = threading.Lock()

    def make(row: int) -> Number:
        with lock:
            computed.append(row)
        if row == 2:
            raise ImageError("no such file")
        return Number(row % 4)

    with ThreadPoolExecutor(2) as pool:
        features = remembered(np.array(rows), gallery, settings, pool, make, Number.from_bytes)
    return {row: number.value for row, number in features.items()}


def test_what_is_there_is_not_made_again_and_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    gallery, computed = Galleries(tmp_path), list[int]()
    assert recall(gallery, computed) == {0: 0, 1: 1}
    assert sorted(computed) == [0, 1, 2]
    assert recall(gallery, computed) == {0: 0, 1: 1}
    assert sorted(computed) == [0, 1, 2, 2]


def test_another_name_of_the_same_file_has_it_already(tmp_path: Path) -> None:
    gallery, computed = Galleries(tmp_path), list[int]()
    recall(gallery, computed, rows=(0,))
    assert recall(gallery, computed, rows=(4,)) == {4: 0}
    assert computed == [0]


def test_other_settings_are_made_anew(tmp_path: Path) -> None:
    gallery, computed = Galleries(tmp_path), list[int]()
    recall(gallery, computed, rows=(0,))
    recall(gallery, computed, "|other", rows=(0,))
    assert computed == [0, 0]


def test_what_cannot_be_read_back_is_made_anew(tmp_path: Path) -> None:
    gallery, computed = Galleries(tmp_path), list[int]()
    FeatureCache(tmp_path).put({bytes.fromhex(gallery.content(1)) + b"|s": b"no number"})
    assert recall(gallery, computed, rows=(1,)) == {1: 1}
    assert recall(gallery, computed, rows=(1,)) == {1: 1}
    assert computed == [1]


@pytest.mark.parametrize("gallery", [Galleries(None), Rows(clusters(5))])
def test_a_gallery_without_a_place_has_everything_made(gallery: Rows) -> None:
    computed = list[int]()
    assert recall(gallery, computed) == recall(gallery, computed) == {0: 0, 1: 1}
    assert len(computed) == 6
