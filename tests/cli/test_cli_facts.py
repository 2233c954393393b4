"""`lookalike facts`, and facts in `search` and `info`."""

import json
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from tests.cli.running import Run
from tests.collection.test_facts import forget, write
from tests.support.pictures import PixelEncoder


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    folder = write(tmp_path / "places")
    assert run("index", folder, "--encoder", "pixels")[0] == 0
    return folder


def test_facts_of_an_image_are_printed(run: Run, folder: Path) -> None:
    status, output, _ = run("facts", folder, "trips/a.jpg")
    assert status == 0
    assert "trips/a.jpg\n  taken        2019-07-14T12:30:05\n  camera       NIKON D90\n" in output
    document = json.loads(run("facts", folder, "trips/a.jpg", "e.jpg", "--json")[1])
    assert document["trips/a.jpg"]["latitude"] == 48.8584
    assert document["e.jpg"]["folder"] == ""
    status, _, errors = run("facts", folder, "nothing.jpg")
    assert (status, "nothing.jpg: no such key" in errors) == (1, True)


def test_an_earlier_collection_is_filled_in(run: Run, folder: Path) -> None:
    with Collection(folder / ".lookalike", PixelEncoder()) as collection:
        forget(collection)
    status, _, errors = run("search", folder, "e.jpg", "--where", "taken >= 2019")
    assert (status, "`lookalike facts COLLECTION` reads it" in errors) == (1, True)
    status, output, errors = run("facts", folder)
    assert (status, "5 files read, 0 are gone, changed or damaged" in errors) == (0, True)
    assert "of 5 images; taken: 2019-07-14T12:30:05 to 2021-01-02T03:04:05" in output
    assert "camera: Apple iPhone 12 (2), NIKON D90 (2)" in output
    assert "0 files read" in run("facts", folder)[2]
    assert "5 files read" in run("facts", folder, "--again")[2]


def test_a_search_by_facts_in_the_order_of_time(run: Run, folder: Path) -> None:
    options = ("--where", 'taken >= 2019-07 and folder = "trips/*"', "--sort", "taken", "--json")
    document = json.loads(run("search", folder, "trips/paris/c.jpg", *options)[1])
    assert [row["key"] for row in document["results"]] == ["trips/a.jpg", "trips/paris/b.jpg", "trips/paris/c.jpg"]
    assert document["results"][2]["rank"] == 1


def test_info_says_ranges_and_counts(run: Run, folder: Path) -> None:
    output = run("info", folder)[1]
    assert "facts        of 5 images; taken: 2019-07-14T12:30:05 to 2021-01-02T03:04:05" in output
    assert json.loads(run("info", folder, "--json")[1])["facts"]["iso"] == [200, 1600]
