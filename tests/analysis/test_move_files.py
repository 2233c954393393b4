import errno
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from lookalike.analysis.duplicates import Group, Member
from lookalike.analysis.move_files import Move, execute, plan
from lookalike.collection.collection import Collection
from lookalike.encoders.thumb import Thumbnail
from lookalike.storage.store import Item
from tests.analysis.test_group_copies import scene


def member(folder: Path, key: str, keep: bool = False, content: bytes | None = b"same") -> Member:
    """A file below `folder` as the catalog knows it; None makes none."""
    path = folder / key
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        status = path.stat()
        size, mtime = status.st_size, status.st_mtime_ns
    else:
        size = mtime = 0
    sha256 = hashlib.sha256(content or b"").hexdigest()
    return Member(Item(0, 1, key, size, mtime, sha256, 4, 4), path, 0, 1.0, keep)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    photos = tmp_path / "photos"
    return Group((member(photos, "kept.jpg", keep=True), member(photos, "a/b.jpg"), member(photos, "b.jpg")))


def test_a_plan_touches_nothing(group: Group, tmp_path: Path) -> None:
    moves = plan([group], tmp_path / "out")
    assert [(move.key, move.target, move.reason) for move in moves] == [
        ("a/b.jpg", tmp_path / "out/a/b.jpg", None), ("b.jpg", tmp_path / "out/b.jpg", None),
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_files_keep_their_relative_paths_and_bytes(group: Group, tmp_path: Path) -> None:
    done = list(execute(plan([group], tmp_path / "out")))
    assert [move.reason for move in done] == [None, None]
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")) == [
        "out/a/b.jpg", "out/b.jpg", "photos/kept.jpg",
    ]  # fmt: skip
    assert (tmp_path / "out/a/b.jpg").read_bytes() == b"same"


