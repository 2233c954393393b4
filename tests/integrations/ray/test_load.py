import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.errors import SourceError
from lookalike.integrations.ray import records
from lookalike.integrations.ray.embed import embed
from lookalike.integrations.ray.listing import Listed, listed, table
from lookalike.integrations.ray.load import Loaded, load
from lookalike.integrations.ray.work import Decode, Encode
from tests.collection.test_facts import write
from tests.support.job_results import write_result


def test_an_image_that_was_removed_by_hand_is_not_added_again(tmp_path: Path) -> None:
    write_result(tmp_path / "job", np.eye(3, load_encoder("thumbnail").dim, dtype=np.float32))
    place = tmp_path / "collection"
    assert load(str(tmp_path / "job"), place) == Loaded(3, 0, 0)
    with Collection(place) as collection:
        collection.remove(["00001.jpg"])
    assert load(str(tmp_path / "job"), place) == Loaded(0, 3, 0)
    with Collection(place) as collection:
        assert len(collection) == 2


def test_a_source_that_was_misspelt_does_not_take_the_place_of_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cluster = SimpleNamespace(cluster_resources=lambda: {"CPU": 2})
    for name, reason in (("fotos", "no such folder"), ("empty", "holds no images")):
        with pytest.raises(SourceError, match=reason):
            embed(cluster, str(tmp_path / name), str(tmp_path / "job"), "thumbnail")
    assert not (tmp_path / "job").exists()


def test_the_list_of_a_job_keeps_at_most_300_bytes_an_image(tmp_path: Path) -> None:
    for number in range(8000):
        folder = tmp_path / f"{number // 500:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"IMG_{number:06}.jpg").touch()
    table(listed(str(tmp_path / "000")))  # what is imported on the way does not count
    tracemalloc.start()
    entries = table(listed(str(tmp_path)))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(entries) == 8000
    assert (kept + entries.nbytes) / 8000 <= 300


def test_of_several_images_with_a_key_the_first_is_listed() -> None:
    entries = table(Listed(key, str(number)) for number, key in enumerate("abacab"))
    assert entries.column("key").to_pylist() == ["a", "b", "c"]
    assert entries.column("place").to_pylist() == ["0", "1", "3"]


def embedded(folder: Path, target: Path) -> None:
    """What `lookalike embed` writes of a folder, by the tasks of its workers in this process."""
    encoder = load_encoder("thumbnail")
    job = records.Job(str(folder), "thumbnail", encoder.fingerprint, encoder.dim, "float32")
    records.write_job(str(target), job)
    (target / records.VECTORS).mkdir()
    decoded = Decode("thumbnail", fs.LocalFileSystem(), "")(table(listed(str(folder))))
    for number, part in enumerate(decoded):
        pq.write_table(Encode(job)(part), target / records.VECTORS / f"{number}.parquet")


def test_images_bring_what_they_say_of_themselves(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos")
    (folder / "text.jpg").write_text("no picture")
    embedded(folder, tmp_path / "job")
    assert load(str(tmp_path / "job"), tmp_path / "collection") == Loaded(5, 0, 1)
    with (
        Collection(folder / ".lookalike", "thumbnail", [folder]) as indexed,
        Collection(tmp_path / "collection") as brought,
    ):
        indexed.index()
        keys = indexed.keys()
        assert len(keys) == 5
        for key in keys:
            assert brought.facts(key) == indexed.facts(key)
        hits = brought.search("e.jpg", where="taken >= 2019-08 and camera = apple*")
        assert sorted(hit.key for hit in hits) == ["home/d.jpg", "trips/paris/c.jpg"]


def test_results_of_earlier_releases_are_filled_by_reading_the_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos")
    embedded(folder, tmp_path / "job")
    for file in (tmp_path / "job" / records.VECTORS).iterdir():
        pq.write_table(pq.read_table(file).drop_columns([records.FACTS]), file)
    assert load(str(tmp_path / "job"), tmp_path / "collection") == Loaded(5, 0, 0)
    with Collection(tmp_path / "collection") as brought:
        assert "camera" not in brought.facts("trips/a.jpg")
        assert brought.read_facts().read == 5
        assert brought.facts("trips/a.jpg")["camera"] == "NIKON D90"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "3", '{"camera": 5, "keywords": [1, "a"]}', "null"])
def test_facts_that_are_none_are_left_out(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "photos")
    embedded(folder, tmp_path / "job")
    for file in (tmp_path / "job" / records.VECTORS).iterdir():
        whole = pq.read_table(file)
        wrong = pa.array([text] * whole.num_rows, pa.string())
        pq.write_table(whole.set_column(whole.schema.get_field_index(records.FACTS), records.FACTS, wrong), file)
    assert load(str(tmp_path / "job"), tmp_path / "collection").added == 5
    with Collection(tmp_path / "collection") as brought:
        assert "camera" not in brought.facts("trips/a.jpg")
        assert brought.facts("trips/a.jpg")["width"] == 64
