"""A collection folder may come from anyone, and links in it may lead to any file: nothing is written through one."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lookalike.errors import CollectionError
from lookalike.storage.catalog import CATALOG
from lookalike.storage.features import FILE, FeatureCache
from lookalike.storage.sqlite import reading
from lookalike.storage.store import Store
from lookalike.storage.swap import beside
from tests.support.vectors import clustered, items, make

VICTIM = b"precious\n" * 100


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(VICTIM)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "vectors.f32",
        CATALOG,
        f"{CATALOG}-journal",
        "writer.lock",
        "collection.json",
        "precision.json",
        "cache/x",
        "index/x",
    ],
)
def test_no_file_of_a_collection_is_written_through_a_link(tmp_path: Path, victim: Path, name: str) -> None:
    make(tmp_path / "c", clustered(6, 8)).close()
    planted = tmp_path / "c" / name
    planted.parent.mkdir(exist_ok=True)
    if planted.exists():
        planted.rename(tmp_path / "aside")
        planted.symlink_to(tmp_path / "aside")
        victim = tmp_path / "aside"
    else:
        planted.symlink_to(victim)
    before = victim.read_bytes()
    with (
        pytest.raises(CollectionError, match=f"{name}: a symbolic link, .* remove it|readonly"),
        closing(Store(tmp_path / "c")) as store,
        store.writing(),
    ):
        store.add_many(items(["new.jpg"]), clustered(1, 8))
    assert victim.read_bytes() == before


def test_a_crash_is_not_rolled_back_through_a_link(tmp_path: Path, victim: Path) -> None:
    make(tmp_path / "c", clustered(6, 8)).close()
    (tmp_path / "c" / "writer.lock").unlink(missing_ok=True)
    (tmp_path / "c" / "writer.lock").symlink_to(victim)
    code = f"""if 1:
        import os, sqlite3
        catalog = sqlite3.connect({str(tmp_path / "c" / CATALOG)!r}, isolation_level=None)
        catalog.execute("PRAGMA cache_size = 1")
        catalog.execute("BEGIN IMMEDIATE")
        catalog.execute("CREATE TABLE more (x)")
        catalog.executemany("INSERT INTO more VALUES (?)", [(b"x" * 3000,)] * 50)
        os._exit(9)"""
    assert os.spawnv(os.P_WAIT, os.sys.executable, ["python", "-c", code]) == 9  # type: ignore[attr-defined]
    assert (tmp_path / "c" / f"{CATALOG}-journal").exists()
    with pytest.raises(sqlite3.OperationalError):
        reading(tmp_path / "c" / CATALOG)
    assert victim.read_bytes() == VICTIM


def test_a_cache_behind_a_link_is_no_cache(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).symlink_to(tmp_path / "made")
    cache = FeatureCache(tmp_path / "cache")
    cache.put({b"key": b"data"})
    assert cache.get([b"key"]) == {}
    assert not (tmp_path / "made").exists()


def test_a_draft_is_not_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "c.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CollectionError, match=r"c\.new: a symbolic link"):
        beside(tmp_path / "c", "new")
