"""Results are a list that shows its pictures, in a notebook, in a table and as files of their own."""

import copy
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import ImageError
from lookalike.images.html import NOTEBOOK_BYTES
from lookalike.search.results import Hits, Results
from lookalike.types import Hit
from tests.support.pictures import PixelEncoder, picture

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Collection:
    new = Collection(photos / ".lookalike", encoder, [photos])
    new.index()
    return new


def test_a_search_returns_a_list_that_a_slice_keeps(collection: Collection) -> None:
    results = collection.search("01.jpg", 5)
    assert isinstance(results, list)
    assert Hits is Results is type(results) is type(results[1:3])
    assert [hit.rank for hit in results[1:3]] == [2, 3]


def test_hits_give_their_pictures_after_the_collection_was_closed(collection: Collection, photos: Path) -> None:
    results = collection.search("01.jpg", 3)
    collection.close()
    with Image.open(photos / "01.jpg") as file:
        assert np.array_equal(np.asarray(results[0].image), np.asarray(file.convert("RGB")))
    assert results[0].thumbnail(32).size == (32, 24)
    assert [image.size for image in results.images(16)] == [(16, 12)] * 3


def test_a_hit_of_an_archive_has_a_picture_too(tmp_path: Path, encoder: PixelEncoder) -> None:
    picture(3).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    collection = Collection(tmp_path / "collection", encoder, [tmp_path / "photos.zip"])
    collection.index()
    (hit,) = collection.search(picture(3))
    assert (hit.path, hit.image.size) == (None, (64, 48))


def test_a_hit_without_a_file_says_so_and_one_made_by_hand_has_none(collection: Collection, photos: Path) -> None:
    (hit,) = collection.search("01.jpg", 1)
    (photos / "01.jpg").unlink()
    with pytest.raises(ImageError, match="no such file"):
        _ = hit.image
    with pytest.raises(ValueError, match=r"a\.jpg: it was made by hand"):
        _ = Hit(1, "a.jpg", None, 0.5).image


def test_hits_are_copied_and_sent_to_other_processes_with_their_pictures(collection: Collection) -> None:
    results = collection.search("01.jpg", 2)
    for other in (copy.deepcopy(results), pickle.loads(pickle.dumps(results))):
        assert (other, other.found) == (results, results.found)
        assert other[0].image.tobytes() == results[0].image.tobytes()


def test_results_are_json_and_a_table(collection: Collection) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    results = collection.search("01.jpg", 2)
    document = json.loads(json.dumps(results.to_json()))
    assert [row["key"] for row in document["results"]] == [hit.key for hit in results]
    table = results.to_pandas()
    assert list(table.columns) == ["rank", "key", "path", "score", "confidence"]
    assert table["score"].tolist() == [hit.score for hit in results]
    assert list(Results().to_pandas().columns) == list(table.columns)


def test_a_notebook_shows_pictures_and_names_as_they_are(photos: Path, encoder: PixelEncoder) -> None:
    picture(1).save(photos / HOSTILE)
    collection = Collection(photos / ".lookalike", encoder, [photos])
    collection.index()
    (photos / "02.jpg").unlink()
    html = collection.search(picture(1), 13)._repr_html_()
    assert html.count("data:image/jpeg;base64,") == 12
    assert "no picture: no such file" in html
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;.png" in html
    assert f'href="{(photos / "01.jpg").as_uri()}"' in html


def test_what_a_notebook_shows_is_bounded_and_says_what_is_left_out(tmp_path: Path, encoder: PixelEncoder) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), np.uint8)).save(folder / f"{number}.png")
    collection = Collection(folder / ".lookalike", encoder, [folder])
    collection.index()
    html = collection.search("0.png", 60)._repr_html_()
    assert NOTEBOOK_BYTES / 2 < len(html.encode()) <= NOTEBOOK_BYTES == 200_000
    assert html.count("<figure") + int(re.findall(r"and (\d+) more", html)[0]) == 60


def test_elsewhere_results_are_lines_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Results([Hit(1, "a\x1b[2J\n.jpg", None, 0.93)]).show()
    assert capsys.readouterr().out == "   1   0.9300  a\\x1b[2J\\n.jpg\n"


def test_a_collection_says_what_it_is_and_shows_some_images(photos: Path, encoder: PixelEncoder) -> None:
    collection = Collection(photos / ".lookalike", encoder, [photos])
    assert repr(collection) == f"Collection('{photos}', not indexed yet)"
    assert "not indexed yet" in collection._repr_html_()
    collection.index()
    assert repr(collection) == f"Collection('{photos}', 12 images, pixels)"
    assert collection._repr_html_().count("data:image/jpeg") == 12
    assert len(collection._repr_html_().encode()) <= NOTEBOOK_BYTES


def test_an_explanation_and_a_group_show_their_pictures(collection: Collection, photos: Path) -> None:
    explanation = collection.explain("01.jpg", "02.jpg")
    assert repr(explanation) == f"Explanation({explanation.text()!r})"
    assert explanation._repr_html_().count("data:image/jpeg") == 1
    assert pickle.loads(pickle.dumps(explanation)).text() == explanation.text()
    (photos / "again.jpg").write_bytes((photos / "01.jpg").read_bytes())
    collection.index()
    groups = collection.duplicates()
    assert repr(groups[0]) == "Group(2 images, keep '01.jpg': the shorter path)"
    assert groups[0]._repr_html_().count("data:image/jpeg") == groups._repr_html_().count("data:image/jpeg") == 2
    assert "1 group, 1 image could go" in groups._repr_html_()
