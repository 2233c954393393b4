"""What a search option costs: the same vectors searched plainly, at a recall, in half of the rows, and both, by turns.

    python benchmarks/options.py --cache DIR [--rows 60000] [--dim 64] [--index IVF64,Flat] [--rounds 9] [--searches 50]

The vectors are made up, and their collection and its index are kept in DIR. Each search goes through
`Collection.search`, as those of every user do, with a vector that is not among the rows. The recall is the one that a
plain search aims at, so that all look equally hard. A figure is the median of the rounds, each of which is the median
of its searches; a ratio is the median of the ratios of the rounds.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import TypedDict

from made_vectors import Made, written

from lookalike.collection.collection import Collection
from lookalike.index.ann import DEFAULT_RECALL
from lookalike.index.exact import threads
from lookalike.storage.maintenance.transfer import import_vectors
from lookalike.storage.store import is_collection
from lookalike.types import Vectors

HALF = "key:half/*"
QUERIES = 256


class Options(TypedDict, total=False):
    """What a search is asked beside its query."""

    recall: float
    where: str


ASKED: dict[str, Options] = {
    "plain": {},
    "recall": {"recall": DEFAULT_RECALL},
    "where": {"where": HALF},
    "both": {"recall": DEFAULT_RECALL, "where": HALF},
}


def prepared(cache: Path, rows: int, dim: int, spec: str) -> Path:
    """A collection with an index, made where it is not there yet; every second image lies in one folder."""
    place = cache / f"{rows}x{dim} {spec.replace(',', '_')}"
    if not is_collection(place / "collection"):
        place.mkdir(parents=True, exist_ok=True)
        vectors, names = written(place / "vectors.npy", rows, dim), place / "names.txt"
        folders = ("half", "rest")
        lines = (f"{folders[row % 2]}/{row:09}.jpg\n" for row in range(rows))
        names.write_text("".join(lines), encoding="ascii")
        import_vectors(vectors, place / "collection", names)
        with Collection(place / "collection") as made:
            made.optimize(spec)
    return place / "collection"


def seconds(collection: Collection, queries: Vectors, options: Options) -> float:
    """The median of one search for each of the queries."""
    took = []
    for query in queries:
        began = time.perf_counter()
        collection.search(query, **options)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def measure(collection: Collection, queries: Vectors, rounds: int, searches: int) -> dict[str, list[float]]:
    """Seconds a search by option and round; the options by turns, to and fro."""
    measured: dict[str, list[float]] = {name: [] for name in ASKED}
    for options in ASKED.values():
        seconds(collection, queries[:2], options)
    for number in range(rounds):
        some = queries[[(number * searches + at) % len(queries) for at in range(searches)]]
        for name in list(ASKED)[:: 1 if number % 2 else -1]:
            measured[name].append(seconds(collection, some, ASKED[name]))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--index", default="IVF64,Flat", help="a FAISS spec")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--searches", type=int, default=50)
    options = parser.parse_args()
    place = prepared(options.cache, options.rows, options.dim, options.index)
    queries, before = Made(options.rows, options.dim).queries(QUERIES), os.getloadavg()[0]
    with Collection(place) as collection:
        measured = measure(collection, queries, options.rounds, options.searches)
    print(f"{options.rows:,} x {options.dim}, {options.index}, {threads()} threads, one query at a time\n")
    print("| options | ms, median | of plain |")
    print("|---|---|---|")
    for name, times in measured.items():
        ratio = statistics.median(one / plain for one, plain in zip(times, measured["plain"], strict=True))
        print(f"| {name} | {1000 * statistics.median(times):.3g} | {ratio:.2f} |")
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
