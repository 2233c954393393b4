"""Copies among hostile files: whatever lies in a folder or takes a file's place, nothing hangs and nothing is lost."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lookalike.analysis.duplicates import Groups, Level, extra_paths
from lookalike.analysis.move_files import execute, execute_trash, plan, plan_trash
from lookalike.collection.collection import Collection
from lookalike.errors import ImageError
from lookalike.images import decode as images
from tests.analysis.test_group_copies import scene
from tests.hostile import write
from tests.hostile.bad import BAD
from tests.hostile.craft import saved
from tests.hostile.places import PLACES
from tests.support.pictures import PixelEncoder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
LEVELS: tuple[Level, ...] = ("exact", "same", "near", "similar")
ODD = [name for name, (_, kind) in PLACES.items() if kind == "image" and "/" not in name and name != "link.jpg"]
SECONDS = 120


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """An alarm ends a test that waits for a pipe for ever."""

    def ring(*_: object) -> None:
        raise AssertionError(f"still waiting after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> set[str]:
    """The contents of all regular files below a folder that are pictures."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {digest(path) for path in files if path.stat().st_size < images.LIMITS.bytes and is_picture(path)}


def is_picture(path: Path) -> bool:
    try:
        images.decode(path.read_bytes(), size=16)
    except (ImageError, OSError):
        return False
    return True


def shown(path: Path) -> bytes:
    """A digest of a file's pixels."""
    return hashlib.sha256(images.decode(path.read_bytes()).image.tobytes()).digest()


def in_place(groups: Groups) -> None:
    """Every extra has its picture in a file of its own that is there and is as it was indexed."""
    for group in groups:
        assert group.kept.path is not None
        assert not group.kept.path.is_symlink()
        assert digest(group.kept.path) == group.kept.item.sha256
        for member in group.extras:
            assert member.path is not None
            assert not member.path.is_symlink()
            assert not member.path.samefile(group.kept.path)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All hostile files, each regular one of them twice, the second one in a folder of its own."""
    folder = tmp_path_factory.mktemp("zoo") / "files"
    write(folder)
    (folder / "again").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < images.LIMITS.bytes:
            shutil.copy(path, folder / "again" / path.name)
    yield folder
    (folder / "unreadable.jpg").chmod(0o600)


@pytest.fixture(scope="module")
def indexed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("c"), "thumbnail", [zoo]) as collection:
        collection.index()
        yield collection


@pytest.mark.parametrize("level", LEVELS)
def test_a_folder_of_everything_that_goes_wrong_loses_no_picture(indexed: Collection, level: Level) -> None:
    groups = indexed.duplicates(level, by_content=True)
    in_place(groups)
    assert {member.item.key for group in groups for member in group.members} >= set(ODD)
    spare = list(extra_paths(groups))
    assert len(spare) == len(set(spare)) >= len(ODD)
    for group in groups if level in ("exact", "same") else ():
        pictures = {shown(member.path) for member in group.members if member.path}
        assert len(pictures) == 1, "a file of other pixels was called spare"


@pytest.mark.parametrize("options", [["-0"], [], ["--json"], ["--csv"]], ids=["NUL", "text", "JSON", "CSV"])
def test_the_command_prints_odd_names_whole_and_no_traceback(indexed: Collection, options: list[str]) -> None:
    command = [sys.executable, "-m", "lookalike", "duplicates", str(indexed.path), "--level", "near", *options]
    run = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    assert (run.returncode, b"Traceback" in run.stderr, b"Warning" in run.stderr) == (0, False, False), run.stderr
    if options == ["-0"]:
        paths = [Path(os.fsdecode(name)) for name in run.stdout.split(b"\0")[:-1]]
        assert len(paths) >= len(ODD)
        assert all(path.is_file() and not path.is_symlink() for path in paths)
    elif not options:
        assert b"\x1b" not in run.stdout
        assert run.stdout.count(b"group ") == len(indexed.duplicates("near"))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def bomb(path: Path) -> None:
    path.write_bytes(BAD["bomb.png"]())


def sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(images.LIMITS.bytes + 1)


def other_bytes(path: Path) -> None:
    """The same size and time, and another picture's bytes at the end."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-100] ^= 255
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def link(path: Path) -> None:
    """To another picture of the library."""
    path.unlink()
    path.symlink_to("03.jpg")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    path.unlink()


