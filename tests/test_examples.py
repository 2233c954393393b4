"""The examples in public docstrings run, and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest
from PIL import Image

import lookalike
from lookalike.service.settings import Settings
from tests.support.pictures import picture


@pytest.fixture
def folder(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples are tried: `photos` is indexed, `holiday` is not, and labels.csv is a table."""
    for name, count in (("photos", 2), ("holiday", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            picture(number).save(tmp_path / name / f"{number}.jpg")
    picture(5).save(tmp_path / "photos" / "door.jpg")
    picture(6).save(tmp_path / "photos" / "beach.jpg")
    (tmp_path / "labels.csv").write_text("key,label\nbeach.jpg,beach\n")
    with lookalike.open(tmp_path / "photos", encoder="thumbnail") as photos:
        photos.index()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "statements"),
    [
        ("types", 7),
        ("errors", 1),
        ("search.options", 1),
        ("search.query", 1),
        ("search.results", 6),
        ("utils.arguments", 2),
        ("utils.text", 3),
        ("utils.wording", 2),
        ("index.components", 1),
        ("encoders", 3),
        ("collection.collection", 24),
        ("evaluation.run", 6),
        ("service.app", 1),
    ],
)
def test_the_examples_of_a_module_print_what_they_say(module: str, statements: int, folder: Path) -> None:
    names = {"lookalike": lookalike, "Image": Image, "Settings": Settings}
    results = doctest.testmod(importlib.import_module(f"lookalike.{module}"), extraglobs=names)
    assert (results.failed, results.attempted) == (0, statements)
