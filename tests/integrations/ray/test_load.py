import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.errors import SourceError
from lookalike.integrations.ray.embed import embed
from lookalike.integrations.ray.listing import Listed, listed, table
from lookalike.integrations.ray.load import Loaded, load
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
