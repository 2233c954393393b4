"""SIGKILL at random moments of everything that writes, and a reader beside a writer: what is found was committed."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.errors import CollectionError
from lookalike.index.library import library
from lookalike.search.gallery import StoredGallery
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.store import Store
from tests.support.vectors import clustered, compact, items, make, optimize

KILLS = int(os.environ.get("LOOKALIKE_TEST_KILLS", "25"))
SECONDS = float(os.environ.get("LOOKALIKE_TEST_SECONDS", "4"))
DIM = 16
State = dict[str, str]
"""Key to the digest of its vector."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forked processes are killed here")


def state(path: Path) -> State:
    with closing(Store(path)) as store:
        return {item.key: digest(store.vector(item.row)) for item in store.catalog.live_items()}


def digest(vector: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(vector, "<f4").tobytes()).hexdigest()[:16]


def summary(rows_by_key: State) -> str:
    return hashlib.sha256(json.dumps(sorted(rows_by_key.items())).encode()).hexdigest()


def write(path: Path, seed: int, log: IO[str]) -> None:
    """Change the collection for ever; before each change, tell what it will be after it, and after it that it is."""
    rng = random.Random(seed)
    model, number = state(path), 0

    def tell(what: str, after: State) -> None:
        log.write(json.dumps([what, summary(after)]) + "\n")
        log.flush()

    while True:
        number += 1
        what = rng.choice(["add", "add", "remove", "rename", "compact", "optimize", "merge"])
        after = dict(model)
        keys = sorted(model)
        if what == "add":
            vectors = clustered(8, DIM, rng.randrange(1 << 30))
            fresh = [rng.choice(keys) if keys and rng.random() < 0.2 else f"{seed}/{number}/{at}" for at in range(8)]
            fresh = list(dict.fromkeys(fresh))
            after |= {key: digest(vector) for key, vector in zip(fresh, vectors, strict=False)}
            tell(what, after)
            with closing(Store(path)) as store, store.writing():
                store.add_many(items(fresh), vectors[: len(fresh)])
        elif what == "remove":
            gone = rng.sample(keys, min(5, len(keys) // 4))
            after = {key: value for key, value in model.items() if key not in gone}
            tell(what, after)
            Collection(path).remove(gone)
        elif what == "rename":
            key = rng.choice(keys)
            after[f"renamed/{seed}/{number}"] = after.pop(key)
            tell(what, after)
            with closing(Store(path)) as store, store.writing():
                item = store.catalog.live_item(key)
                assert item
                store.catalog.rename(item.row, f"renamed/{seed}/{number}", 1, 2)
        else:
            tell(what, after)
            if what == "compact":
                compact(path)
            elif what == "optimize":
                optimize(path, rng.choice(["IVF4,SQ8", "HNSW8,SQ8", "exact"]))
            else:
                merge([path], path.with_name("merged"))
                assert state(path.with_name("merged")) == model
                shutil.rmtree(path.with_name("merged"))
        model = after
        tell("done", model)


def killed(path: Path, seed: int, after: float) -> list[tuple[str, str]]:
    """What a writer told until it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            faiss = library()

            faiss.omp_set_num_threads(1)  # a forked process has no more threads
            os.close(reading)
            with os.fdopen(writing, "w") as log:
                write(path, seed, log)
        except BaseException as error:  # noqa: BLE001 - a forked writer says why it failed
            sys.stderr.write(f"the writer failed: {error!r}\n")
            os._exit(1)
    os.close(writing)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as log:
        lines = log.read().splitlines()
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    return [tuple(json.loads(line)) for line in lines if line.endswith("]")]


def test_killed_anywhere_it_is_as_it_was_before_or_after(tmp_path: Path, own_cache: Path) -> None:
    path, rng = tmp_path / "c", random.Random(0)
    make(path, clustered(600, DIM)).close()
    interrupted = []
    for seed in range(KILLS):
        before = summary(state(path))
        log = killed(path, seed, rng.uniform(0.02, 0.5))
        allowed = {before, *(after for _, after in log[-2:])}
        if log and log[-1][0] != "done":
            interrupted.append(log[-1][0])
        shutil.rmtree(tmp_path / "merged", ignore_errors=True)
        with Collection(path) as collection:  # finishes an exchange that was interrupted
            assert len(collection) > 0
        assert summary(state(path)) in allowed, f"killed in {log[-1:]}"
        damage = verify(path)
        assert not damage, damage
        with closing(Store(path)) as store:
            vectors = store.vectors.block(0, store.catalog.count_rows())
            item = next(iter(store.catalog.live_items()))
            assert abs(StoredGallery(store).search(vectors[item.row : item.row + 1], 1)[0][0, 0] - 1) < 1e-5
    print(f"{KILLS} kills, in the middle of: {sorted(interrupted)}")  # noqa: T201 - shown with -s
    # Nothing that was begun stays: the next run of each clears up after the last.
    compact(path)
    optimize(path, "IVF4,SQ8")
    assert {entry.name for entry in tmp_path.iterdir()} <= {"c", "merged.merging"}
    assert len(list((path / "index").iterdir())) == 2


def generations(path: Path, stop: float) -> None:
    """Every commit replaces all ten vectors by ten of the next generation; now and then removed rows are cleared."""
    number = 0
    while time.monotonic() < stop:
        number += 1
        vector = np.array([np.cos(number / 1000), np.sin(number / 1000), 0, 0], np.float32)
        with closing(Store(path)) as store, store.writing():
            store.add_many(items([f"{at}.jpg" for at in range(10)]), np.repeat(vector[None], 10, axis=0))
        if number % 20 == 0:
            compact(path)
    os._exit(0 if number > 20 else 1)


def test_a_reader_beside_a_writer_sees_one_committed_state_in_every_search(tmp_path: Path) -> None:
    path = tmp_path / "c"
    make(path, np.repeat(np.eye(4, dtype=np.float32)[:1], 10, axis=0), keys=[f"{at}.jpg" for at in range(10)]).close()
    stop = time.monotonic() + SECONDS
    child = os.fork()
    if not child:
        try:
            generations(path, stop)
        except BaseException as error:  # noqa: BLE001 - a reader thread says what it met
            sys.stderr.write(f"the writer failed: {error!r}\n")
            os._exit(1)
    seen: set[float] = set()
    searches = 0
    try:
        with Collection(path) as collection:
            while time.monotonic() < stop - 0.2:
                hits = collection.search(np.array([1, 0, 0, 0], np.float32), k=20)
                searches += 1
                assert sorted(hit.key for hit in hits) == [f"{at}.jpg" for at in range(10)]
                assert len({round(hit.score, 6) for hit in hits}) == 1
                seen.add(round(hits[0].score, 6))
    finally:
        _, status = os.waitpid(child, 0)
    assert status == 0
    assert searches > 20
    assert len(seen) > 5


def test_a_reader_of_what_was_replaced_leaves_the_journal_of_its_successor_alone(tmp_path: Path) -> None:
    """SQLite finds a journal by name: it would be rolled back into the old file, and lost to the new one."""
    path = tmp_path / "c"
    make(path, clustered(200, DIM)).close()
    journal = path / "catalog.sqlite-journal"
    with closing(Store(path)) as reader:
        compact(path)
        with closing(Store(path)) as writer, writer.writing():
            writer.add_many(items(["new.jpg"]), clustered(1, DIM))
            assert journal.exists()
            assert reader.replaced
            with contextlib.suppress(CollectionError):
                reader.catalog.count_rows()
            assert journal.exists()
    assert len(state(path)) == 201
    assert not verify(path)


def die_in_a_commit(path: Path) -> None:
    """A writer that commits five images, and is killed while it writes many more into the catalog."""
    child = os.fork()
    if not child:
        store = Store(path)
        with store.writing():
            store.add_many(items([f"five/{at}.jpg" for at in range(5)]), clustered(5, DIM), new_keys=True)
            # Inside a transaction the first of these would do nothing.
            for statement in ("COMMIT", "PRAGMA cache_spill = ON", "PRAGMA cache_size = 10", "BEGIN IMMEDIATE"):
                store.catalog.database.execute(statement)
            store.add_many(items([f"{at}.jpg" for at in range(2000)]), clustered(2000, DIM), new_keys=True)
            os._exit(0)
    os.waitpid(child, 0)
    assert (path / "catalog.sqlite-journal").read_bytes()[:4] == b"\xd9\xd5\x05\xf9", "one that must be rolled back"


def in_snapshot(store: Store) -> int:
    with store.catalog.database.snapshot():
        return store.catalog.count_rows()


QUESTIONS: list[Callable[[Store], int]] = [
    lambda store: len(list(store.catalog.live_items())),
    lambda store: len(store.catalog.database.numbers("SELECT row FROM items")),
    lambda store: store.catalog.count_rows() if store.catalog.database.version else 0,
    in_snapshot,
]


@pytest.mark.parametrize("question", QUESTIONS, ids=["query", "numbers", "version", "snapshot"])
def test_a_transaction_that_a_crash_left_open_is_rolled_back_by_whoever_comes(
    tmp_path: Path, question: Callable[[Store], int]
) -> None:
    path = tmp_path / "c"
    make(path, clustered(200, DIM)).close()
    with closing(Store(path)) as reader:
        die_in_a_commit(path)
        assert question(reader) == 205, "an open reader"
    assert len(state(path)) == 205
    assert not verify(path)


def test_an_open_collection_goes_on_where_a_writer_died_in_its_commit(tmp_path: Path) -> None:
    path = tmp_path / "c"
    make(path, clustered(200, DIM)).close()
    query = clustered(1, DIM)[0]
    with Collection(path) as collection:
        assert len(collection.search(query, k=300)) == 200
        die_in_a_commit(path)
        assert len(collection.search(query, k=300)) == 205, "and sees what was committed before"
        assert len(collection) == 205
        with closing(Store(path)) as store, store.writing():
            store.add_many(items(["later.jpg"]), clustered(1, DIM))
        assert len(collection) == 206
