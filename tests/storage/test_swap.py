"""A new collection takes the place of an old one: killed at any step of it, and looked at between any two."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lookalike.collection.collection import Collection
from lookalike.errors import CollectionLocked
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.swap import beside, exchange
from tests.support.vectors import clustered, compact, make

STEPS = ("rename", "replace", "unlink", "rmdir")
"""How a name comes or goes; all that `compact` does to names is one of these, but for SQLite's journal."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A collection of twenty images with a further set of vectors, and with a cache."""
    path = tmp_path / "c"
    make(path, clustered(20)).close()
    make(path / "sets" / "further", clustered(20, dim=8), encoder="further").close()
    (path / "cache").mkdir()
    (path / "cache" / "features").write_bytes(b"kept")
    return path


def is_whole(collection: Collection) -> bool:
    lengths = [len(vectors) for vectors in collection.sets.values()]
    return lengths == [20, 20] and (collection.path / "cache" / "features").read_bytes() == b"kept"


def is_whole_when_opened(path: Path) -> bool:
    with Collection(path) as collection:
        return is_whole(collection)


@contextmanager
def before_every_step(called: Callable[[int], object]) -> Iterator[None]:
    """`called` with its number before each change of a name in this thread."""
    originals = {name: getattr(os, name) for name in STEPS}
    number, thread = 0, threading.get_ident()

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal number
            if threading.get_ident() == thread:
                number += 1
                called(number)
            return original(*args, **kwargs)

        return counted

    for name, original in originals.items():
        setattr(os, name, counting(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def compact_killed_at(step: int, path: Path) -> bool:
    """Whether it came to that step."""
    child = os.fork()
    if not child:
        with before_every_step(lambda number: os._exit(1) if number == step else None):
            compact(path)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forked processes are killed here")
def test_killed_at_any_step_it_still_has_its_further_sets_and_its_cache(kept: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        killed = compact_killed_at(step, kept)
        assert is_whole_when_opened(kept), f"killed at step {step}"
        assert not verify(kept)
    assert step > 15
    assert [path.name for path in kept.parent.iterdir()] == ["c"]


def test_an_exchange_saves_what_an_interrupted_one_had_not_moved_yet(kept: Path) -> None:
    """Nobody has opened the collection in between."""
    make(beside(kept, "old"), clustered(20)).close()
    for folder in ("sets", "cache"):
        (kept / folder).rename(beside(kept, "old") / folder)
    compact(kept)
    assert is_whole_when_opened(kept)


def test_whoever_opens_it_or_has_it_open_sees_all_of_it_at_any_step(kept: Path) -> None:
    seen: list[bool] = []
    readers: list[threading.Thread] = []

    def look(_: int) -> None:
        now = [
            threading.Thread(target=lambda: seen.append(is_whole(collection))),
            threading.Thread(target=lambda: seen.append(is_whole_when_opened(kept))),
        ]
        readers.extend(now)
        for reader in now:
            reader.start()
        for reader in now:
            reader.join(0.05)  # one that waits for the end of the exchange must not hold it up

    with Collection(kept) as collection:
        assert is_whole(collection)
        with before_every_step(look):
            compact(kept)
        for reader in readers:
            reader.join()
    assert len(readers) > 20
    assert seen == [True] * len(readers)


def test_until_the_old_one_is_cleared_away_nobody_can_replace_the_new_one(kept: Path) -> None:
    """The clearing away would else strike what the next exchange has just put aside."""
    fresh = beside(kept, "compact")
    make(fresh, clustered(20)).close()
    steps = []

    def write(number: int) -> None:
        if kept.exists() and not fresh.exists():
            steps.append(number)
            with pytest.raises(CollectionLocked):
                compact(kept)

    with before_every_step(write):
        exchange(kept, fresh)
    assert len(steps) > 5
    assert is_whole_when_opened(kept)


def test_a_draft_that_a_killed_process_left_beside_the_files_is_not_copied(kept: Path) -> None:
    (kept / ".collection.json.0123abcd.new").write_text("{")
    (kept / "precision.json").write_text("{}")
    compact(kept)
    assert (kept / "precision.json").read_text() == "{}"
    assert not (kept / ".collection.json.0123abcd.new").exists()
