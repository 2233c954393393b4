"""A folder that changes while it is watched, by a real process with real events; and `refresh`, which does the work."""

import contextlib
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.collection.watch import is_visible
from lookalike.storage.sqlite import Database
from lookalike.storage.store import Store
from tests.support.pictures import PixelEncoder, picture

pytest.importorskip("watchfiles")
PATIENCE = 120
"""Seconds until something that never comes is a failure; nothing here waits for so long that goes well."""


class Watching:
    """`lookalike index FOLDER --watch` in a process of its own, and the lines that it prints."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-u", "-m", "lookalike", "index", str(folder), "--watch", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self._lines.put(line.strip())

    def line(self, *parts: str) -> str:
        """The next line that has all of these in it."""
        seen = []
        with contextlib.suppress(queue.Empty):
            while True:
                seen.append(self._lines.get(timeout=PATIENCE))
                if all(part in seen[-1] for part in parts):
                    return seen[-1]
        raise AssertionError(f"no line with {parts}: {seen}")

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        return code


@pytest.fixture
def watching(photos: Path, own_cache: Path) -> Iterator[Watching]:
    running = Watching(photos, "--encoder", "thumbnail")
    try:
        running.line("watching")
        yield running
    finally:
        running.end()


def keys(folder: Path) -> set[str]:
    with Collection(folder / ".lookalike") as collection:
        return set(collection.keys())


def test_a_watched_folder_is_followed_whatever_happens_in_it(photos: Path, watching: Watching) -> None:
    before = keys(photos)
    picture(50).save(photos / "new.png")
    watching.line("1 added")
    assert keys(photos) == before | {"new.png"}
    picture(51).save(photos / "new.png")
    watching.line("1 changed")
    (photos / "new.png").rename(photos / "trip" / "newer.png")
    watching.line("1 renamed")
    assert keys(photos) == before | {"trip/newer.png"}
    shutil.rmtree(photos / "trip")
    watching.line("removed")
    assert keys(photos) == {key for key in before if "trip/" not in key}
    elsewhere = photos.with_name("elsewhere")
    (elsewhere / "deep").mkdir(parents=True)
    picture(52).save(elsewhere / "deep" / "one.png")
    (elsewhere / "deep" / "broken.png").write_bytes(b"no picture")
    elsewhere.rename(photos / "moved in")
    watching.line("1 added", "1 skipped")
    assert "moved in/deep/one.png" in keys(photos)
    assert watching.end() == 0


def test_pictures_that_vanish_all_at_once_stay_and_are_told_of(photos: Path, watching: Watching) -> None:
    before, away = keys(photos), photos.with_name("away")
    away.mkdir()
    for name in [path.name for path in photos.iterdir() if path.name != ".lookalike"]:
        (photos / name).rename(away / name)
    watching.line("withheld")
    watching.line("stay in the collection; if that is right", "--allow-removals")
    assert keys(photos) == before
    for name in [path.name for path in away.iterdir()]:
        (away / name).rename(photos / name)
    picture(50).save(photos / "new.png")
    watching.line("1 added")
    assert keys(photos) == before | {"new.png"}


def test_a_change_while_another_writes_is_taken_up_afterwards(photos: Path, watching: Watching) -> None:
    store = Store(photos / ".lookalike")
    with contextlib.closing(store), store.writing():
        picture(60).save(photos / "late.png")
        (photos / "later").mkdir()
        picture(61).save(photos / "later" / "late.png")
    watching.line("added")
    picture(62).save(photos / "last.png")
    watching.line("added")
    assert {"last.png", "late.png", "later/late.png"} <= keys(photos)


def test_a_watched_folder_follows_its_patterns(photos: Path, own_cache: Path) -> None:
    running = Watching(photos, "--encoder", "thumbnail", "--exclude", "*.tmp.png")
    try:
        running.line("watching")
        before = keys(photos)
        picture(70).save(photos / "new.tmp.png")
        picture(71).save(photos / "new.png")
        running.line("1 added")
        assert keys(photos) == before | {"new.png"}
        (photos / ".lookalikeignore").write_text("trip/\n")
        running.line("removed")
        assert keys(photos) == {key for key in before if "trip/" not in key} | {"new.png"}
        (photos / ".lookalikeignore").unlink()
        running.line("added")
        assert keys(photos) == before | {"new.png"}
    finally:
        running.end()


def test_of_two_watched_folders_the_one_that_stays_is_followed(photos: Path, own_cache: Path) -> None:
    kept, other = photos.with_name("kept"), photos.with_name("other")
    other.mkdir()
    picture(50).save(other / "50.png")
    with Collection(kept, "thumbnail", [photos, other]) as collection:
        collection.index()
    running = Watching(kept)
    try:
        running.line("watching")
        photos.rename(photos.with_name("away"))
        running.line(f"{photos}: no such folder", f"lookalike sources {kept} --move {photos} NEW")
        picture(51).save(other / "51.png")
        running.line("1 added")
        with Collection(kept) as collection:
            assert len(collection) == 14
    finally:
        assert running.end() == 0


def test_what_is_hidden_is_not_looked_at(tmp_path: Path) -> None:
    roots = [tmp_path / ".hidden" / "photos"]
    assert is_visible(roots[0] / "a" / "b.jpg", roots)
    for hidden in (".lookalike/catalog.sqlite", "a/.git/x.jpg", "@eaDir/a.jpg"):
        assert not is_visible(roots[0] / hidden, roots)
    assert not is_visible(tmp_path / "other.jpg", roots)
    assert is_visible(roots[0] / "a" / ".lookalikeignore", roots)
    assert not is_visible(roots[0] / ".git" / ".lookalikeignore", roots)


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Iterator[Collection]:
    with Collection(photos / ".lookalike", encoder, [photos]) as new:
        new.index()
        yield new


def counts(report: IndexReport) -> dict[str, int]:
    return {name: count for name, count in report.to_json().items() if count}


def test_a_refresh_reads_nothing_but_what_it_was_told_of(collection: Collection, photos: Path) -> None:
    picture(70).save(photos / "told.png")
    picture(71).save(photos / "untold.png")
    assert counts(collection.refresh([photos / "told.png"])) == {"added": 1}
    assert collection.row("untold.png") is None
    assert counts(collection.refresh([photos / "told.png"])) == {"unchanged": 1}
    assert counts(collection.refresh([photos.parent / "outside.png", photos / "never was.png"])) == {}


def test_a_refresh_knows_a_file_under_its_new_name_whichever_end_it_is_told_of(
    collection: Collection, photos: Path, encoder: PixelEncoder
) -> None:
    encoded = encoder.encoded
    (photos / "01.jpg").rename(photos / "trip" / "first.jpg")
    assert counts(collection.refresh([photos / "01.jpg", photos / "trip" / "first.jpg"])) == {"renamed": 1}
    (photos / "02.jpg").rename(photos / "second.jpg")
    assert counts(collection.refresh([photos / "second.jpg"])) == {"renamed": 1}
    assert counts(collection.refresh([photos / "02.jpg"])) == {}
    assert encoder.encoded == encoded
    assert {"trip/first.jpg", "second.jpg"} <= set(collection.keys())


def test_a_refresh_of_a_folder_covers_all_that_is_and_was_in_it(collection: Collection, photos: Path) -> None:
    for file in sorted((photos / "trip").iterdir())[:2]:
        file.unlink()
    picture(72).save(photos / "trip" / "another.png")
    assert counts(collection.refresh([photos / "trip"])) == {"added": 1, "removed": 2, "unchanged": 2}
    shutil.rmtree(photos / "trip")
    assert counts(collection.refresh([photos / "trip"])) == {"removed": 3}
    picture(73).save(photos / "trip", "png")  # a file where the folder was
    assert counts(collection.refresh([photos / "trip"])) == {"added": 1}
    (photos / "trip").unlink()
    (photos / "trip").mkdir()
    picture(74).save(photos / "trip" / "again.png")
    assert counts(collection.refresh([photos / "trip"])) == {"added": 1, "removed": 1}


def test_a_refresh_of_a_folder_leaves_what_only_begins_like_it(collection: Collection, photos: Path) -> None:
    for name in ("trip.png", "trip-2/a.png", "trip0.png", "trip00.png", "trips/a.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        picture(sum(name.encode())).save(photos / name)
    assert counts(collection.index()) == {"added": 5, "unchanged": 12}
    shutil.rmtree(photos / "trip")
    assert counts(collection.refresh([photos / "trip"])) == {"removed": 4}
    assert counts(collection.index()) == {"unchanged": 13}


def test_a_refresh_skips_a_broken_file_until_it_is_whole(collection: Collection, photos: Path) -> None:
    (photos / "slow.png").write_bytes(b"half a picture")
    assert counts(collection.refresh([photos / "slow.png"])) == {"skipped": 1}
    assert [key for key, _ in collection.skipped()] == ["slow.png"]
    picture(75).save(photos / "slow.png")
    assert counts(collection.refresh([photos / "slow.png"])) == {"added": 1}
    assert collection.skipped() == []


def test_a_refresh_finds_the_source_that_a_file_lies_in(collection: Collection, photos: Path, tmp_path: Path) -> None:
    further = tmp_path / "further"
    further.mkdir()
    picture(76).save(further / "a.png")
    collection.index([photos, further])
    picture(77).save(further / "b.png")
    assert counts(collection.refresh([further / "b.png", photos / "01.jpg"])) == {"added": 1, "unchanged": 1}
    assert {"further/a.png", "further/b.png"} <= set(collection.keys())


def test_what_is_asked_about_one_file_goes_through_no_more_than_it(
    collection: Collection, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the way that SQLite says it would take: on twelve rows no clock tells."""
    statements: list[tuple[str, Sequence[object]]] = []
    for name in ("query", "execute", "numbers"):
        real = getattr(Database, name)

        def noted(self: Database, sql: str, values: Sequence[object] = (), real: Any = real) -> Any:
            statements.append((sql, values))
            return real(self, sql, values)

        monkeypatch.setattr(Database, name, noted)
    picture(78).save(photos / "one.png")
    collection.refresh([photos / "one.png"])
    len(collection)
    monkeypatch.undo()
    relevant = [(sql, values) for sql, values in statements if sql.split()[0] in {"SELECT", "UPDATE", "DELETE"}]
    assert len(relevant) > 5
    for sql, values in relevant:
        plan = " ".join(
            str(step[-1]) for step in collection.store.catalog.database.query(f"EXPLAIN QUERY PLAN {sql}", values)
        )
        assert "items_source" not in plan, sql
        assert "SCAN items" not in plan or "items_removed" in plan, sql
