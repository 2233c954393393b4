"""How cost grows with a collection: importing, opening, adding one image, searching, optimising, from 10,000 rows on.

    python benchmarks/growth.py --place DIR [--rows 10000 100000 1000000 10000000] [--plot docs/growth.svg] [--clear]

The rows are made up (`made_vectors.py`) and come in through `import`; with ten million and more they are kept as int8.
Each step is a process of its own, whose own memory (anonymous pages; what is mapped from files can be dropped at any
time) is what the table tells, above that of a process that has loaded the libraries. What was done is kept in DIR, and
a run that was interrupted goes on from there.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from growth_plot import log_log
from made_vectors import Made, named
from numpy.typing import NDArray
from PIL import Image

from lookalike.images import decode as images
from lookalike.types import Picture, Vectors

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection

DIM = 768
COMPACT_FROM = 10_000_000
"""Rows from which on vectors are kept as int8: 772 bytes instead of 3,072."""
SEARCHES = 50
CHECKED = 40
"""Queries whose results are compared with those of exact search."""
STEPS = ("import", "open", "add", "exact", "optimise", "reopen", "search", "cold")
SHOWN = {
    "import": "import",
    "open": "open",
    "add": "add one",
    "exact": "search p50, exact",
    "optimise": "optimise",
    "search": "search p50",
}


class Standing:
    """An encoder that gives every picture a direction of its own, in no time."""

    name, dim, fingerprint, decode_size = "standing", DIM, "5" * 64, 8

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        return np.asarray(image.resize((8, 8)), np.float32)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        rows = np.stack([np.random.default_rng(int(one.sum())).standard_normal(DIM) for one in prepared])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        return images.encode_images(self, pictures)


def own_memory(field: str = "RssAnon") -> float:
    """MiB of this process that the system could not drop and read again from a file; of VmRSS, all that is there."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


