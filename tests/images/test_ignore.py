"""What a .lookalikeignore or the user names is passed over, as git would."""

import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from lookalike.errors import SourceError
from lookalike.images.ignore import FILE, Patterns
from lookalike.images.sources import Folder, Source, open_source
from tests.hostile.craft import saved, scene

PHOTO = saved(scene(0, size=(16, 16)), "PNG")
TREE = (
    "a.png", "b.jpg", "keep.jpg", "raw/a.png", "raw/deep/b.png", "trip/a.png", "trip/raw/c.png", "trip/x y.png",
    "trip/keep.jpg", "trip/IMG_1.png", "trip/IMG_2.png",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(PHOTO)
    return tmp_path / "photos"


def keys(source: Source) -> set[str]:
    return {entry.key for entry in source.entries()}


def left_by_git(folder: Path) -> set[str]:
    """What git, with the same lines in .gitignore, would add."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for path in [*folder.rglob(FILE)]:
        path.with_name(".gitignore").write_bytes(path.read_bytes())
    command = ["git", "-C", str(folder), "ls-files", "-z", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return {name for name in names if name and not Path(name).name.startswith(".")}


FILES: dict[str, dict[str, str]] = {
    "a name": {"": "a.png"},
    "an extension and an exception": {"": "*.jpg\n!keep.jpg"},
    "a folder anywhere": {"": "raw/"},
    "a folder at the top": {"": "/raw/"},
    "a path": {"": "trip/raw"},
    "letters": {"": "IMG_[1]*"},
    "two asterisks": {"": "**/raw/**\n# a comment\n\n"},
    "a space": {"": "x\\ y.png\n"},
    "nothing can be taken back from an ignored folder": {"": "trip/\n!trip/keep.jpg"},
    "all but": {"": "/*\n!/trip\n"},
    "a file further down wins": {"": "*.png", "trip": "!*.png"},
    "a file further down holds there alone": {"trip": "/a.png\nkeep.jpg"},
    "lines of Windows": {"": "*.jpg\r\nraw/\r\n"},
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_patterns_mean_what_they_mean_to_git(name: str, folder: Path) -> None:
    for place, text in FILES[name].items():
        (folder / place / FILE).write_bytes(text.encode())
    seen = keys(Folder(folder))
    assert seen != set(TREE)
    assert seen == left_by_git(folder)
    assert Folder(folder).count() == len(seen)


def test_the_users_patterns_come_first(folder: Path) -> None:
    (folder / FILE).write_text("!*.png\n*.jpg")
    assert keys(open_source(folder, ["*.png", "!keep.jpg"])) == {"keep.jpg", "trip/keep.jpg"}


@pytest.mark.parametrize("pattern", ["raw/", "*.png", "/trip", "trip/raw/"])
def test_one_file_or_folder_is_judged_as_in_the_whole(pattern: str, folder: Path) -> None:
    (folder / FILE).write_text(pattern)
    (folder / "trip" / FILE).write_text("IMG_1.png")
    source = Folder(folder)
    whole = keys(source)
    for name in TREE:
        assert {entry.key for entry in source.at(name)} == whole & {name}
    for name in ("raw", "trip", "trip/raw", "raw/deep"):
        assert {entry.key for entry in source.at(name)} == {key for key in whole if key.startswith(f"{name}/")}


def test_archives_and_lists_obey_the_user_and_no_file_inside(folder: Path, tmp_path: Path) -> None:
    (folder / FILE).write_text("*.jpg")
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(folder, ".", filter=lambda member: member)
    with tarfile.open(tmp_path / "plain.tar", "w") as archive, zipfile.ZipFile(tmp_path / "plain.zip", "w") as packed:
        for name in (FILE, *TREE):
            archive.add(folder / name, name)
            packed.write(folder / name, name)
    (folder / "list.txt").write_text("\n".join(TREE))
    for place in (tmp_path / "plain.tar", tmp_path / "plain.zip", folder / "list.txt"):
        assert keys(open_source(place)) == set(TREE)
        assert keys(open_source(place, ["raw/", "*.jpg"])) == {
            name for name in TREE if "raw/" not in name and not name.endswith(".jpg")
        }


def test_names_that_are_not_utf8_can_be_ignored(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).write_bytes(PHOTO)
    (folder / FILE).write_bytes(b"caf\xe9.png\n")
    assert keys(Folder(folder)) == set(TREE)


HOSTILE = ("*a*a*a*a*b", "**/a/**/a/**/a/**/b", "!", "\\")


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_pattern_that_cannot_be_used_is_named(pattern: str, folder: Path) -> None:
    with pytest.raises(SourceError, match="--exclude"):
        open_source(folder, [pattern])
    (folder / "trip" / FILE).write_text(pattern)
    with pytest.raises(SourceError, match=f"trip/{FILE}"):
        keys(Folder(folder))


def test_the_worst_pattern_that_is_taken_is_quick() -> None:
    patterns = Patterns(("*a*a*ab", "**/a/**/b"))
    start = time.monotonic()
    assert patterns.verdict("a" * 255) is None
    assert patterns.verdict("a/" * 2000 + "c") is None
    assert time.monotonic() - start < 2


def test_too_long_a_file_of_patterns_is_refused_and_a_folder_of_that_name_is_none(folder: Path) -> None:
    (folder / "trip" / FILE).mkdir()
    assert keys(Folder(folder)) == set(TREE)
    (folder / FILE).write_bytes(b"x\n" * 600_000)
    with pytest.raises(SourceError, match="over 1,048,576 bytes"):
        keys(Folder(folder))
