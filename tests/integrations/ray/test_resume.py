from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.integrations.ray.resume import settled


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Two files of vectors with their checkpoints, as Ray Data names them."""
    for number, keys in enumerate((["a", "b"], ["c"])):
        write(tmp_path / "vectors" / f"x_y_{number:06}-0.parquet", keys)
        write(tmp_path / "checkpoint" / f"x_y_{number:06}.parquet", keys)
    return tmp_path


def write(path: Path, keys: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"key": keys}), path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_has_vectors_and_a_checkpoint_is_done(target: Path) -> None:
    assert settled(str(target)) == {"a", "b", "c"}


def test_a_checkpoint_without_vectors_is_not_believed(target: Path) -> None:
    (target / "vectors" / "x_y_000001-0.parquet").unlink()
    assert settled(str(target)) == {"a", "b"}
    assert names(target / "checkpoint") == ["x_y_000000.parquet"]


def test_vectors_without_a_checkpoint_go_or_they_would_be_there_twice(target: Path) -> None:
    (target / "checkpoint" / "x_y_000001.parquet").unlink()
    assert settled(str(target)) == {"a", "b"}
    assert names(target / "vectors") == ["x_y_000000-0.parquet"]


def test_what_is_pending_is_left_to_ray(target: Path) -> None:
    pending = target / "checkpoint" / "x_y_000001.pending.parquet"
    (target / "checkpoint" / "x_y_000001.parquet").rename(pending)
    assert settled(str(target)) == {"a", "b"}
    assert pending.exists()
    assert len(names(target / "vectors")) == 2


def test_a_new_job_has_done_nothing(tmp_path: Path) -> None:
    assert settled(str(tmp_path / "nothing")) == set()