class Place:
    """The folder of one size."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path / str(rows), rows
        self.photos = self.path / "photos"
        self.photos.mkdir(parents=True, exist_ok=True)
        self.collection = self.path / "collection"
        self.note = self.path / "took.json"

    def took(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = json.loads(self.note.read_text()) if self.note.is_file() else {}
        return found

    def open(self) -> "Collection":
        from lookalike.collection.collection import Collection

        return Collection(self.collection, Standing())

    # Steps: each gives what it wants to be remembered beside its time and memory.

    def do_import(self) -> dict[str, float]:
        from lookalike.storage.maintenance.transfer import import_vectors

        source = self.path / "vectors.npy"
        made = Made(self.rows, DIM)
        array = np.lib.format.open_memmap(source, "w+", np.float16, (self.rows, DIM))
        for number, block in enumerate(made.blocks(self.rows)):
            array[number * 50_000 : number * 50_000 + len(block)] = block
        del array
        shutil.rmtree(self.collection, ignore_errors=True)
        dtype = "int8" if self.rows >= COMPACT_FROM else "float32"
        began = time.perf_counter()
        names = named(self.path / "names.txt", self.rows)
        import_vectors(source, self.collection, names, self.photos, Standing(), dtype)
        seconds = time.perf_counter() - began
        source.unlink()
        os.sync()  # what is still to be written must not be counted against the next step
        size = sum(file.stat().st_size for file in self.collection.iterdir())
        return {"seconds": seconds, "bytes": size / self.rows}

    def do_open(self) -> dict[str, float]:
        before, began = own_memory(), time.perf_counter()
        with self.open() as opened:
            assert len(opened) >= self.rows
            return {"seconds": time.perf_counter() - began, "MiB": own_memory() - before}

    do_reopen = do_open

    def do_add(self) -> dict[str, float]:
        times = []
        with self.open() as opened:
            for number in range(5):
                file = self.photos / f"{time.time_ns()}.png"
                Image.fromarray(np.random.default_rng(time.time_ns()).integers(0, 256, (8, 8, 3), np.uint8)).save(file)
                began = time.perf_counter()
                report = opened.refresh([file])
                assert report.added == 1, (number, report)
                times.append(time.perf_counter() - began)
        return {"seconds": statistics.median(times), "worst": max(times)}

    def _search(self, count: int, recall: float | None, before_that: int = 0) -> dict[str, float]:
        """`before_that` searches are not counted: they bring what all searches need from the disk."""
        queries = Made(self.rows, DIM).queries(count + before_that)
        times = []
        with self.open() as opened:
            before = own_memory()
            began = time.perf_counter()
            opened.search(queries[0], k=10, recall=recall)
            first = time.perf_counter() - began
            for query in queries[1 : before_that + 1]:
                opened.search(query, k=10, recall=recall)
            for query in queries[before_that + 1 :]:
                began = time.perf_counter()
                assert len(opened.search(query, k=10, recall=recall)) == 10
                times.append(time.perf_counter() - began)
            return {"seconds": statistics.median(times), "first": first, "MiB": own_memory() - before}

    def do_exact(self) -> dict[str, float]:
        return self._search(4 if self.rows >= COMPACT_FROM else 10, 1.0)

    def do_search(self) -> dict[str, float]:
        found = self._search(SEARCHES, None, 500)
        return {**found, "resident": own_memory("VmRSS"), "recall": self._recall()}

    def _recall(self) -> float:
        """Of queries that are not among the rows, against exact search."""
        with self.open() as opened:
            shares = [
                len({hit.key for hit in opened.search(query, k=10)} & {hit.key for hit in truth}) / 10
                for query in Made(self.rows, DIM).queries(CHECKED)
                for truth in [opened.search(query, k=10, recall=1.0)]
            ]
        return statistics.mean(shares)

    def do_cold(self) -> dict[str, float]:
        """As after a restart of the machine, as far as it lets go of what it read from the collection."""
        for file in self.collection.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return self._search(SEARCHES, None)

    def do_optimise(self) -> dict[str, float]:
        from lookalike.index.ann import facts
        from lookalike.storage.maintenance.build_index import optimize
        from lookalike.storage.store import Store, read_header

        before, done = own_memory(), threading.Event()
        peak = [before]

        def watch() -> None:
            while not done.wait(0.2):
                peak[0] = max(peak[0], own_memory())

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        with closing(Store(self.collection)) as store:
            optimize(store, "auto")
        seconds = time.perf_counter() - began
        done.set()
        watching.join()
        told = facts(self.collection, read_header(self.collection).id, 1 << 40)
        recall = {"recall": told["recall@10"], "index bytes": told["bytes a vector"]} if told else {}
        return {"seconds": seconds, "MiB": peak[0] - before, **recall, "cpu": time.process_time()}


def step(place: Path, rows: int, name: str) -> None:
    """One step, in this process; a line of JSON."""
    # What is measured begins behind the libraries.
    from lookalike.collection import collection  # noqa: F401
    from lookalike.index.library import library
    from lookalike.storage.maintenance import transfer  # noqa: F401

    library()

    job: Callable[[], dict[str, float]] = getattr(Place(place, rows), f"do_{name}")
    found = job()
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def steps(place: Path, rows: int) -> dict[str, dict[str, float]]:
    """What all steps took; those that are noted already are not done again."""
    here = Place(place, rows)
    took = here.took()
    for name in STEPS:
        if name not in took:
            command = [sys.executable, __file__, "--place", str(place), "--step", name, str(rows)]
            took[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            here.note.write_text(json.dumps(took, indent=1))
    return took


def table(all_took: dict[int, dict[str, dict[str, float]]]) -> None:
    print("| rows | B a row | import, s | open, s (MiB) | add one, s | exact search p50, ms |", end="")
    print(
        " optimise, s (MiB) | B in it | recall@10, of new queries | open with it, s (MiB) | first search, ms |",
        end="",
    )
    print(" p50, ms | resident, MiB | cold: first, p50, ms |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for rows, took in all_took.items():
        reopened, made, found, cold = took["reopen"], took["optimise"], took["search"], took["cold"]
        print(
            f"| {rows:,} | {took['import']['bytes']:,.0f} | {took['import']['seconds']:,.1f} "
            f"| {took['open']['seconds']:.3f} ({took['open']['MiB']:.1f}) | {took['add']['seconds']:.3f} "
            f"| {1000 * took['exact']['seconds']:,.1f} | {made['seconds']:,.1f} ({made['MiB']:,.0f}) "
            f"| {made.get('index bytes', 0):.0f} | {made.get('recall', 1.0):.3f}, {found['recall']:.3f} "
            f"| {reopened['seconds']:.3f} ({reopened['MiB']:.1f}) | {1000 * found['first']:,.1f} "
            f"| {1000 * found['seconds']:,.2f} | {found['resident']:,.0f} "
            f"| {1000 * cold['first']:,.0f}, {1000 * cold['seconds']:,.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--clear", action="store_true", help="delete each collection when it is measured")
    parser.add_argument("--step", nargs=2, metavar=("NAME", "ROWS"), help="one step alone, for this script itself")
    options = parser.parse_args()
    if options.step:
        step(options.place, int(options.step[1]), options.step[0])
        return
    before, all_took = os.getloadavg()[0], {}
    for rows in options.rows:
        all_took[rows] = steps(options.place, rows)
        if options.clear:
            shutil.rmtree(Place(options.place, rows).collection, ignore_errors=True)
    table(all_took)
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    if options.plot:
        series = {
            shown: [(rows, took[name]["seconds"]) for rows, took in all_took.items()] for name, shown in SHOWN.items()
        }
        options.plot.write_text(log_log("Seconds by number of rows", "rows", "seconds", series), encoding="utf-8")
        print(f"\n![Seconds by number of rows, both axes logarithmic]({options.plot.name})")


if __name__ == "__main__":
    main()
