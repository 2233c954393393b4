"""What the command line says of a source that is perhaps only away."""

import json
import shutil
from pathlib import Path

from tests.cli.running import Run
from tests.support.pictures import picture


def unplug(folder: Path) -> None:
    for file in folder.iterdir():
        if not file.name.startswith("."):
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def test_a_source_that_yields_nothing_is_named_with_the_way_out(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    unplug(photos)
    status, output, errors = run("index", photos)
    assert status == 0
    assert "12 images (12 withheld)" in output
    assert errors == (
        f"lookalike: {photos}: 12 images are gone, most of what was there, and stay in the collection; if that is "
        "right, run the same command with --allow-removals\n"
    )
    assert "0 images (12 removed)" in run("index", photos, "--allow-removals")[1]


def test_strict_makes_it_an_error_and_json_a_field(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    unplug(photos)
    status, output, _ = run("index", photos, "--strict", "--json")
    document = json.loads(output)
    assert (status, document["withheld"], document["images"]) == (1, 12, 12)
    picture(1).save(photos / "a.png")
    assert run("index", photos, "--strict", "--allow-removals")[0] == 0


def test_a_rebuild_says_what_is_gone_and_leaves_the_collection(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    unplug(photos)
    status, _, errors = run("index", photos, "--rebuild")
    assert status == 1
    assert "12 of 12 images are gone" in errors
    assert "--allow-removals" in errors
    assert "images       12" in run("info", photos)[1]
