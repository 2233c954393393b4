"""Regions on the command line: what they cost is said before, and results say which part it is."""

import json
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.support.pictures import picture


@pytest.fixture
def things(photos: Path, tmp_path: Path) -> Path:
    """Twelve pictures, one of them with a thing in it; a picture of the thing lies beside them."""
    thing, whole = picture(99, (64, 48)), picture(50, (128, 96))
    whole.paste(thing, (64, 48))
    whole.save(photos / "thing.png")
    thing.save(tmp_path / "query.png")
    return photos


def test_regions_are_added_at_a_price_that_is_told_and_are_deleted(run: Run, things: Path, tmp_path: Path) -> None:
    run("index", things, "--encoder", "pixels")
    status, output, errors = run("index", things, "--encoder", "pixels", "--regions", "--region-spec", "grid", "--json")
    assert status == 0
    assert json.loads(output)["regions"] == {"images": 13, "regions": 65, "unreadable": 0}
    assert json.loads(output)["regions_total"] == {"images": 13, "regions": 65}
    assert "regions of 13 images: at most 65, 0.1 MB, about" in errors
    _, output, _ = run("info", things, "--json")
    assert json.loads(output)["regions"]["spec"] == "grid"
    _, output, _ = run("search", things, tmp_path / "query.png", "-k", "1", "--json")
    assert json.loads(output)["results"][0]["box"] == [64, 48, 128, 96]
    _, output, _ = run("search", things, tmp_path / "query.png", "-k", "1")
    assert output.rstrip().endswith("thing.png  --box 64,48,128,96")
    _, output, _ = run("search", things, tmp_path / "query.png", "-k", "1", "--json", "--no-regions")
    assert json.loads(output)["results"][0]["box"] is None
    _, output, _ = run("explain", things, tmp_path / "query.png", "thing.png")
    assert "Nearest is the part 64,48,128,96." in output
    _, output, errors = run("index", things, "--no-regions", "--json")
    assert ("the regions are deleted" in errors, "regions_total" in json.loads(output)) == (True, False)
    status, _, errors = run("search", things, tmp_path / "query.png", "--regions")
    assert (status, "has no regions; add them: lookalike index" in errors) == (1, True)


def test_a_later_run_keeps_them_in_step_without_being_told(run: Run, things: Path, tmp_path: Path) -> None:
    run("index", things, "--encoder", "pixels", "--region-spec", "grid")
    (things / "thing.png").rename(things / "trip" / "thing.png")
    new = picture(51, (128, 96))
    new.paste(picture(99, (64, 48)), (0, 0))
    new.save(things / "new.png")
    _, output, _ = run("index", things, "--encoder", "pixels", "--json")
    assert json.loads(output)["regions_total"] == {"images": 14, "regions": 70}
    _, output, _ = run("search", things, tmp_path / "query.png", "-k", "2", "--json")
    boxes = {result["key"]: result["box"] for result in json.loads(output)["results"]}
    assert boxes == {"trip/thing.png": [64, 48, 128, 96], "new.png": [0, 0, 64, 48]}


def test_a_wrong_spec_and_contradictions_are_refused(run: Run, things: Path) -> None:
    status, _, errors = run("index", things, "--encoder", "pixels", "--region-spec", "cubes")
    assert (status, "cubes" in errors) == (1, True)
    status, _, errors = run("index", things, "--no-regions", "--region-spec", "grid")
    assert (status, "exclude each other" in errors) == (2, True)


def test_a_merged_collection_says_of_how_many_images_it_has_regions(run: Run, things: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture(70).save(other / "70.png")
    run("index", things, "--encoder", "pixels", "--region-spec", "grid")
    run("index", other, "--encoder", "pixels")
    _, output, notes = run("merge", things, other, "--into", tmp_path / "all")
    assert "14 images" in output
    assert "its regions are of 13 distinct images; " in notes


def test_regions_that_lost_their_header_are_told(
    run: Run, things: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run("index", things, "--encoder", "pixels", "--region-spec", "grid")
    (things / ".lookalike" / "regions" / "collection.json").unlink()
    status, _, _ = run("search", things, tmp_path / "query.png", "-k", "1")
    assert status == 0
    assert "lack their collection.json; searching whole pictures" in caplog.text
