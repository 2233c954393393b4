"""Whatever happens to a library, and whatever `duplicates` calls spare is removed: no picture is ever lost.

Random sequences of copying, linking, moving, truncating, unplugging, indexing, moving duplicates away and putting them
back; `LOOKALIKE_TEST_LIBRARIES` says how many.
"""

import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.analysis.duplicates import extra_paths
from lookalike.analysis.move_files import execute, plan
from lookalike.collection.collection import Collection
from lookalike.errors import LookalikeError
from tests.support.pictures import PixelEncoder, picture

LIBRARIES = int(os.environ.get("LOOKALIKE_TEST_LIBRARIES", "30"))
STEPS = 14
PICTURES = 4


class Library:
    """A folder of small pictures with a collection beside it, and what was ever put into it on purpose."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.folder = place, place / "library"
        self.random, self.count = random.Random(seed), 0
        (self.folder / "sub").mkdir(parents=True)
        for number in range(PICTURES):
            picture(number, (24, 16)).save(self.folder / f"{number}.png")
        self.collection = Collection(place / "c", PixelEncoder(), [self.folder])
        self.collection.index()

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*.png") if path.is_file() or path.is_symlink())

    def contents(self) -> set[str]:
        """Every content that can be read anywhere: in the library, unplugged, or where duplicates were moved to."""
        real = (path for path in self.place.rglob("*.png") if path.is_file() and not path.is_symlink())
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in real}

    def plugged(self) -> set[str]:
        """As `contents`, of the library alone."""
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files() if not path.is_symlink()}

    def any_file(self) -> Path | None:
        real = [path for path in self.files() if not path.is_symlink()]
        return self.random.choice(real) if real else None

    def fresh(self) -> Path:
        self.count += 1
        return self.folder / self.random.choice(["", "sub"]) / f"new {self.count}.png"

    # What people and machines do to files; no step deletes the last copy of a picture itself.

    def copy(self) -> None:
        if source := self.any_file():
            shutil.copy(source, self.fresh())

    def touch(self) -> None:
        if source := self.any_file():
            os.utime(source, (self.random.randrange(10**9, 2 * 10**9),) * 2)

    def link(self) -> None:
        if source := self.any_file():
            self.fresh().symlink_to(source)

    def hard_link(self) -> None:
        if source := self.any_file():
            self.fresh().hardlink_to(source)

    def move(self) -> None:
        if source := self.any_file():
            source.rename(self.fresh())

    def truncate(self) -> None:
        """A copy loses its bytes: only where there is another file with them."""
        source = self.any_file()
        if source is None:
            return
        data = source.read_bytes()
        others = (path for path in self.files() if not path.is_symlink() and not path.samefile(source))
        if any(path.read_bytes() == data for path in others):
            source.write_bytes(data[: self.random.choice([0, 10])])

    def exchange(self) -> None:
        """Two files swap their names, and keep their sizes and times."""
        a, b = self.any_file(), self.any_file()
        if a and b and a != b and not a.samefile(b):
            a.rename(self.place / "aside.png")
            b.rename(a)
            (self.place / "aside.png").rename(b)

    def unplug(self) -> None:
        (self.folder / "sub").rename(self.place / f"unplugged {self.count}")
        self.count += 1
        (self.folder / "sub").mkdir()

    def index(self) -> None:
        self.collection.index()

    def move_away(self) -> None:
        groups = self.collection.duplicates(self.random.choice(["exact", "same", "near"]), by_content=True)
        self.some_other_process()
        list(execute(plan(groups, self.place / "away"), self.collection.moves))

    def undo(self) -> None:
        list(self.collection.moves.undo())

    def some_other_process(self) -> None:
        """Between the plan and the moves."""
        if self.random.random() < 0.3:
            self.random.choice([self.exchange, self.truncate, self.touch, self.unplug])()

    def remove_printed(self) -> None:
        """`lookalike duplicates --paths | xargs rm`."""
        before = self.plugged()
        for path in extra_paths(self.collection.duplicates("exact", by_content=True)):
            path.unlink()
        assert self.plugged() == before, "the last copy of a picture was called spare"


ACTIONS = (
    *("copy", "copy", "touch", "link", "hard_link", "move", "truncate", "exchange", "unplug"),
    *("index", "index", "move_away", "undo", "remove_printed"),
)


@pytest.mark.parametrize("seed", range(LIBRARIES))
def test_no_sequence_of_steps_loses_a_picture(seed: int, tmp_path: Path) -> None:
    library = Library(tmp_path, seed)
    with library.collection:
        for _ in range(STEPS):
            action = library.random.choice(ACTIONS)
            before = library.contents()
            try:
                getattr(library, action)()
            except LookalikeError as error:
                assert action == "index", error
            lost = before - library.contents()
            assert not lost, f"{action} lost a picture"
        list(library.collection.moves.undo())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["copy", "bmp", "jpg", "link", "hard"])), max_size=8),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["gone", "cut", "edited"])), max_size=4),
    st.sampled_from(["exact", "same", "near"]),
)
def test_after_all_that_is_spare_is_removed_every_group_still_has_its_picture(
    tmp_path_factory: pytest.TempPathFactory,
    copies: list[tuple[int, str]],
    accidents: list[tuple[int, str]],
    level: str,
) -> None:
    place = tmp_path_factory.mktemp("library")
    folder = place / "library"
    folder.mkdir()
    for number in range(4):
        picture(number, (48, 36)).save(folder / f"{number}.png")
    for count, (number, kind) in enumerate(copies):
        _copy(folder / f"{number}.png", folder / f"copy {count}", kind)
    with Collection(place / "c", PixelEncoder(), [folder]) as collection:
        collection.index()
        files = sorted(folder.iterdir())
        for number, accident in accidents:
            _happens(files[number % len(files)], accident)
        try:
            groups = collection.duplicates(level, by_content=True)  # type: ignore[arg-type]
        except LookalikeError:
            return
        for path in extra_paths(groups):
            path.unlink()
        for group in groups:
            kept = group.kept
            assert kept.path is not None
            assert not kept.path.is_symlink()
            assert hashlib.sha256(kept.path.read_bytes()).hexdigest() == kept.item.sha256
            assert all(member.level in ("exact", "same", "near") for member in group.extras)
            if level == "exact":
                assert {member.item.sha256 for member in group.members} == {kept.item.sha256}


def _copy(source: Path, target: Path, kind: str) -> None:
    if kind == "copy":
        shutil.copy(source, target.with_suffix(".png"))
    elif kind == "link":
        target.with_suffix(".png").symlink_to(source)
    elif kind == "hard":
        target.with_suffix(".png").hardlink_to(source)
    else:
        from PIL import Image

        with Image.open(source) as image:
            image.save(target.with_suffix(f".{kind}"))


def _happens(path: Path, accident: str) -> None:
    if not path.exists() or path.is_symlink():
        return
    if accident == "gone":
        path.unlink()
    elif accident == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        picture(77, (48, 36)).save(path, "PNG")
