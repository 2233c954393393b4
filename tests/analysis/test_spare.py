"""The disk decides what is spare: links, second routes, files that changed, and files that are gone."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.analysis.duplicates import Group, Level, as_json, extra_paths
from lookalike.analysis.journal import ONLY_BY_HAND, TRASH, Journal
from lookalike.analysis.move_files import execute, execute_trash, plan, plan_trash
from lookalike.collection.collection import Collection
from tests.support.pictures import PixelEncoder, picture
from tests.support.trash import trash_in

LEVELS: tuple[Level, ...] = ("exact", "same", "near", "similar")
SIZE = (48, 36)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A picture, a copy of it and another picture."""
    folder = tmp_path / "library"
    folder.mkdir()
    picture(1).save(folder / "a.png")
    shutil.copy(folder / "a.png", folder / "copy of a.png")
    picture(2).save(folder / "other.png")
    return folder


def indexed(folder: Path) -> Collection:
    collection = Collection(folder.parent / "c", PixelEncoder(), [folder])
    collection.index()
    return collection


def names(groups: list[Group]) -> list[list[str]]:
    return [[member.item.key for member in group.members] for group in groups]


def test_the_copy_is_spare_and_the_better_name_is_kept(library: Path) -> None:
    with indexed(library) as collection:
        groups = collection.duplicates()
        assert names(groups) == [["a.png", "copy of a.png"]]
        assert list(extra_paths(groups)) == [library / "copy of a.png"]
        assert groups[0].reason == "the shorter path"


def test_of_paths_of_one_length_the_first_by_name_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        picture(1).save(folder / name)
    with indexed(folder) as collection:
        (group,) = collection.duplicates()
    assert (names([group]), group.reason) == ([["a.png", "b.png"]], "the first by name")


