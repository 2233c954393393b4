"""Copies and older states of a folder whose vectors lie in a server: none overwrites the rows of the live one."""

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.errors import EngineError
from lookalike.integrations import row_store
from lookalike.integrations.engine import Signature
from lookalike.storage import fence, store
from lookalike.types import Vectors
from tests.engines.conftest import connect, engine_of, every_engine, exists
from tests.support.pictures import PixelEncoder, picture

COPY = "another folder has written this collection's vectors since; .*compact .* --engine URI"


def more(folder: Path, name: str, count: int, first: int) -> Path:
    (folder / name).mkdir(parents=True)
    for number in range(first, first + count):
        picture(number).save(folder / name / f"{number}.jpg")
    return folder / name


def indexed(path: Path, encoder: PixelEncoder, uri: str, folder: Path) -> Collection:
    collection = Collection(path, encoder, engine=uri)
    collection.index([folder])
    return collection


@pytest.fixture
def copied(tmp_path: Path, photos: Path, encoder: PixelEncoder, uri: str) -> tuple[Path, Path]:
    """A collection of 12 images in a server, and a copy of its folder."""
    indexed(tmp_path / "orig", encoder, uri, photos).close()
    shutil.copytree(tmp_path / "orig", tmp_path / "copy")
    return tmp_path / "orig", tmp_path / "copy"


@every_engine
def test_a_copied_folder_does_not_overwrite_the_rows_of_the_live_one(
    copied: tuple[Path, Path], tmp_path: Path, encoder: PixelEncoder
) -> None:
    orig, copy = copied
    with Collection(orig, encoder) as live:
        live.index([more(tmp_path, "forty", 4, 40)])
    encoded = encoder.encoded
    with Collection(copy, encoder) as late, pytest.raises(EngineError, match=COPY):
        late.index([more(tmp_path, "thirty", 3, 60)])
    assert encoder.encoded == encoded, "refused before anything is embedded"
    with Collection(orig, encoder) as live:
        assert not live.verify()
        assert len(live) == 16


def test_of_two_folders_the_one_that_wrote_last_goes_on(
    copied: tuple[Path, Path], tmp_path: Path, encoder: PixelEncoder
) -> None:
    orig, copy = copied
    with Collection(copy, encoder) as taken:
        taken.index([more(tmp_path, "thirty", 3, 60)])
        with Collection(orig, encoder) as live, pytest.raises(EngineError, match=COPY):
            live.index([more(tmp_path, "forty", 4, 40)])
        assert taken.index().unchanged == 15
        assert not taken.verify()


def test_a_repair_of_a_copy_deletes_nothing_of_the_live_one(
    copied: tuple[Path, Path], tmp_path: Path, encoder: PixelEncoder, uri: str
) -> None:
    orig, copy = copied
    with Collection(orig, encoder) as live:
        live.index([more(tmp_path, "forty", 4, 40)])
    damage_a_row(copy)
    with Collection(copy, encoder) as late, pytest.raises(EngineError, match=COPY):
        late.verify(repair=True)
    with Collection(orig, encoder) as live:
        assert not live.verify()


