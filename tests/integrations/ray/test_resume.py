from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.errors import SourceError
from lookalike.integrations.ray import records
from lookalike.integrations.ray.embed import _write_manifest
from lookalike.integrations.ray.listing import Listed, table
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


def cut(path: Path) -> None:
    """As a full disk or a power cut leaves a file."""
    path.write_bytes(path.read_bytes()[:-20])


def test_vectors_that_were_written_in_part_are_deleted_and_made_again(target: Path) -> None:
    cut(target / "vectors" / "x_y_000001-0.parquet")
    assert settled(str(target)) == {"a", "b"}
    assert names(target / "vectors") == ["x_y_000000-0.parquet"]
    assert names(target / "checkpoint") == ["x_y_000000.parquet"]


@pytest.mark.parametrize("left", [0, 10])
def test_a_checkpoint_that_was_written_in_part_goes_with_its_vectors(target: Path, left: int) -> None:
    checkpoint = target / "checkpoint" / "x_y_000001.parquet"
    checkpoint.write_bytes(checkpoint.read_bytes()[:left])
    assert settled(str(target)) == {"a", "b"}
    assert names(target / "vectors") == ["x_y_000000-0.parquet"]
    assert names(target / "checkpoint") == ["x_y_000000.parquet"]


def test_pending_vectors_that_were_written_in_part_do_not_stop_a_run(target: Path) -> None:
    checkpoint = target / "checkpoint" / "x_y_000001.parquet"
    checkpoint.rename(checkpoint.with_suffix(".pending.parquet"))
    (target / "vectors" / "x_y_000001-0.parquet").write_bytes(b"")
    assert settled(str(target)) == {"a", "b"}
    assert names(target / "vectors") == ["x_y_000000-0.parquet"]


def test_an_image_that_two_runs_have_written_counts_once(tmp_path: Path) -> None:
    for number, rows in enumerate([{"a": None, "b": None, "c": "too large"}, {"b": None, "c": "too large"}]):
        table = pa.table({"key": list(rows), "reason": pa.array(list(rows.values()), pa.string())})
        (tmp_path / "vectors").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "vectors" / f"{number}.parquet")
    assert records.counts(str(tmp_path)) == (2, {"too large": 1})


def test_a_result_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "vectors" / "x.parquet", ["a"])
    cut(tmp_path / "vectors" / "x.parquet")
    with pytest.raises(SourceError, match=r"cannot be read .*run the `lookalike embed` that wrote it again"):
        records.counts(str(tmp_path))


def test_a_manifest_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest").write_text("a file in the way")
    with pytest.raises(SourceError, match=r"manifest: cannot be written .*run the same command again"):
        _write_manifest(table([Listed("a")]), str(tmp_path), 2)