Change = Callable[[Path], object]
CHANGES: dict[str, Change] = {
    "the kept one is gone": lambda folder: (folder / "a.png").unlink(),
    "the extra is gone": lambda folder: (folder / "copy of a.png").unlink(),
    "the kept one is empty": lambda folder: (folder / "a.png").write_bytes(b""),
    "the extra is edited": lambda folder: picture(9).save(folder / "copy of a.png"),
    "the kept one has other bytes of that size": lambda folder: flip(folder / "a.png"),
    "the extra became a link": lambda folder: linked(folder / "copy of a.png", folder / "a.png"),
    "the kept one became a link": lambda folder: linked(folder / "a.png", folder / "copy of a.png"),
    "the extra became a hard link": lambda folder: hard_linked(folder / "copy of a.png", folder / "a.png"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def linked(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def hard_linked(path: Path, target: Path) -> None:
    path.unlink()
    path.hardlink_to(target)
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("level", ["exact", "near"])
def test_what_changed_since_it_was_indexed_is_neither_kept_nor_spare(library: Path, change: str, level: str) -> None:
    with indexed(library) as collection:
        CHANGES[change](library)
        assert collection.duplicates(level) == []  # type: ignore[arg-type]


def test_without_its_drive_a_collection_has_no_duplicates(library: Path) -> None:
    with indexed(library) as collection:
        library.rename(library.with_name("unplugged"))
        for level in LEVELS:
            groups = collection.duplicates(level)
            assert (groups, groups.unseen) == ([], 2 if level == "exact" else 3)


def test_of_two_drives_the_one_that_is_there_has_groups_and_nothing_of_the_other_is_spare(
    library: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(library, other)
    picture(8, SIZE).save(other / "alone.png")
    with Collection(tmp_path / "both", PixelEncoder(), [library, other]) as collection:
        collection.index()
        for name in (library, other):
            for level in LEVELS:
                away = name.rename(tmp_path / "away")
                groups = collection.duplicates(level)
                assert [len(group.members) for group in groups] == [2]
                assert not any(path.is_relative_to(name) for path in extra_paths(groups))
                assert groups.unseen == (4 if level != "exact" and name == other else 3)
                assert as_json(groups)["unseen"] == groups.unseen
                away.rename(name)
        assert [collection.duplicates(level).unseen for level in LEVELS] == [0, 0, 0, 0]


def test_a_drive_that_goes_while_its_pictures_are_compared_ends_no_command(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lookalike.analysis import group_copies, verify_pair

    compared = verify_pair.may_be_near

    def unplug(*arguments: Any) -> Any:
        library.rename(library.with_name("unplugged"))
        return compared(*arguments)

    picture(1).save(library / "a.jpg", quality=95)
    with indexed(library) as collection:
        assert len(collection.duplicates("near")[0].members) == 3
        monkeypatch.setattr(group_copies, "OPEN", 1)
        monkeypatch.setattr(group_copies, "may_be_near", unplug)
        groups = collection.duplicates("near")
        assert (groups, groups.unseen) == ([], 4)


def test_a_group_whose_kept_file_is_gone_has_another(library: Path) -> None:
    shutil.copy(library / "a.png", library / "third copy.png")
    with indexed(library) as collection:
        (library / "a.png").unlink()
        (group,) = collection.duplicates()
        assert names([group]) == [["third copy.png", "copy of a.png"]] or group.kept.item.key == "copy of a.png"
        assert list(extra_paths([group])) != [group.kept.path]


def test_links_and_second_routes_to_a_file_are_that_file(library: Path) -> None:
    (library / "copy of a.png").unlink()
    (library / "best").mkdir()
    (library / "best" / "1.png").symlink_to(library / "a.png")
    (library / "2.png").hardlink_to(library / "a.png")
    (library / "route").symlink_to(library / "best", target_is_directory=True)
    with indexed(library) as collection:
        assert len(collection) >= 3
        assert collection.duplicates() == collection.duplicates("near") == []
    with Collection(library.parent / "again", PixelEncoder(), [library, library / "best"]) as both:
        both.index([library, library / "best"])
        assert both.duplicates() == []


def test_a_folder_of_a_collection_has_no_copies_in_it(library: Path) -> None:
    inner = library / "2019"
    inner.mkdir()
    picture(5).save(inner / "x.png")
    with indexed(library) as whole, Collection(library.parent / "part", PixelEncoder(), [inner]) as part:
        part.index()
        assert whole.duplicates(other=part) == []
        shutil.copy(library / "a.png", inner / "a again.png")
        part.index()
        assert list(extra_paths(whole.duplicates(other=part))) == [inner / "a again.png"]


def test_the_picture_of_a_raw_file_is_half_of_a_pair_and_never_spare(library: Path) -> None:
    (library / "copy of a.CR2").write_bytes(b"raw")
    with indexed(library) as collection:
        (group,) = collection.duplicates()
        assert group.kept.item.key == "copy of a.png"
        assert group.reason == "has a camera raw file of the same shot beside it"
        (library / "a.NEF").write_bytes(b"raw")
        assert collection.duplicates() == []


def test_the_kept_copy_can_be_chosen(library: Path) -> None:
    (library / "trip").mkdir()
    shutil.copy(library / "a.png", library / "trip" / "a long name.png")
    os.utime(library / "copy of a.png", (1_000_000_000,) * 2)
    os.utime(library / "trip" / "a long name.png", (1_900_000_000,) * 2)
    with indexed(library) as collection:
        kept = {rule: collection.duplicates(keep=rule)[0].kept.item.key for rule in ("best", "oldest", "newest")}
        assert kept == {"best": "a.png", "oldest": "copy of a.png", "newest": "trip/a long name.png"}
        (group,) = collection.duplicates(keep="trip/*")
        assert (group.kept.item.key, group.reason) == ("trip/a long name.png", "matches trip/*")


def test_camera_data_and_quality_come_before_age(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    photo = picture(3, (400, 300))
    photo.save(folder / "poor.jpg", quality=20)
    photo.save(folder / "good one.png")
    os.utime(folder / "poor.jpg", (1_000_000_000,) * 2)
    with indexed(folder) as collection:
        (group,) = collection.duplicates("near")
        assert (group.kept.item.key, group.reason) == ("good one.png", "lossless format")
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Maker", "Model 1"
        photo.save(folder / "from the camera.jpg", quality=80, exif=exif)
        collection.index()
        (group,) = collection.duplicates("near")
        assert (group.kept.item.key, group.reason) == ("from the camera.jpg", "has camera data (Maker Model 1)")


def test_images_that_were_told_apart_stay_apart_until_that_is_forgotten(library: Path) -> None:
    picture(1).save(library / "a.bmp")
    with indexed(library) as collection:
        assert len(collection.duplicates("near")[0].members) == 3
        collection.not_duplicates("a.png", library / "a.bmp")
        assert names(collection.duplicates("near")) == [["a.png", "copy of a.png"]]
        collection.index(rebuild=True)
        assert names(collection.duplicates("near")) == [["a.png", "copy of a.png"]]
        collection.not_duplicates("a.png", "copy of a.png")
        assert collection.duplicates("near") == collection.duplicates() == []
        collection.not_duplicates("copy of a.png", "a.png", forget=True)
        assert names(collection.duplicates()) == [["a.png", "copy of a.png"]]


def test_what_was_moved_is_put_back_and_overwrites_nothing(library: Path, tmp_path: Path) -> None:
    before = (library / "copy of a.png").stat()
    with indexed(library) as collection:
        moves = plan(collection.duplicates(by_content=True), tmp_path / "out")
        assert [move.reason for move in execute(moves, collection.moves)] == [None]
        assert not (library / "copy of a.png").exists()
        picture(8).save(library / "copy of a.png")
        assert [reason for _, reason in collection.moves.undo()] == ["there is a file of that name"]
        (library / "copy of a.png").unlink()
        assert [reason for _, reason in collection.moves.undo()] == [None]
        assert (library / "copy of a.png").stat().st_mtime_ns == before.st_mtime_ns
        assert list(collection.moves.undo()) == []
        collection.index()
        assert list(extra_paths(collection.duplicates())) == [library / "copy of a.png"]


def test_the_journal_outlives_a_rebuild(library: Path, tmp_path: Path) -> None:
    with indexed(library) as collection:
        list(execute(plan(collection.duplicates(), tmp_path / "out"), collection.moves))
        collection.index(rebuild=True)
        collection.index()
        collection.compact()
        assert [reason for _, reason in collection.moves.undo()] == [None]
    assert (library / "copy of a.png").exists()


def test_a_file_that_changed_after_the_plan_stays(library: Path, tmp_path: Path) -> None:
    with indexed(library) as collection:
        moves = plan(collection.duplicates(), tmp_path / "out")
        status = (library / "a.png").stat()
        flip(library / "a.png")
        os.utime(library / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns))
        (move,) = execute(moves, collection.moves)
        assert move.reason is not None
        assert "has changed since it was indexed" in move.reason
        assert (library / "copy of a.png").exists()
        assert collection.duplicates(by_content=True) == []


def test_the_trash_gives_back_what_was_put_into_it(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from send2trash import plat_other

    trash = trash_in(monkeypatch, tmp_path / "data")
    monkeypatch.setattr(plat_other, "get_dev", lambda _: 1)
    with indexed(library) as collection:
        planned = plan_trash(collection.duplicates(by_content=True))
        assert [move.reason for move in execute_trash(planned, collection.moves)] == [None]
        assert not (library / "copy of a.png").exists()
        assert [reason for _, reason in collection.moves.undo()] == [None]
    assert (library / "copy of a.png").read_bytes() == (library / "a.png").read_bytes()
    assert not list((trash / "info").iterdir())


def trashed_flat(monkeypatch: pytest.MonkeyPatch, can: Path, platform: str) -> None:
    """A trash can as on other systems: the files alone, under names of its own, and no notes beside them."""
    import send2trash

    can.mkdir()

    def put(source: Path) -> None:
        source.rename(can / f"$R{len(list(can.iterdir()))}{source.suffix}")

    monkeypatch.setattr(send2trash, "send2trash", put)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_DATA_HOME", str(can.parent / "no such folder"))


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_a_trash_of_another_layout_is_left_to_the_user_and_no_entry_is_lost(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    trashed_flat(monkeypatch, tmp_path / ".Trash", platform)
    with indexed(library) as collection:
        list(execute_trash(plan_trash(collection.duplicates(by_content=True)), collection.moves))
        entries, journal = collection.moves.pending(), collection.moves.path.read_bytes()
        assert [Path(entry.source).name for entry in entries] == ["copy of a.png"]
        for _ in range(2):
            assert [reason for _, reason in collection.moves.undo()] == [ONLY_BY_HAND]
        assert collection.moves.pending() == entries
        assert collection.moves.path.read_bytes() == journal
        (tmp_path / ".Trash" / "$R0.png").rename(library / "copy of a.png")
        assert [reason for _, reason in collection.moves.undo()] == [None]
        assert collection.moves.pending() == []


def test_two_photos_of_one_name_in_the_trash_both_have_their_entry(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trashed_flat(monkeypatch, tmp_path / ".Trash", "win32")
    with indexed(library) as collection:
        for number in (1, 5):
            for name in ("a.png", "copy of a.png"):
                picture(number).save(library / name)
            collection.index()
            list(execute_trash(plan_trash(collection.duplicates(by_content=True)), collection.moves))
        entries = collection.moves.pending()
        assert [Path(entry.source).name for entry in entries] == ["copy of a.png"] * 2
        assert len({entry.sha256 for entry in entries}) == 2
        (tmp_path / ".Trash" / "$R1.png").rename(library / "copy of a.png")
        assert [reason for _, reason in collection.moves.undo()] == [None, "there is a file of that name"]
        assert collection.moves.pending() == entries[1:]


def test_lines_of_an_earlier_release_end_their_entries(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "moves.jsonl")
    journal.begin(tmp_path / "a", TRASH, "0" * 64)
    journal.begin(tmp_path / "b", TRASH, "0" * 64)
    with journal.path.open("a") as file:
        file.write("\n" + json.dumps({"back": str(tmp_path / "a"), "target": TRASH}))
    assert [entry.source for entry in journal.pending()] == [str(tmp_path / "b")]


def test_a_journal_that_a_crash_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "moves.jsonl")
    source, target = tmp_path / "a", tmp_path / "out" / "a"
    target.parent.mkdir()
    target.write_bytes(b"photo")
    digest = hashlib.sha256(b"photo").hexdigest()
    journal.begin(source, str(target), digest)
    with journal.path.open("a") as file:
        file.write('\n{"source": "/b", "tar')
    journal.begin(tmp_path / "never moved", str(tmp_path / "out" / "never"), digest)
    outcomes = {Path(entry.source).name: reason for entry, reason in journal.undo()}
    assert outcomes == {"a": None, "never moved": f"{tmp_path / 'out' / 'never'} is no longer there"}
    assert source.read_bytes() == b"photo"


def test_a_journal_that_somebody_wrote_moves_no_file_whose_content_it_does_not_know(tmp_path: Path) -> None:
    secret, journal = tmp_path / "secret", Journal(tmp_path / "moves.jsonl")
    secret.write_bytes(b"key")
    lines = [
        {"source": str(tmp_path / "public" / str(number)), "target": str(secret), "sha256": digest}
        for number, digest in enumerate(("", "0" * 64, None, "."))
    ]
    journal.path.write_text("\n".join(map(json.dumps, lines)))
    assert [reason for _, reason in journal.undo()] == [f"{secret} has changed since it was moved"]
    assert secret.exists()
    assert not (tmp_path / "public").exists()