def damage_a_row(path: Path) -> None:
    with sqlite3.connect(path / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE items SET width = width + 1 WHERE row = 3")


def test_a_rebuild_or_compaction_of_an_untouched_copy_leaves_the_rows_of_the_original(
    copied: tuple[Path, Path], encoder: PixelEncoder, uri: str
) -> None:
    orig, copy = copied
    with Collection(copy, encoder) as second:
        second.compact(engine=f"{uri}_own")
        assert second.store.header.engine == f"{uri}_own"
        assert not second.verify()
    with Collection(copy, encoder) as second:
        second.index(rebuild=True)
    with Collection(orig, encoder) as live:
        assert not live.verify()
        assert live.index().unchanged == 12


def test_a_copy_that_came_too_late_gets_vectors_of_its_own_without_embedding(
    copied: tuple[Path, Path], tmp_path: Path, encoder: PixelEncoder, uri: str
) -> None:
    orig, copy = copied
    with Collection(orig, encoder) as live:
        live.index([more(tmp_path, "forty", 4, 40)])
    encoded = encoder.encoded
    with Collection(copy, encoder) as second:
        second.compact(engine=f"{uri}_own")
        assert len(second) == 12
        assert encoder.encoded == encoded
        assert second.index([more(tmp_path, "thirty", 3, 60)]).added == 3
    with Collection(orig, encoder) as live:
        assert not live.verify()


def test_compaction_drops_the_rows_of_removed_images_on_the_server_too(
    copied: tuple[Path, Path], encoder: PixelEncoder, uri: str
) -> None:
    with Collection(copied[0], encoder) as collection:
        collection.remove(["01.jpg"])
        encoded = encoder.encoded
        assert collection.compact().removed == 1
        assert (len(collection), encoder.encoded) == (11, encoded)
        assert collection.store.header.engine == f"{uri}_r2"
        assert engine_of(collection).count() == 11
    assert not exists(uri)


@every_engine
def test_a_writer_that_was_overtaken_writes_nothing_more(
    copied: tuple[Path, Path], tmp_path: Path, encoder: PixelEncoder, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collection(copied[0], encoder) as live:
        encode = encoder.encode_batch

        def overtaken(arrays: Sequence[Any]) -> Vectors:
            """As if a copy had asked for the generation at the same moment, and had begun right afterwards."""
            other = connect(uri)
            header = live.store.header
            other.open(Signature(header.id, header.encoder, header.fingerprint, header.dim, header.dtype))
            other.begin("copy", other.generation())
            other.close()
            return encode(arrays)

        monkeypatch.setattr(encoder, "encode_batch", overtaken)
        with pytest.raises(EngineError, match="another folder has begun to write"):
            live.index([more(tmp_path, "forty", 4, 40)])
        assert len(live) == 12
    assert connect(uri).count() == 12


def test_a_writer_killed_between_its_catalog_and_the_server_goes_on(
    copied: tuple[Path, Path], encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(rows: row_store.EngineRowStore, generation: str, after: str) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(row_store.EngineRowStore, "begin", killed)
            with Collection(copied[0], encoder) as collection, pytest.raises(KeyboardInterrupt):
                collection.index()
    with Collection(copied[0], encoder) as collection:
        assert collection.index().unchanged == 12


def test_a_kill_between_the_exchange_and_the_drop_leaves_nothing_behind(
    copied: tuple[Path, Path], encoder: PixelEncoder, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(rows: fence.EngineRows) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fence.EngineRows, "discard", killed)
        with Collection(copied[0], encoder) as collection, pytest.raises(KeyboardInterrupt):
            collection.index(rebuild=True)
    assert exists(uri)
    with Collection(copied[0], encoder) as collection:
        assert collection.store.header.engine == f"{uri}_r2"
        assert collection.index().unchanged == 12
    assert not exists(uri)


def test_a_fresh_collection_of_another_folder_is_not_dropped_because_it_is_empty(uri: str) -> None:
    first, second = (Signature(owner, "thumbnail", "f" * 64, 16) for owner in ("first", "second"))
    made = connect(uri)
    made.create(first)
    with pytest.raises(EngineError, match="belongs to another collection"):
        connect(uri).create(second)
    made.open(first)


def test_what_a_killed_first_run_made_on_the_server_is_taken_over_by_its_next_run(
    photos: Path, encoder: PixelEncoder, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, header: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "_make", killed)
        with pytest.raises(KeyboardInterrupt):
            open_collection(photos, encoder=encoder, engine=uri).index()
    collection = open_collection(photos, encoder=encoder, engine=uri)
    assert collection.index().added == 12
    assert not (collection.path / fence.CLAIM).exists()
