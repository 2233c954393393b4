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
from conftest import PixelEncoder

from lookalike import sync
from lookalike.collection import Collection
from lookalike.sources import Folder
from lookalike.store import Store

COMMAND = [sys.executable, "-m", "lookalike", "index"]


def index(folder: Path, collection: Path) -> "subprocess.Popen[bytes]":
    options = ["--collection", str(collection), "--encoder", "rootsift"]
    return subprocess.Popen([*COMMAND, str(folder), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def state(collection: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], bytes]:
    with sqlite3.connect(collection / "catalog.sqlite") as catalog:
        items = catalog.execute("SELECT * FROM items ORDER BY row").fetchall()
        skipped = catalog.execute("SELECT * FROM skipped ORDER BY key").fetchall()
    return items, skipped, (collection / "vectors.f32").read_bytes()


def test_killed_at_twenty_moments_it_ends_as_if_it_had_not_been(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rng = tmp_path / "photos", random.Random(0)
    folder.mkdir()
    for path in sorted((shared_data / "photos").iterdir())[::250]:
        shutil.copy(path, folder)
    shutil.copy(next(folder.iterdir()), folder / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    undisturbed = index(folder, tmp_path / "whole")
    start = time.monotonic()
    assert undisturbed.wait(300) == 0
    whole = time.monotonic() - start
    monkeypatch.setenv("LOOKALIKE_COMMIT_SECONDS", "0.1")  # many small commits, so that the kills fall among them

    killed = 0
    while killed < 20:
        process = index(folder, tmp_path / "killed")
        try:
            # Later kills strike later, or the run would never get past its start.
            process.wait(rng.uniform(0.3, 1) * whole * (0.3 + killed / 20))
            shutil.rmtree(tmp_path / "killed")  # it got to the end: begin again
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        _, errors = process.communicate()
        assert b"Traceback" not in errors
    last = index(folder, tmp_path / "killed")
    assert last.wait(300) == 0
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_ctrl_c_keeps_what_was_committed_and_says_so(shared_data: Path, tmp_path: Path) -> None:
    process = index(shared_data / "photos", tmp_path / "collection")
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
        assert catalog.execute("SELECT COUNT(*) FROM items").fetchone()[0] > 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_at_any_statement_leaves_a_whole_collection(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(sync, "COMMIT_SECONDS", 0.0)
    originals = {name: getattr(Store, name) for name in ("execute", "execute_many")}
    at, statements = 0, 0

    def striking(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Store, *given: Any) -> Any:
            nonlocal statements
            statements += 1
            if statements == at and when == "before":
                raise KeyboardInterrupt
            found = original(self, *given)
            if statements == at:
                raise KeyboardInterrupt
            return found

        return counted

    for name, original in originals.items():
        monkeypatch.setattr(Store, name, striking(original))
    while statements >= at:
        at, statements = at + 1, 0
        with Collection(tmp_path / f"{at}", PixelEncoder()) as opened:
            with contextlib.suppress(KeyboardInterrupt):
                opened.index([photos])
            reached, statements = statements, 1000
            assert not opened.verify()
            opened.index([photos])
            assert sorted(opened.keys()) == sorted(entry.key for entry in Folder(photos).entries())
            assert not opened.verify()
            statements = reached
    assert at > 12 * 3
