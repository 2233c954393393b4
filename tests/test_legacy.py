"""What the first release made opens and answers as it did then: collections, an index, a report, fingerprints, /v1.

tests/legacy was made by that code: four collections of the pictures in `photos` (plain with an index and two rows
behind it, int8, whitened, imported vectors), a report of the town in `town`; expected.json holds what they answered.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
from lookalike.collection.sync import IndexReport
from lookalike.encoders import load_encoder
from lookalike.encoders.checkpoint import Architecture
from lookalike.encoders.thumb import Thumbnail
from lookalike.evaluation.compare import compare
from lookalike.evaluation.grid import Cell, Setting, _identity
from lookalike.evaluation.page import save_report
from lookalike.evaluation.replay import GALLERY, QUERY, PreprocessedEncoder
from lookalike.evaluation.run import evaluate
from lookalike.index.ann import Candidates, SearchSetting
from lookalike.search import searcher
from lookalike.search.query import Key
from lookalike.service import create_app
from lookalike.service.settings import Settings
from lookalike.types import Hit, Ids, Vectors

LEGACY = Path(__file__).parent / "legacy"
EXPECTED: dict[str, Any] = json.loads((LEGACY / "expected.json").read_text("utf-8"))
PINS: dict[str, str] = json.loads((LEGACY / "pins.json").read_text("utf-8"))
COLLECTIONS = ("plain", "int8", "whitened", "imported")


@pytest.fixture
def legacy(tmp_path: Path, own_cache: Path) -> Path:
    """A copy: opening what somebody keeps must not need to write to it, but indexing does."""
    return Path(shutil.copytree(LEGACY, tmp_path / "legacy"))


def listed(hits: list[Hit]) -> list[list[Any]]:
    return [[hit.rank, hit.key, pytest.approx(hit.score, abs=2e-6)] for hit in hits]


def vector_for(collection: lookalike.Collection) -> np.ndarray:
    return np.random.default_rng(9).standard_normal(collection.store.header.dim).astype(np.float32)


class Unasked(Thumbnail):
    """The encoder of the collections, which must not be asked for a vector."""

    def encode_batch(self, prepared: Sequence[Any]) -> Vectors:
        raise AssertionError("a picture was embedded again")


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_of_the_first_release_holds_what_it_held(legacy: Path, name: str) -> None:
    expected = EXPECTED[name]
    with lookalike.open(legacy / "photos" / name) as collection:
        assert collection.keys() == expected["keys"]
        assert [list(skipped) for skipped in collection.skipped()] == expected["skipped"]
        info = collection.info()
        index = expected["info"].get("index", {})
        assert {fact: info[fact] for fact in expected["info"] if fact != "index"} | {"index": index} == {
            "index": {}
        } | expected["info"]
        assert {fact: info["index"][fact] for fact in index} == index
        assert not collection.verify()


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_of_the_first_release_answers_as_it_did(legacy: Path, name: str) -> None:
    expected = EXPECTED[name]["answers"]
    with lookalike.open(legacy / "photos" / name) as collection:
        key, vector = Key(EXPECTED[name]["asked"]), vector_for(collection)
        answers = {
            "key": collection.search(key, 8),
            "vector": collection.search(vector, 8),
            "exact": collection.search(vector, 8, recall=1.0),
            "offset": collection.search(vector, 3, offset=3),
            "self": collection.search(key, 5, exclude_self=True),
            "rerank": collection.search(vector, 5, rerank=["alpha-qe,k=3"]),
        }
        for question, hits in answers.items():
            assert expected[question] == listed(hits), question


def test_filters_pictures_regions_and_duplicates_of_the_first_release_answer_as_they_did(legacy: Path) -> None:
    expected, photo = EXPECTED["plain"]["answers"], legacy / "photos" / "05.jpg"
    with lookalike.open(legacy / "photos" / "plain") as collection:
        where = "year >= 2020 and place = sea"
        assert expected["where"] == listed(collection.search(vector_for(collection), 8, where=where))
        assert expected["photo"] == listed(collection.search(photo, 5))
        assert expected["box"] == listed(collection.search(photo, 5, box=lookalike.Box(4, 4, 28, 20)))
        groups = collection.duplicates("exact")
        assert [[member.item.key for member in group.members] for group in groups] == expected["duplicates"]


def test_an_index_of_the_first_release_is_used(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "FEW", 0)
    with lookalike.open(legacy / "photos" / "plain") as collection:
        asked: list[int] = []
        find = Candidates.find

        def finding(candidates: Candidates, vectors: Vectors, k: int, setting: SearchSetting) -> Ids:
            asked.append(candidates.built.rows)
            return find(candidates, vectors, k, setting)

        monkeypatch.setattr(Candidates, "find", finding)
        hits = collection.search(vector_for(collection), 6)
        assert EXPECTED["plain"]["answers"]["through the index"] == listed(hits)
    assert asked == [EXPECTED["plain"]["info"]["index"]["rows"]]


def test_the_next_run_over_it_embeds_nothing(legacy: Path) -> None:
    """Not even where the pictures have other times, as after a checkout; what was taken out by hand stays out."""
    with lookalike.open(legacy / "photos" / "plain", encoder=Unasked()) as collection:
        assert collection.index() == IndexReport(unchanged=49, skipped=1)
        assert sorted(collection.keys()) == sorted(EXPECTED["plain"]["keys"])
        assert collection.restore(["02.jpg"]) == 1
        assert collection.index() == IndexReport(added=1, unchanged=49, skipped=1)


def test_a_report_of_the_first_release_is_made_again_to_the_figure_and_compared(legacy: Path, tmp_path: Path) -> None:
    report = evaluate("vgg", legacy / "town", "thumbnail", cache=tmp_path / "cache", uncropped=True)
    save_report(report, tmp_path / "new")
    old, new = (
        json.loads((folder / "report.json").read_text("utf-8")) for folder in (legacy / "report", tmp_path / "new")
    )
    for document in (old, new):
        del document["cost"]  # seconds
    assert {name: new.pop(name) for name in ("checks", "leave_one_out")} == {"checks": [], "leave_one_out": False}
    assert new.pop("made")["options"]["encoder"] == "thumbnail"
    assert new == old  # with fields that were added since
    assert report.map == EXPECTED["report"]["map"]
    comparison = compare(legacy / "report" / "report.json", tmp_path / "new" / "report.json")
    assert [difference.mean for difference in comparison.differences] == [0.0]


def test_what_fingerprints_and_kept_measurements_are_made_of_has_not_changed() -> None:
    """Renaming a class or a field of these would orphan collections, embeddings and grids."""
    cell, setting = Cell("thumbnail", (("pooling", "cls"),), "alpha-qe,k=2"), Setting("report", (1, 5), True)
    assert {
        "architecture": repr(Architecture(384, 12, 6, 1536, False, 4, 37)),
        "box": repr(lookalike.Box(1, 2.5, 30, 40)),
        "cell": repr(cell),
        "setting": repr(setting),
        "grid file": _identity("content", cell, setting),
        "report gallery": str(GALLERY),
        "report query": str(QUERY),
        "thumbnail": load_encoder("thumbnail").fingerprint,
        "rootsift": load_encoder("rootsift").fingerprint,
        "report thumbnail": PreprocessedEncoder(load_encoder("thumbnail"), QUERY).fingerprint,
    } == PINS


def test_everything_that_v1_documented_it_documents_still(tmp_path: Path) -> None:
    """Fields are added, never taken away, renamed or given another kind or default."""
    then = json.loads((LEGACY / "openapi.json").read_text("utf-8"))
    now = create_app(lookalike.Collection(tmp_path / "c", "thumbnail"), Settings()).openapi()
    assert missing(then, now, "") == []


TEXTS = {"description", "summary", "example", "examples", "title", "version"}


def missing(then: Any, now: Any, place: str) -> list[str]:
    """What `then` says and `now` does not, apart from prose."""
    if isinstance(then, dict) and isinstance(now, dict):
        names = [name for name in then if name not in TEXTS or isinstance(then[name], dict)]
        gone = [f"{place}/{name}" for name in names if name not in now]
        both = [name for name in names if name in now]
        return gone + [fault for name in both for fault in missing(then[name], now[name], f"{place}/{name}")]
    if isinstance(then, list) and isinstance(now, list) and any(isinstance(entry, dict) for entry in then):
        pairs = zip(then, now, strict=True)
        return [fault for old, new in pairs for fault in missing(old, new, f"{place}[]")]
    if isinstance(then, list) and isinstance(now, list):
        return [f"{place}: {entry}" for entry in then if entry not in now]
    # A list may grow: whoever sends a shorter one is understood as before.
    is_wider = place.endswith("/maxItems") and isinstance(now, int) and now > then
    return [] if then == now or is_wider else [f"{place}: {then} became {now}"]
