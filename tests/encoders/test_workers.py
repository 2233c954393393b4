"""Pictures that worker processes prepare are the same as in threads; damaged ones and dead workers are reported."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoders import workers
from lookalike.encoders.pipeline import embed
from lookalike.encoders.preprocess import Preprocess
from lookalike.errors import ImageError, LookalikeError
from lookalike.images.decode import to_jpeg
from lookalike.images.sources import SourceEntry
from lookalike.types import Vectors
from tests.support.pictures import PixelEncoder, picture

STEP = Preprocess("pad", 98)


class Quick(PixelEncoder):
    """An encoder that asks for processes, and takes what `STEP` prepares."""

    preparation = STEP
    dim = 3

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        rows = np.stack([array.reshape(-1, 3).mean(axis=0) for array in prepared]) + 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_processes_prepare_what_threads_do_and_refuse_what_they_refuse() -> None:
    pictures = [to_jpeg(picture(seed)) for seed in range(12)]
    with workers.Workers(STEP, 2) as pool, ThreadPoolExecutor(4) as threads:
        results = list(threads.map(pool.run, pictures))
        with pytest.raises(ImageError, match=r"^not an image$"):
            pool.run(b"text")
        again = pool.run(pictures[0])
    for data, result in zip([*pictures, pictures[0]], [*results, again], strict=True):
        alone = workers.prepare(STEP, data)
        assert np.array_equal(result.array, alone.array)
        assert (result.width, result.height) == (alone.width, alone.height) == (64, 48)
    assert all(worker.returncode is not None for worker in pool._started), "none is left behind"


def test_a_process_is_started_only_when_a_picture_waits() -> None:
    with workers.Workers(STEP, 8) as pool:
        assert pool._started == []
        for seed in range(3):
            pool.run(to_jpeg(picture(seed)))
        assert len(pool._started) == 1


def test_an_encoder_that_outruns_threads_is_fed_by_processes() -> None:
    def entry(seed: int) -> SourceEntry:
        return SourceEntry(f"{seed}.jpg", 1, 1, lambda: to_jpeg(picture(seed)))

    entries = [entry(seed) for seed in range(5)]
    entries.append(SourceEntry("bad.jpg", 1, 1, lambda: b"bad"))
    results = list(embed(entries, Quick(), lambda _: set()))
    assert [result.reason for result in results] == [None] * 5 + ["not an image"]
    for seed, result in enumerate(results[:5]):
        prepared = workers.prepare(STEP, to_jpeg(picture(seed)))
        assert result.vector is not None
        assert np.array_equal(result.vector, Quick().encode_batch([prepared.array])[0])
        assert (result.width, result.height) == (64, 48)


def test_a_process_that_was_killed_is_one_line() -> None:
    with workers.Workers(STEP, 1) as pool:
        pool.run(to_jpeg(picture(1)))
        os.kill(pool._started[0].pid, signal.SIGKILL)
        pool._started[0].wait()
        with pytest.raises(
            LookalikeError, match=r"a decoding process ended by itself \(status -9\).*LOOKALIKE_THREADS"
        ):
            pool.run(to_jpeg(picture(2)))


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    """A pool of multiprocessing would import the script in every process, which would start pools of its own."""
    picture(1).save(tmp_path / "a.jpg")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from lookalike.encoders import workers\n"
        "from lookalike.encoders.preprocess import Preprocess\n"
        "print('begins')\n"
        "with workers.Workers(Preprocess(), 2) as pool:\n"
        "    print(pool.run(Path('a.jpg').read_bytes()).array.shape)\n"
    )
    (tmp_path / "numpy.py").write_text("raise SystemExit('the current folder was searched first')")
    run = subprocess.run([sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "begins\n(224, 224, 3)\n", "")
