"""An index run is killed at random moments; what it leaves must be what an undisturbed run makes."""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lookalike.collection import sync
from lookalike.collection.collection import Collection
from lookalike.images.sources import Folder
from lookalike.storage.sqlite import Database
from tests.support.pictures import PixelEncoder, picture

COMMAND = [sys.executable, "-m", "lookalike", "index"]


def index(folder: Path, collection: Path) -> "subprocess.Popen[bytes]":
    options = ["--collection", str(collection), "--encoder", "rootsift"]
    return subprocess.Popen([*COMMAND, str(folder), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def write_pictures(folder: Path, count: int) -> Path:
    """So many different pictures, each of which takes long enough to embed for a signal to fall among them."""
    folder.mkdir()
    for number in range(count):
        picture(number, (480, 360)).save(folder / f"{number:03}.jpg")
    return folder


def finish(process: "subprocess.Popen[bytes]") -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def written(collection: Path) -> int:
    """Bytes of vectors that lie there, committed or not; a look at the catalog would mend what a kill left."""
    vectors = collection / "vectors.f32"
    return vectors.stat().st_size if vectors.exists() else 0


def is_running_after(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def is_running_after_a_picture(process: "subprocess.Popen[bytes]", collection: Path) -> bool:
    """Waits until vectors were written or cut off; False where the run came to its end first."""
    before = written(collection)
    while written(collection) == before:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return process.poll() is None


def state(collection: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], bytes]:
    with sqlite3.connect(collection / "catalog.sqlite") as catalog:
        items = catalog.execute("SELECT * FROM items ORDER BY row").fetchall()
        skipped = catalog.execute("SELECT * FROM skipped ORDER BY key").fetchall()
    return items, skipped, (collection / "vectors.f32").read_bytes()


def test_killed_at_twenty_moments_it_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rng = write_pictures(tmp_path / "photos", 19), random.Random(0)
    shutil.copy(folder / "000.jpg", folder / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    start = time.monotonic()
    finish(index(folder, tmp_path / "whole"))
    whole = time.monotonic() - start
    monkeypatch.setenv("LOOKALIKE_COMMIT_SECONDS", "0.1")  # many small commits, so that the kills fall among them

    killed, struck = 0, set[int]()
    while killed < 20:
        start, process = time.monotonic(), index(folder, tmp_path / "killed")
        # By turns at any moment, later and later, and as soon as a picture of this run is written.
        delay = rng.uniform(0.3, 1) * whole * (0.3 + killed / 20)
        if is_running_after(process, delay) if killed % 2 else is_running_after_a_picture(process, tmp_path / "killed"):
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            struck.add(written(tmp_path / "killed"))
        else:
            shutil.rmtree(tmp_path / "killed")  # it got to the end: begin again
            whole = time.monotonic() - start  # on a machine that was busy before, none would be killed in time
        _, errors = process.communicate()
        assert b"Traceback" not in errors
    assert any(0 < size < written(tmp_path / "whole") for size in struck), "no kill fell among the pictures"
    finish(index(folder, tmp_path / "killed"))
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_ctrl_c_keeps_what_was_committed_and_says_so(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "photos", 300)
    process = index(folder, tmp_path / "collection")
    deadline = time.monotonic() + 60
    vectors = tmp_path / "collection" / "vectors.f32"
    while time.monotonic() < deadline and not (vectors.exists() and vectors.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b""
    assert errors.decode().splitlines()[-1].endswith("and the same command goes on from there")
    assert b"Traceback" not in errors
    with sqlite3.connect(tmp_path / "collection" / "catalog.sqlite") as catalog:
        assert 0 < catalog.execute("SELECT COUNT(*) FROM items").fetchone()[0] < 300


HALF_MADE = """
import os, sys
from pathlib import Path
from lookalike.storage import catalog
from lookalike.storage.sqlite import connect

path, has_tables = Path(sys.argv[1]), sys.argv[2] == "True"
if has_tables:
    catalog.make(path)
(path / "vectors.f32").write_bytes(b"")
database = connect(path / "catalog.sqlite")
for statement in ("PRAGMA cache_spill = ON", "PRAGMA cache_size = 10", "BEGIN IMMEDIATE"):
    database.execute(statement)
if not has_tables:
    database.execute(catalog.SCHEMA[0])
database.executemany("INSERT INTO facts VALUES (?, ?, 0)", ((f"{row}", "x" * 1000) for row in range(1000)))
os._exit(0)
"""
"""Ends inside a transaction of which a part is in the file already, before collection.json is written."""


@pytest.mark.parametrize("has_tables", [True, False])
def test_a_first_run_that_was_killed_in_the_catalog_can_be_run_again(
    photos: Path, tmp_path: Path, has_tables: bool
) -> None:
    path = tmp_path / "c"
    path.mkdir()
    subprocess.run([sys.executable, "-c", HALF_MADE, str(path), str(has_tables)], check=True)
    assert (path / "catalog.sqlite-journal").read_bytes()[:4] == b"\xd9\xd5\x05\xf9", "to be rolled back"
    with Collection(path, PixelEncoder()) as collection:
        assert collection.index([photos]).added == len(list(Folder(photos).entries()))
        assert not collection.verify()


@pytest.mark.parametrize(("batch", "least"), [(1, 12 * 3), (8, 12)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_at_any_statement_leaves_a_whole_collection(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, batch: int, least: int
) -> None:
    monkeypatch.setattr(sync, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(PixelEncoder, "batch_size", batch, raising=False)
    originals = {name: getattr(Database, name) for name in ("execute", "execute_many")}
    at, statements = 0, 0

    def striking(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Database, *args: Any) -> Any:
            nonlocal statements
            statements += 1
            if statements == at and when == "before":
                raise KeyboardInterrupt
            result = original(self, *args)
            if statements == at:
                raise KeyboardInterrupt
            return result

        return counted

    for name, original in originals.items():
        monkeypatch.setattr(Database, name, striking(original))
    while statements >= at:
        at, statements = at + 1, 0
        with Collection(tmp_path / f"{at}", PixelEncoder()) as collection:
            with contextlib.suppress(KeyboardInterrupt):
                collection.index([photos])
            reached, statements = statements, 1000
            # Struck while it was being made, it is none yet.
            assert not collection.exists or not collection.verify()
            collection.index([photos])
            assert sorted(collection.keys()) == sorted(entry.key for entry in Folder(photos).entries())
            assert not collection.verify()
            statements = reached
    assert at > least
