"""Images are named by their keys or by the paths that searches print; outputs never replace a photo."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.running import Run
from tests.support.pictures import picture


@pytest.fixture
def indexed(run: Run, photos: Path) -> Path:
    run("index", photos, "--encoder", "pixels")
    return photos


def test_what_a_search_prints_can_be_named_elsewhere(run: Run, indexed: Path) -> None:
    printed = run("search", indexed, indexed / "01.jpg", "-k", 3, "--paths")[1].splitlines()
    by_key = [Path(path).relative_to(indexed).as_posix() for path in printed]
    assert run("explain", indexed, "01.jpg", printed[1]) == run("explain", indexed, "01.jpg", by_key[1])
    assert run("facts", indexed, printed[1]) == run("facts", indexed, by_key[1])
    without = run("search", indexed, printed[0], "-k", 2, "--paths", "--exclude", printed[1])
    assert (without[1].splitlines(), without[2]) == ([printed[0], printed[2]], "")
    assert run("remove", indexed, printed[1])[0] == 0
    assert printed[1] not in run("search", indexed, printed[0], "-k", 20, "--paths")[1].splitlines()


def test_a_name_of_no_image_that_should_be_left_out_is_told(run: Run, indexed: Path) -> None:
    status, _, notes = run("search", indexed, "01.jpg", "--exclude", "nosuch.jpg")
    assert (status, notes) == (0, "lookalike: --exclude nosuch.jpg: no such image here\n")


@pytest.mark.parametrize(
    "command",
    [
        ["search", "FOLDER", "01.jpg", "--html"],
        ["duplicates", "FOLDER", "--html"],
        ["map", "FOLDER", "--out"],
        ["explain", "FOLDER", "01.jpg", "02.jpg", "--html"],
        ["explain", "FOLDER", "01.jpg", "02.jpg", "--out"],
    ],
)
def test_an_output_never_replaces_a_photo_but_an_earlier_output(
    run: Run, indexed: Path, tmp_path: Path, command: list[str]
) -> None:
    words = [str(indexed) if word == "FOLDER" else word for word in command]
    photo = tmp_path / "holiday.png"
    picture(7).save(photo)
    before = photo.read_bytes()
    status, _, notes = run(*words, photo)
    assert (status, photo.read_bytes()) == (1, before)
    assert f"{photo} is there already, and not as an earlier output; name another file" in notes
    out = tmp_path / ("why.png" if words[-1] == "--out" and words[0] == "explain" else "page.html")
    assert [run(*words, out)[0] for _ in range(2)] == [0, 0]
    if out.suffix == ".png":
        with Image.open(out) as drawing:
            assert drawing.size[0] > 64