CHANGES: list[Callable[[Path], None]] = [
    truncated, emptied, bomb, sparse, other_bytes, pipe, loop, link, folder, gone,
]  # fmt: skip


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Four pictures, and of each but the last a copy of the same bytes, a smaller one, and a mirrored one."""
    place = tmp_path / "library"
    place.mkdir()
    for number in range(4):
        (place / f"{number:02}.jpg").write_bytes(saved(scene(number), "JPEG", quality=92))
        if number < 3:
            shutil.copy(place / f"{number:02}.jpg", place / f"copy {number}.jpg")
            scene(number).resize((240, 180)).save(place / f"less {number}.jpg", quality=60)
    return place


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("victim", ["00.jpg", "copy 0.jpg", "less 0.jpg"])
def test_what_took_a_files_place_since_is_neither_kept_nor_spare(
    library: Path, tmp_path: Path, change: Callable[[Path], None], victim: str
) -> None:
    with Collection(tmp_path / "c", PixelEncoder(), [library]) as collection:
        collection.index()
        warm = collection.duplicates("near")
        assert [len(group.members) for group in warm] == [3, 3, 3]
        change(library / victim)
        before = digests(library)
        for level in LEVELS:
            groups = collection.duplicates(level, by_content=True)
            in_place(groups)
            assert victim not in {member.item.key for group in groups for member in group.members}
            if level in ("near", "similar"):
                assert [len(group.members) for group in groups] == [3, 3, 2]
        # The features of every picture are known, so nothing but that file was missing.
        assert groups.unseen == 1 or change not in (pipe, loop, folder, gone)
        list(execute(plan(collection.duplicates("near", by_content=True), tmp_path / "out"), collection.moves))
        assert before <= digests(library) | digests(tmp_path / "out")
        assert {"01.jpg", "02.jpg", "03.jpg"} <= {path.name for path in library.iterdir()}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("victim", ["00.jpg", "copy 0.jpg"])
def test_what_takes_a_files_place_after_the_plan_is_not_moved_and_moves_nothing(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], victim: str
) -> None:
    import send2trash

    monkeypatch.setattr(send2trash, "send2trash", lambda path: pytest.fail(f"{path} went to the trash"))
    with Collection(tmp_path / "c", PixelEncoder(), [library]) as collection:
        collection.index()
        groups = collection.duplicates(keep="0*.jpg", by_content=True)
        moves, thrown = plan(groups, tmp_path / "out")[:1], plan_trash(groups)[:1]
        assert moves[0].key == "copy 0.jpg"
        change(library / victim)
        assert [move.reason is None for move in execute(moves, collection.moves)] == [False]
        assert [move.reason is None for move in execute_trash(thrown, collection.moves)] == [False]
        assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
        assert collection.moves.pending() == []


@pytest.mark.parametrize("change", [pipe, loop, folder, other_bytes, truncated])
@pytest.mark.parametrize("place", ["source", "target"])
def test_undo_waits_for_no_pipe_and_puts_nothing_over_it(
    library: Path, tmp_path: Path, change: Callable[[Path], None], place: str
) -> None:
    source, target = library / "copy 0.jpg", tmp_path / "out" / "copy 0.jpg"
    with Collection(tmp_path / "c", PixelEncoder(), [library]) as collection:
        collection.index()
        groups = collection.duplicates(keep="0*.jpg", by_content=True)
        list(execute(plan(groups, tmp_path / "out")[:1], collection.moves))
        if place == "source":
            shutil.copy(target, source)
        change(source if place == "source" else target)
        assert [reason is None for _, reason in collection.moves.undo()] == [False]
        assert len(collection.moves.pending()) == 1
