"""Any sequence of what can happen to a collection agrees with a plain dictionary and numpy."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.index.library import library
from lookalike.search import searcher as nearest
from lookalike.types import Vectors
from tests.support.pictures import PixelEncoder

faiss = library()

EXAMPLES = int(os.environ.get("LOOKALIKE_TEST_EXAMPLES", "12"))
STEPS = int(os.environ.get("LOOKALIKE_TEST_STEPS", "16"))
BEGIN_WITH = 24
"""Images; an index wants twenty."""
NAMES = st.builds("{}{}.png".format, st.sampled_from(["", "a/", "a/b/", "ä ö/"]), st.integers(0, 5))
PICTURES = st.integers(0, 7)
"""Few, so that copies are made often."""


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)


def vector(number: int) -> Vectors:
    return np.asarray(PixelEncoder().encode([Image.fromarray(pixels(number))])[0])


class Photos(RuleBasedStateMachine):
    """A folder of pictures, its collection, and `expected_pictures`: which picture is searched under which key.

    `files` has picture and time of each file; `dismissed` which keys of which time are out, and `marks` the keys under
    which each picture was taken out by hand.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.folder = self.place / "photos"
        self.files: dict[str, tuple[int, int]] = {}
        self.dismissed: set[tuple[str, int]] = set()
        self.marks: dict[int, set[str]] = {}
        self.clock = 1_700_000_000
        self.collection = self.open()

    def teardown(self) -> None:
        damage = self.collection.verify() if self.collection.exists else None
        self.collection.close()
        shutil.rmtree(self.place)
        assert not damage

    def open(self) -> Collection:
        return Collection(self.folder / ".lookalike", PixelEncoder(), [self.folder])

    @property
    def expected_pictures(self) -> dict[str, int]:
        return {key: number for key, (number, at) in self.files.items() if (key, at) not in self.dismissed}

    def write(self, key: str, number: int) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(path)
        self.clock += 1  # the clock of a file system may stand still between two writes
        os.utime(path, (self.clock, self.clock))
        before = self.expected_pictures
        self.files[key] = (number, self.clock)
        self.mark(key, before)

    def mark(self, key: str, before: dict[str, int]) -> None:
        """Whether the file of a key is one that was taken out: by its name, or since the marked one is not there."""
        number, at = self.files[key]
        marks = self.marks.setdefault(number, set())
        if (key, at) in self.dismissed or before.get(key) == number:
            return
        gone = sorted(marked for marked in marks if marked not in self.files) if number not in before.values() else []
        if key in marks or gone:
            marks -= set() if key in marks else {gone[0]}
            marks.add(key)
            self.dismissed.add((key, at))

    def sync(self, by_refresh: bool, *keys: str) -> None:
        if by_refresh:
            self.collection.refresh([self.folder / key for key in keys])
        else:
            self.collection.index()

    def pick(self, at: int, keys: Iterable[str]) -> str | None:
        return candidates[at % len(candidates)] if (candidates := sorted(keys)) else None

    @initialize(number=st.integers(100, 1000))
    def begin(self, number: int) -> None:
        for at in range(BEGIN_WITH):
            self.write(f"old/{at:02}.png", number + at)
        self.collection.index()

    @rule(key=NAMES, number=PICTURES, by_refresh=st.booleans())
    def add_or_change(self, key: str, number: int, by_refresh: bool) -> None:
        self.write(key, number)
        self.sync(by_refresh, key)

    @rule(at=st.integers(0, 99), number=PICTURES, by_refresh=st.booleans())
    def change(self, at: int, number: int, by_refresh: bool) -> None:
        if key := self.pick(at, self.files):
            self.write(key, number)
            self.sync(by_refresh, key)

    @rule(at=st.integers(0, 99), to=NAMES, by_refresh=st.booleans())
    def rename(self, at: int, to: str, by_refresh: bool) -> None:
        key = self.pick(at, self.files)
        if key and key != to:
            (self.folder / to).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / key).replace(self.folder / to)
            before = self.expected_pictures
            self.files[to] = self.files.pop(key)
            self.mark(to, before)
            self.sync(by_refresh, key, to)

    @rule(at=st.integers(0, 99), by_refresh=st.booleans())
    def delete(self, at: int, by_refresh: bool) -> None:
        if key := self.pick(at, self.files):
            (self.folder / key).unlink()
            del self.files[key]
            self.sync(by_refresh, key)

    @rule(at=st.integers(0, 99))
    def remove(self, at: int) -> None:
        if key := self.pick(at, self.expected_pictures):
            self.collection.remove([key])
            number, at = self.files[key]
            self.dismissed.add((key, at))
            self.marks.setdefault(number, set()).add(key)

    @rule(spec=st.sampled_from(["IVF2,Flat", "Flat", "exact"]))
    def optimise(self, spec: str) -> None:
        if len(self.expected_pictures) >= 20:
            self.collection.optimize(spec)

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = self.open()

    @rule()
    def index_again(self) -> None:
        report = self.collection.index()
        assert report.unchanged == len(self.expected_pictures)
        assert sum(report.to_json().values()) == report.unchanged

    @invariant()
    def agrees(self) -> None:
        if not self.collection.exists:
            return
        pictures = self.expected_pictures
        assert sorted(self.collection.keys()) == sorted(pictures)
        for number in (3, 150):
            query = vector(number)
            expected = {key: float(vector(pictures[key]) @ query) for key in pictures}
            hits = self.collection.search(query, k=5)
            assert [hit.key in expected for hit in hits] == [True] * min(5, len(pictures))
            assert all(abs(hit.score - expected[hit.key]) < 1e-5 for hit in hits)
            best = sorted(expected.values(), reverse=True)[:5]
            assert np.allclose([hit.score for hit in hits], best, atol=1e-5)


def test_any_sequence_agrees_with_a_dictionary(own_cache: Path) -> None:
    """With an index that looks everywhere, an approximate search has to be right too."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        with mock.patch.object(nearest, "FEW", 0), mock.patch.object(nearest, "WHOLE", 0):
            run_state_machine_as_test(
                Photos,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    derandomize="LOOKALIKE_TEST_EXAMPLES" not in os.environ,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        faiss.omp_set_num_threads(threads)
