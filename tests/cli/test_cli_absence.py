"""What the command line says of a source that is perhaps only away."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.support.pictures import PixelEncoder, picture


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


def test_sources_are_listed_moved_and_forgotten(run: Run, photos: Path, encoder: PixelEncoder) -> None:
    kept = photos.with_name("kept")
    run("index", photos, "--encoder", "pixels", "--collection", kept)
    moved = photos.rename(photos.with_name("moved"))
    assert run("sources", kept)[1] == f"unreachable         12  {photos}\n"
    status, _, errors = run("index", moved, "--collection", kept)
    assert status == 1
    assert errors == (
        f"lookalike: error: {moved} holds the images of {photos}, which is not there any more; run `lookalike sources "
        f"{kept} --move {photos} {moved}`, or forget that source first with --forget\n"
    )
    status, output, errors = run("sources", kept, "--move", photos, moved, "--json")
    assert (status, json.loads(output)[0]["location"], json.loads(output)[0]["reachable"]) == (0, str(moved), True)
    assert errors == f"lookalike: {photos} is {moved} now; `lookalike index {kept}` brings it into step\n"
    picture(50).save(moved / "new.png")
    assert "13 images (1 added, 12 unchanged)" in run("index", kept)[1]
    assert encoder.encoded == 13
    assert "12 of 12" not in run("sources", kept, "--forget", moved)[2]
    assert "0 images (nothing to do)" in run("index", kept)[1]


def test_a_place_with_other_images_needs_force(run: Run, photos: Path) -> None:
    other = photos.with_name("other")
    other.mkdir()
    run("index", photos, "--encoder", "pixels")
    status, _, errors = run("sources", photos, "--move", photos, other)
    assert (status, "0 of 12 images that were compared" in errors, "--force" in errors) == (1, True, True)
    assert run("sources", photos, "--move", photos, other, "--force")[0] == 0


@pytest.mark.parametrize("beside", [True, False])
def test_a_collection_that_is_named_to_index_brings_its_own_sources_into_step(
    run: Run, photos: Path, beside: bool
) -> None:
    collection = photos.with_name("kept") if beside else photos / ".lookalike"
    run("index", photos, "--encoder", "pixels", "--collection", collection)
    picture(50).save(photos / "new.png")
    assert "13 images (1 added, 12 unchanged)" in run("index", collection)[1]
    assert json.loads(run("info", collection, "--json")[1])["sources"] == [str(photos)]


def test_a_source_that_is_away_beside_another_is_named_with_the_way_out(run: Run, photos: Path) -> None:
    kept, other = photos.with_name("kept"), photos.with_name("other")
    other.mkdir()
    picture(50).save(other / "50.png")
    run("index", photos, other, "--encoder", "pixels", "--collection", kept)
    photos.rename(photos.with_name("away"))
    picture(51).save(other / "51.png")
    status, output, errors = run("index", kept)
    assert status == 0
    assert "14 images (1 added, 1 unchanged)" in output
    assert errors == (
        f"lookalike: {photos}: no such folder, archive or list; its images stay as they are until it is back; if it "
        f"lies elsewhere or is gone: `lookalike sources {kept} --move {photos} NEW`, or --forget\n"
    )
    status, output, _ = run("index", kept, "--strict", "--json")
    document = json.loads(output)
    assert (status, document["images"], document["unreachable"]) == (1, 14, [str(photos)])
    photos.with_name("away").rename(photos)
    status, output, errors = run("index", kept, "--strict", "--json")
    assert (status, json.loads(output)["unreachable"], errors) == (0, [], "")


def test_a_folder_inside_an_indexed_one_is_a_part_of_it(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    trip = photos / "trip"
    picture(50).save(trip / "new.png")
    picture(51).save(photos / "other.png")
    status, output, errors = run("index", trip)
    assert status == 0
    assert "13 images (1 added, 4 unchanged)" in output
    assert errors == f"lookalike: {trip} lies in {photos}, which is indexed: bringing that part into step\n"
    assert not (trip / ".lookalike").exists()
    photos.with_name("pics").symlink_to(photos)
    picture(52).save(trip / "newer.png")
    assert "14 images (1 added, 5 unchanged)" in run("index", photos.with_name("pics") / "trip")[1]
    status, _, errors = run("index", trip, "--rebuild")
    assert (status, f"give these options with {photos}" in errors) == (1, True)
    assert "6 images" in run("index", trip, "--encoder", "pixels", "--collection", photos.with_name("kept"))[1]


def test_a_search_in_a_folder_inside_an_indexed_one_finds_its_images(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    trip = photos / "trip"
    status, output, errors = run("search", trip, photos / "01.jpg", "--json")
    assert status == 0
    assert [hit["key"][:5] for hit in json.loads(output)["results"]] == ["trip/"] * 4
    assert errors == f"lookalike: {trip} lies in {photos}, which is indexed: searching its images there\n"
    output = run("search", trip, photos / "01.jpg", "--json", "--where", "key:*3.png or key:*.jpg")[1]
    assert [hit["key"] for hit in json.loads(output)["results"]] == ["trip/03.png"]


@pytest.mark.parametrize("command", ["info", "duplicates", "verify", "map"])
def test_other_commands_say_which_folder_to_name(run: Run, photos: Path, command: str) -> None:
    run("index", photos, "--encoder", "pixels")
    status, _, errors = run(command, photos / "trip")
    assert status == 1
    assert errors == f"lookalike: error: {photos}/trip lies in {photos}, which is indexed; name that folder\n"


def test_what_was_taken_out_comes_back_when_that_is_undone(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    run("remove", photos, "01.jpg")
    assert "11 images" in run("index", photos, "--rebuild")[1]
    assert "1 image comes back with the next `lookalike index`" in run("remove", photos, "01.jpg", "--undo")[1]
    assert "12 images (1 added, 11 unchanged)" in run("index", photos)[1]
