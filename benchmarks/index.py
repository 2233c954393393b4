"""Images a second and peak memory of indexing a folder, and what the pipeline costs over the bare encoder.

    python benchmarks/index.py FOLDER [--encoder rootsift] [--images 1000]

The bare encoder is timed on pictures that were decoded beforehand, in as many threads as the pipeline uses, and with as
many inside a matrix product; both are timed alternately, three times each, and the median counts.
"""

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from threadpoolctl import threadpool_limits

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.pipeline import BATCH
from lookalike.images import decode as images
from lookalike.images.sources import Folder
from lookalike.types import Encoder
from lookalike.utils.cores import cores


def bare(encoder: Encoder, decoded: list[images.Decoded]) -> float:
    """Seconds from decoded pictures to vectors."""
    batch = getattr(encoder, "batch_size", BATCH)
    start = time.perf_counter()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        prepared = pool.map(lambda picture: images.prepare(encoder, picture), decoded)
        while arrays := list(islice(prepared, batch)):
            encoder.encode_batch(arrays)
    return time.perf_counter() - start


def index(encoder: Encoder, folder: Path) -> float:
    """Seconds from files to a committed collection."""
    with tempfile.TemporaryDirectory() as place, Collection(Path(place) / "collection", encoder) as collection:
        start = time.perf_counter()
        collection.index([folder])
        return time.perf_counter() - start


def measured(job: Callable[[], float], times: list[float]) -> None:
    times.append(job())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="rootsift")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    encoder = load_encoder(args.encoder)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, entry in enumerate(islice(Folder(args.folder).entries(), args.images)):
            shutil.copy(args.folder / entry.key, folder / f"{number:06}{Path(entry.key).suffix}")
        decoded = [images.load(path, size=encoder.decode_size) for path in sorted(folder.iterdir())]
        whole: list[float] = []
        alone: list[float] = []
        for _ in range(args.repeats):
            measured(lambda: bare(encoder, decoded), alone)
            measured(lambda: index(encoder, folder), whole)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count, fast, slow = len(decoded), statistics.median(alone), statistics.median(whole)
    print("| encoder | images | bare encoder, images/s | index, images/s | overhead | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {encoder.name} | {count} | {count / fast:.1f} | {count / slow:.1f} | {slow / fast - 1:.1%} | {peak:.0f} |"
    )


if __name__ == "__main__":
    main()