def test_a_name_that_is_taken_is_numbered(group: Group, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.jpg").write_bytes(b"precious")
    moves = plan([group], tmp_path / "out")
    assert moves[1].target == tmp_path / "out/b (2).jpg"
    assert all(move.reason is None for move in execute(moves))
    assert (tmp_path / "out/b.jpg").read_bytes() == b"precious"


def test_two_moves_never_share_a_target(tmp_path: Path) -> None:
    first = Group((member(tmp_path / "x", "k", keep=True), member(tmp_path / "x", "p.jpg")))
    second = Group((member(tmp_path / "y", "k", keep=True), member(tmp_path / "y", "P.jpg")))
    assert [move.target for move in plan([first, second], tmp_path / "out")] == [
        tmp_path / "out/p.jpg", tmp_path / "out/P (2).jpg",
    ]  # fmt: skip


def test_a_target_that_came_after_the_plan_is_not_overwritten(group: Group, tmp_path: Path) -> None:
    moves = plan([group], tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.jpg").write_bytes(b"precious")
    done = list(execute(moves))
    assert done[1].reason == "file exists"
    assert (tmp_path / "out/b.jpg").read_bytes() == b"precious"
    assert (tmp_path / "photos/b.jpg").exists()


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM])
def test_another_device_is_copied_to(group: Group, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    before = (tmp_path / "photos/b.jpg").stat().st_mtime_ns
    assert all(move.reason is None for move in execute(plan([group], tmp_path / "out")))
    assert (tmp_path / "out/b.jpg").read_bytes() == b"same"
    assert (tmp_path / "out/b.jpg").stat().st_mtime_ns == before
    assert not (tmp_path / "photos/b.jpg").exists()
    (tmp_path / "photos/b.jpg").write_bytes(b"again")
    move = Move("b.jpg", tmp_path / "photos/b.jpg", tmp_path / "out/b.jpg")
    assert [moved.reason for moved in execute([move])] == ["file exists"]
    assert (tmp_path / "photos/b.jpg").read_bytes() == b"again"


def test_a_copy_that_fails_leaves_the_original_and_no_half(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "fsync", full)
    assert [move.reason for move in execute(plan([group], tmp_path / "out"))] == ["no space left on device"] * 2
    assert not list((tmp_path / "out").rglob("*.jpg"))
    assert (tmp_path / "photos/b.jpg").read_bytes() == b"same"


def test_a_file_that_grows_while_it_is_copied_stays(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "")

    copied = shutil.copyfileobj

    def overtaken(reader: IO[bytes], writer: IO[bytes], length: int) -> None:
        copied(reader, writer, length)
        with Path(reader.name).open("ab") as late:
            late.write(b" and more")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(shutil, "copyfileobj", overtaken)
    done = list(execute(plan([group], tmp_path / "out")))
    assert [move.reason for move in done] == ["the file changed while it was copied"] * 2
    assert not list((tmp_path / "out").rglob("*.jpg"))
    assert (tmp_path / "photos/b.jpg").read_bytes() == b"same and more"


def reason_for(kept: Member, extra: Member, folder: Path) -> str | None:
    (move,) = plan([Group((kept, extra))], folder)
    assert (move.target is None) == (move.reason is not None)
    return move.reason


def test_what_must_stay_is_told_why(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    kept, extra = member(photos, "kept.jpg", keep=True), member(photos, "extra.jpg")
    assert reason_for(kept, extra, out) is None
    assert reason_for(kept, replace(extra, path=None), out) == "not a file of its own (in an archive, or a URL)"
    assert reason_for(kept, member(photos, "gone.jpg", content=None), out) == "no longer there"
    assert reason_for(member(photos, "k.jpg", True, None), extra, out) == "the one to keep, k.jpg, is no longer there"
    for key in ("../up.jpg", "/etc/absolute.jpg"):
        hostile = replace(extra, item=replace(extra.item, key=key))
        assert reason_for(kept, hostile, out) == "its key is no path below a folder"
    (photos / "extra.jpg").write_bytes(b"edited since")
    assert reason_for(kept, extra, out) == "changed since it was indexed"
    extra = member(photos, "extra.jpg")
    os.utime(photos / "extra.jpg", ns=(0, extra.item.mtime_ns + 1))
    assert reason_for(kept, extra, out) is None, "another time, but the same bytes"
    (photos / "extra.jpg").write_bytes(b"SAME")
    assert reason_for(kept, extra, out) == "changed since it was indexed", "as many bytes, but others"
    extra = member(photos, "extra.jpg")
    (photos / "kept.jpg").write_bytes(b"")
    assert reason_for(kept, extra, out) == "the one to keep, kept.jpg, has changed since it was indexed"


def test_links_and_second_names_of_the_kept_file_stay(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    kept = member(photos, "kept.jpg", keep=True)
    (photos / "hard.jpg").hardlink_to(photos / "kept.jpg")
    (photos / "soft.jpg").symlink_to("kept.jpg")
    hard = replace(kept, path=photos / "hard.jpg", keep=False)
    soft = replace(kept, path=photos / "soft.jpg", keep=False)
    assert reason_for(kept, hard, out) == "the same file as the one to keep, kept.jpg"
    assert reason_for(kept, soft, out) == "a symbolic link"


def test_copies_in_a_real_folder_are_found_moved_and_forgotten(photos: Path, tmp_path: Path) -> None:
    original, picture = photos / "01.jpg", scene(3, size=(640, 480))
    picture.save(original, quality=90)
    (photos / "trip" / "same.jpg").write_bytes(original.read_bytes())
    picture.resize((320, 240)).save(photos / "small.jpg", quality=60)
    with Collection(tmp_path / "c", Thumbnail(), [photos]) as collection:
        collection.index()
        assert len(collection) == 14
        groups = collection.duplicates("near")
        assert [[member.item.key for member in group.members] for group in groups] == [
            ["01.jpg", "trip/same.jpg", "small.jpg"]
        ]
        assert [move.reason for move in execute(plan(groups, tmp_path / "out"))] == [None, None]
        collection.index()
        assert len(collection) == 12
        assert collection.duplicates("near") == []
    assert (tmp_path / "out/trip/same.jpg").read_bytes() == original.read_bytes()
