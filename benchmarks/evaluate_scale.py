"""Memory and time of an evaluation as its gallery grows by made-up distractors; no figure of retrieval comes of it.

    python benchmarks/evaluate_scale.py [--rows 0 100000 400000] [--buildings 6]

A made-up town is evaluated, and again with so many random unit rows more in its gallery, as `--distractors` would have
put them there, but without pictures. Each size is evaluated in a process of its own, with one query and with all, so
that what a query costs and what all of them keep can be told apart. Resident memory counts the pages of the mapped
vectors that were read, which the system takes back where it needs them; so it is given without them too.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from made_vectors import Made

from lookalike.encoders import load_encoder
from lookalike.evaluation.answers import embed_gallery
from lookalike.evaluation.datasets import load, synthetic
from lookalike.evaluation.datasets.benchmark import Benchmark
from lookalike.evaluation.run import evaluate
from lookalike.storage.store import Item, Store


class Answers(Protocol):
    """Takes the figures of a process: a queue between two, or within one."""

    def put(self, figures: tuple[int, float, float], /) -> None: ...


ENCODER, BLOCK = "thumbnail", 4096


def grow(folder: Path, rows: int, dim: int) -> None:
    """Add made-up rows of a further source to a gallery."""
    store = Store(folder)
    made = Made(max(1, rows), dim)
    with store.writing() as written:
        source = written.catalog.add_source(str(folder / "distractors"), "distractors/")
        for start in range(0, rows, BLOCK):
            numbers = range(start, min(start + BLOCK, rows))
            items = [Item(-1, source, f"distractors/{n:08}.jpg", 1, 1, f"{n + 1:064x}", 64, 48) for n in numbers]
            written.add_many(items, made.rows(len(items), start))
            written.commit()
    store.close()


def measured(benchmark: Benchmark, cache: Path, answer: Answers) -> None:
    """Images of the gallery, and peak memory (MiB) and seconds of an evaluation; in a process of its own."""
    start = time.perf_counter()
    report = evaluate(benchmark, encoder=ENCODER, k=[1], cache=cache)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((report.gallery.images, peak, time.perf_counter() - start))


def apart(benchmark: Benchmark, cache: Path) -> tuple[int, float, float]:
    """`measured`, and nothing that was in memory before."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    # By the name of this file, whoever runs it.
    job = import_module("evaluate_scale").measured
    process = context.Process(target=job, args=(benchmark, cache, answer))
    process.start()
    figures: tuple[int, float, float] = answer.get()
    process.join()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 100_000, 400_000])
    parser.add_argument("--buildings", type=int, default=6)
    args = parser.parse_args()
    print("| images | vectors, MiB | queries | peak, MiB | without mapped vectors | bytes an image | seconds |")
    print("|---|---|---|---|---|---|---|")
    first: dict[int, float] = {}
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as place:
            root, cache = Path(place) / "town", Path(place) / "cache"
            synthetic.render(root, buildings=args.buildings, views=5, seed=0, distractors=0)
            benchmark, encoder = load("vgg", root), load_encoder(ENCODER)
            with embed_gallery(benchmark, encoder, cache).collection as collection:
                folder = collection.path
            grow(folder, rows, encoder.dim)
            for queries in (benchmark.queries[:1], benchmark.queries):
                images, peak, seconds = apart(replace(benchmark, queries=queries), cache)
                mapped = 4 * encoder.dim * images / 2**20
                own = peak - mapped
                base = first.setdefault(len(queries), own)
                growth = f"{(own - base) * 2**20 / rows:.0f}" if rows else ""
                sizes = f"{images:,} | {mapped:.0f} | {len(queries)} | {peak:.0f} | {own:.0f} | {growth}"
                print(f"| {sizes} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
