"""Images a second and peak memory of indexing a folder, and what the bookkeeping costs over the bare encoder.

    python benchmarks/index.py FOLDER [--encoder efficientnet-lite0 rootsift | --stand-in MS] [--images 1000] [--facts]

The bare encoder reads, decodes, prepares and encodes the same files by the same threads and batches, and keeps
nothing: what is beyond it are checksums, the catalog, the vector file and the flushes. All are timed in turn; the
medians count. On a machine that does other work too, the CPU time is steadier than the clock. The stand-in takes MS
milliseconds of matrix products an image, as a light learned encoder does. `--facts` also indexes without what the files
say of themselves, in turn with the others; how many of the files have EXIF is in the first line.
"""

import argparse
import hashlib
import itertools
import resource
import shutil
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder, workers
from lookalike.encoders.pipeline import batch_of
from lookalike.images import decode as images
from lookalike.images import facts as photo_facts
from lookalike.images.sources import Folder
from lookalike.types import Encoder, Picture, Vectors
from lookalike.utils.cores import cores

SIDE = 224
FACTOR = np.full((SIDE, SIDE), 1 / SIDE, np.float32)


class StandIn:
    """A picture of 224 x 224 pixels to its means, after as many matrix products as take so long."""

    dim, decode_size, batch_size = 3 * SIDE, SIDE, 8
    fingerprint = hashlib.sha256(b"stand-in").hexdigest()

    def __init__(self, milliseconds: float) -> None:
        self.name = f"stand-in of {milliseconds:g} ms"
        start, products = time.process_time(), 200
        with threadpool_limits(1, "blas"):
            for _ in range(products):
                FACTOR @ FACTOR
        self._products = max(1, round(milliseconds / 1000 / ((time.process_time() - start) / products)))

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """(224, 224, 3) float32, as learned encoders take it."""
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Unit rows (n, 672) that say little, and take their time."""
        for _ in range(self._products * len(prepared)):
            FACTOR @ FACTOR
        rows = np.stack([array.mean(axis=0).ravel() + 1e-3 for array in prepared])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        """Images or paths to unit rows."""
        return images.encode_images(self, pictures)


def bare(encoder: Encoder, paths: Sequence[Path]) -> None:
    """From files to vectors, which are dropped; as many files are read ahead as the pipeline does."""
    batch = batch_of(encoder)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        names, running = iter(paths), deque[Future[NDArray[Any]]]()
        while True:
            for path in islice(names, batch + 2 * cores() - len(running)):
                running.append(pool.submit(prepared, encoder, path))
            if not running:
                return
            encoder.encode_batch([running.popleft().result() for _ in range(min(batch, len(running)))])


def prepared(encoder: Encoder, path: Path) -> NDArray[Any]:
    """A file to what `encode_batch` takes."""
    return workers.prepare(encoder, images.read(path)).array


def index(encoder: Encoder, folder: Path) -> None:
    """From files to a committed collection."""
    with tempfile.TemporaryDirectory() as place, Collection(Path(place) / "collection", encoder) as collection:
        collection.index([folder])


def index_without_facts(encoder: Encoder, folder: Path) -> None:
    """As `index`, where no file is asked what it says of itself."""
    with mock.patch.object(photo_facts, "of_image", nothing):
        index(encoder, folder)


def nothing(*_: object) -> None:
    """In place of what reads facts: a Mock would keep the bytes of every file."""


def measured(job: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of all cores."""
    start, used = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - start, time.process_time() - used


def line(name: str, count: int, times: list[tuple[float, float]], bare_times: list[tuple[float, float]]) -> str:
    (wall, cpu), (bare_wall, bare_cpu) = (
        [statistics.median(column) for column in zip(*runs, strict=True)] for runs in (times, bare_times)
    )
    ratios = f"{wall / bare_wall - 1:+.1%} | {cpu / bare_cpu - 1:+.1%}" if times is not bare_times else "|"
    return f"| {name} | {count} | {count / wall:.1f} | {1000 * cpu / count:.2f} | {ratios} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", nargs="+", default=["efficientnet-lite0", "rootsift"])
    parser.add_argument("--stand-in", type=float, metavar="MS")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--facts", action="store_true")
    args = parser.parse_args()
    encoders: list[Encoder] = [StandIn(args.stand_in)] if args.stand_in else [*map(load_encoder, args.encoder)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, entry in enumerate(islice(Folder(args.folder).entries(), args.images)):
            shutil.copy(args.folder / entry.key, folder / f"{number:06}{Path(entry.key).suffix}")
        paths = sorted(folder.iterdir())
        alone, whole, without = ([list[tuple[float, float]]() for _ in encoders] for _ in range(3))
        for encoder in encoders:
            bare(encoder, paths[:50])  # libraries are loaded, and files are in memory, for all alike
        for _, (number, encoder) in itertools.product(range(args.repeats), enumerate(encoders)):
            alone[number].append(measured(partial(bare, encoder, paths)))
            if args.facts:
                without[number].append(measured(partial(index_without_facts, encoder, folder)))
            whole[number].append(measured(partial(index, encoder, folder)))
        told = sum(b"Exif\0\0" in path.read_bytes()[:4096] for path in paths) if args.facts else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory {peak:.0f} MiB{f'; {told} of {len(paths)} files have EXIF' if args.facts else ''}.\n")
    print("| encoder | images | images/s | CPU, ms an image | over the bare encoder | of CPU |")
    print("|---|---|---|---|---|---|")
    for encoder, by_itself, indexing, quiet in zip(encoders, alone, whole, without, strict=True):
        print(line(f"{encoder.name}, bare", len(paths), by_itself, by_itself))
        print(line(f"{encoder.name}, indexing", len(paths), indexing, by_itself))
        if quiet:
            print(line(f"{encoder.name}, indexing without facts", len(paths), quiet, by_itself))
            shares = (
                (sum(column) for column in zip(*indexing, strict=True)),
                (sum(column) for column in zip(*quiet, strict=True)),
            )
            wall, cpu = (told / quiet for told, quiet in zip(*shares, strict=True))
            print(f"\n{encoder.name}: facts take {wall - 1:+.1%} of the time, {cpu - 1:+.1%} of the processor's.")


if __name__ == "__main__":
    main()
