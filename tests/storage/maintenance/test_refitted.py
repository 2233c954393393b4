"""The confidence of one collection on disk: with its vectors wherever these go, and nowhere else."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.search.evidence import model_of
from lookalike.storage import refitted
from lookalike.storage.maintenance import adapt as adapting
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.store import Store
from tests.storage.maintenance.test_adapt import STOPPING, collection_at, indexed, learned_on, picture_of
from tests.storage.maintenance.test_damage import forget_tables
from tests.support.confident import MODEL
from tests.support.vectors import labelled

__all__ = ["indexed"]
CONFIDENCE = {"model": MODEL.to_json(), "figures": {"queries": 144}}


def adapt(path: Path) -> None:
    with closing(Store(path)) as store:
        adapting.apply(store, learned_on(path), {"method": "within"}, CONFIDENCE)


def refit(path: Path) -> None:
    with closing(Store(path)) as store:
        adapting.refit(store, CONFIDENCE)


def is_refitted(path: Path) -> bool:
    with closing(Store(path)) as store:
        return model_of(store) == MODEL


def test_labels_refit_the_confidence_of_mapped_vectors_and_undo_takes_it_back(tmp_path: Path) -> None:
    labelled(tmp_path / "a", varying=2.0).close()
    with Collection(tmp_path / "a") as collection:
        finding = collection.adapt(folders=True)
        assert (finding.applied, finding.refitted) == (True, True)
        hits = collection.search("0/0.jpg", k=12, exclude_self=True)
        assert hits.found is True
        assert {hit.key.partition("/")[0] for hit in hits if hit.confidence and hit.confidence > 0.5} == {"0"}
        # Every image of no group is a query without a match: few are answered.
        assert finding.confidence is not None
        answers = [collection.search(f"{number}.jpg", k=1, exclude_self=True) for number in range(200)]
        assert np.mean([answer.found is True for answer in answers]) == pytest.approx(
            finding.confidence.false_found, abs=0.05
        )
        collection.undo_adapt()
        assert collection.search("0/0.jpg", k=1).found is None
        assert not collection.verify()


def test_without_a_gain_vectors_stay_and_a_confidence_comes(tmp_path: Path) -> None:
    labelled(tmp_path / "a").close()
    before = (tmp_path / "a" / "vectors.f32").read_bytes()
    with Collection(tmp_path / "a") as collection:
        fingerprint = collection.store.header.fingerprint
        assert collection.adapt(folders=True, dry_run=True).refitted is False
        assert collection.search("0/0.jpg").found is None
        finding = collection.adapt(folders=True)
        assert (finding.applied, finding.refitted) == (False, True)
        assert collection.store.header.fingerprint == fingerprint
        assert collection.search("0/0.jpg", exclude_self=True).found is True
        assert collection.undo_adapt() == 0
        assert collection.search("0/0.jpg").found is None
    assert (tmp_path / "a" / "vectors.f32").read_bytes() == before


def test_noise_gives_none(tmp_path: Path) -> None:
    labelled(tmp_path / "a", noise=True).close()
    with Collection(tmp_path / "a") as collection:
        finding = collection.adapt(folders=True)
        assert (finding.applied, finding.refitted) == (False, False)
        assert collection.search("0/0.jpg").found is None


@pytest.mark.parametrize("change", [adapt, refit])
@pytest.mark.parametrize("job", ["compact", "rebuild", "merge", "repaired"])
def test_it_goes_wherever_its_vectors_go(
    indexed: Path, tmp_path: Path, change: Callable[[Path], None], job: str
) -> None:
    change(indexed)
    place = tmp_path / "all" if job == "merge" else indexed
    if job == "merge":
        merge([indexed], place)
    elif job == "repaired":
        forget_tables(indexed)
    with collection_at(place) as collection:
        if job == "compact":
            collection.remove([collection.key(0)])
            collection.compact()
        elif job in ("rebuild", "repaired"):
            collection.index(rebuild=True)
        assert not collection.verify()
    assert is_refitted(place)


def test_of_merged_collections_the_first_that_has_one_gives_it(indexed: Path, tmp_path: Path) -> None:
    merge([indexed], tmp_path / "second")
    refit(tmp_path / "second")
    merge([indexed, tmp_path / "second"], tmp_path / "all")
    assert is_refitted(tmp_path / "all")


def test_other_vectors_have_no_part_in_it(indexed: Path) -> None:
    refit(indexed)
    with collection_at(indexed) as collection:
        collection.whiten(dim=8, shrinkage=0.5)
    assert not is_refitted(indexed)


def test_undoing_a_map_gives_the_former_confidence_back(indexed: Path) -> None:
    refit(indexed)
    with closing(Store(indexed)) as store:
        adapting.apply(store, learned_on(indexed), {})
    assert not is_refitted(indexed)
    with collection_at(indexed) as collection:
        collection.undo_adapt()
    assert is_refitted(indexed)
    with collection_at(indexed) as collection:
        collection.undo_adapt()
    assert not is_refitted(indexed)


def test_it_comes_with_the_map_of_another_collection(indexed: Path, tmp_path: Path) -> None:
    merge([indexed], tmp_path / "pupil")
    adapt(indexed)
    with collection_at(tmp_path / "pupil") as collection:
        finding = collection.adapt(source=indexed)
        assert (finding.applied, finding.refitted) == (True, True)
        assert finding.to_json()["confidence"] == {"refitted": True}
    assert is_refitted(tmp_path / "pupil")


@pytest.mark.parametrize("value", ["{", "[]", "null", "[" * 100_000, json.dumps({"fingerprint": 1})])
def test_a_damaged_one_counts_for_nothing(indexed: Path, photos: Path, value: str) -> None:
    with closing(Store(indexed)) as store, store.writing():
        store.catalog.put("facts", refitted.NAME, value)
    assert not is_refitted(indexed)
    with collection_at(indexed) as collection:
        assert collection.search(picture_of(photos / "01.jpg"), k=1).found is None


@pytest.mark.parametrize("moment", ["vectors half written", "before the exchange", "between the renames"])
@pytest.mark.parametrize("job", ["adapt", "undo"])
def test_killed_at_any_moment_confidence_and_vectors_belong_together(
    moment: str, job: str, indexed: Path, tmp_path: Path
) -> None:
    learned_on(indexed).save(tmp_path)
    if job == "undo":
        adapt(indexed)
    script = STOPPING.replace("Path(job)), {})", f"Path(job)), {{}}, {CONFIDENCE!r})")
    process = subprocess.Popen(
        [sys.executable, "-c", script, moment, job if job == "undo" else str(tmp_path), str(indexed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    reached = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reached == b"there\n"
    with collection_at(indexed) as collection:
        assert not collection.verify()
        assert (model_of(collection.store) == MODEL) is ("adapted" in collection.info()) is (job == "undo")
