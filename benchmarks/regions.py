"""How often a thing inside a photo is found by another view of it, and where: whole pictures, crops, windows, refined.

    python benchmarks/regions.py PHOTOS [--views PARIS250] [--encoder efficientnet-lite0] [--images N] [--cache DIR]

Parts of façades of Paris-250 are pasted into PHOTOS at 2 to 20 % of their area, and another view of the same part is
the query (`pasted_objects`). Photos with other views of the landmark are left out of a query's search, so one photo
is right. `mAP` is of the first 100; IoU is that of the hit's box with the pasted part, among right first hits. Index
time is that of regions over that of whole pictures, query time the median of 20, with the query's encoding. With
--cache, pictures and collections are kept, and a second run measures queries alone. Below it is Paris-250 itself: the
mAP of its cropped queries, whose things mostly fill the photos.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pasted_objects import SHARES, Made, Pasted, made

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.maps import map_encoder
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark
from lookalike.evaluation.metrics import average_precision, judge
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Box, Encoder, Hit

DEPTH, TIMED = 100, 20
WHOLE = "whole"


@dataclass(frozen=True)
class Method:
    """A way to search: the regions of a spec (None: whole pictures alone), re-ranking, and scales of the query."""

    name: str
    spec: str | None = None
    rerank: tuple[str, ...] = ()
    invariant: tuple[str, ...] = ()

    def options(self, k: int, exclude: frozenset[str] = frozenset()) -> SearchOptions:
        """Of a search."""
        return SearchOptions(k=k, exclude=exclude, rerank=self.rerank, regions=None if self.spec else False)


def methods(specs: Sequence[str], top: int) -> list[Method]:
    """Whole pictures; each spec; and the last spec with all that can be added."""
    last, refine, scale = specs[-1], (f"region,top={top}",), ("scale",)
    return [
        Method("whole pictures"),
        Method("whole pictures, scales", invariant=scale),
        Method("whole pictures, refined", rerank=refine),
        *(Method(spec, spec) for spec in specs),
        Method(f"{last}, scales", last, invariant=scale),
        Method(f"{last}, refined", last, rerank=refine),
        Method(f"{last}, scales, refined", last, refine, scale),
    ]


@dataclass(frozen=True)
class Outcome:
    """A query's answer: the rank of the right photo, 0 where it is beyond `DEPTH`, and the IoU of its box."""

    rank: int
    overlap: float
    share: float


@dataclass(frozen=True)
class Cost:
    """Bytes a photo of the vectors, and seconds to make them."""

    bytes: float
    seconds: float


def outcome(pasted: Pasted, hits: Sequence[Hit]) -> Outcome:
    for hit in hits:
        if hit.key == pasted.key:
            return Outcome(hit.rank, overlap(hit.box, pasted.box), pasted.share)
    return Outcome(0, 0.0, pasted.share)


def overlap(a: Box | None, b: Box) -> float:
    """Intersection over union; 0 for a hit that counts as a whole."""
    if a is None:
        return 0.0
    shared = max(0.0, min(a.right, b.right) - max(a.left, b.left)) * max(
        0.0, min(a.bottom, b.bottom) - max(a.top, b.top)
    )
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (a, b)]
    return shared / (sum(areas) - shared)


def asked(collection: Collection, method: Method, pictures: Made) -> list[Outcome]:
    """All queries by one method."""
    outcomes = []
    for pasted in pictures.truth:
        others = frozenset(each.key for each in pictures.truth if each.landmark == pasted.landmark and each != pasted)
        query = Query((pictures.queries / pasted.query,), invariant=method.invariant)
        outcomes.append(outcome(pasted, collection.find(query, method.options(DEPTH, others))))
    return outcomes


def milliseconds(collection: Collection, method: Method, pictures: Made) -> float:
    """The median of `TIMED` queries for ten results; maps and keypoints of candidates are kept from before."""
    times = []
    for pasted in pictures.truth[:TIMED]:
        began = time.perf_counter()
        collection.find(Query((pictures.queries / pasted.query,), invariant=method.invariant), method.options(10))
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def row(method: Method, outcomes: Sequence[Outcome], cost: Cost, whole: Cost, ms: float) -> str:
    ranks, shares = (np.array([getattr(each, name) for each in outcomes]) for name in ("rank", "share"))
    overlaps = np.array([each.overlap for each in outcomes])
    first, reached = ranks == 1, ranks > 0
    precision = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=reached).mean()
    bins = [(shares >= low) & (shares < high) for low, high in pairwise(SHARES)]
    bins[-1] |= shares >= SHARES[-1]
    cells = [
        method.name,
        percent(first),
        percent(reached & (ranks <= 10)),
        f"{precision:.3f}",
        " · ".join(percent(first[chosen]) for chosen in bins),
        percent(overlaps[first] >= 0.5) if method.spec or method.rerank else "",
        " · ".join(percent(overlaps[first & chosen] >= 0.5) for chosen in bins) if method.spec or method.rerank else "",
        f"{cost.bytes:,.0f}",
        f"{cost.seconds / whole.seconds:.1f}" if method.spec else "",
        f"{ms:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def percent(values: NDArray[np.bool_]) -> str:
    return f"{100 * values.mean():.0f}" if len(values) else "-"


HEADING = (
    "| search | P@1 % | hit@10 % | mAP | P@1 by area 2-5 · 5-10 · 10-20 % | IoU ≥ .5, % | by area "
    "| B a photo | × index time | ms a query |\n|---|---|---|---|---|---|---|---|---|---|"
)


def indexed(folder: Path, place: Path, encoder: Encoder, spec: str | None) -> Cost:
    """A collection of the photos with the regions of a spec; its cost is kept beside it."""
    note = place.with_name(f"{place.name}.json")
    if not note.is_file():
        shutil.rmtree(place, ignore_errors=True)
        whole = place.with_name(WHOLE)
        if spec:
            shutil.copytree(whole, place)
        began = time.perf_counter()
        with Collection(place, encoder, [folder]) as collection:
            if spec:
                collection.add_regions(spec)
            else:
                collection.index()
            seconds = time.perf_counter() - began
            file = place / "regions" / "vectors.f32" if spec else place / "vectors.f32"
            cost = {"bytes": file.stat().st_size / len(collection), "seconds": seconds}
        note.write_text(json.dumps(cost), encoding="utf-8")
    return Cost(**json.loads(note.read_text(encoding="utf-8")))


def print_pasted(pictures: Made, place: Path, encoder: Encoder, ways: Sequence[Method]) -> None:
    """The table of pasted parts."""
    costs = {spec: indexed(pictures.photos, place / (spec or WHOLE), encoder, spec) for spec in _specs(ways)}
    with ExitStack() as stack:
        collections = {
            spec: stack.enter_context(Collection(place / (spec or WHOLE), encoder, [pictures.photos])) for spec in costs
        }
        count = len(collections[None])
        print(f"{len(pictures.truth)} things in {count:,} photos · {encoder.name}\n\n{HEADING}", flush=True)
        for method in ways:
            collection = collections[method.spec]
            outcomes = asked(collection, method, pictures)
            ms = milliseconds(collection, method, pictures)
            print(row(method, outcomes, costs[method.spec], costs[None], ms), flush=True)


def print_benchmark(benchmark: Benchmark, place: Path, encoder: Encoder, ways: Sequence[Method]) -> None:
    """The mAP of the queries of a data set whose things mostly fill the photos."""
    print(
        f"\n{benchmark.name} itself, {len(benchmark.queries)} cropped queries\n\n| search | mAP |\n|---|---|",
        flush=True,
    )
    for spec in _specs(ways):
        indexed(benchmark.images, place / (spec or WHOLE), encoder, spec)
    for method in ways:
        with Collection(place / (method.spec or WHOLE), encoder, [benchmark.images]) as collection:
            numbers = {key: number for number, key in enumerate(collection.keys())}
            print(f"| {method.name} | {mean_precision(benchmark, collection, method, numbers):.3f} |", flush=True)


def mean_precision(benchmark: Benchmark, collection: Collection, method: Method, numbers: dict[str, int]) -> float:
    precisions = []
    for query in benchmark.queries:
        question = Query((query.image,), box=query.box, invariant=method.invariant)
        hits = collection.find(question, method.options(len(numbers)))
        truth = query.truths["all"]
        positives, junk = ({numbers[key] for key in keys} for keys in (truth.positives, truth.junk))
        precisions.append(average_precision(judge(np.array([numbers[hit.key] for hit in hits]), positives, junk)))
    return statistics.mean(precisions)


def _specs(ways: Sequence[Method]) -> list[str | None]:
    return [None, *dict.fromkeys(method.spec for method in ways if method.spec)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--views", type=Path, help="a data set in the VGG layout; default: paris250 beside the photos")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--images", type=int, default=1_000_000, help="at most so many photos")
    parser.add_argument("--objects", type=int, default=150)
    parser.add_argument("--side", type=int, default=640, help="the longer side of the photos; 0 leaves them")
    parser.add_argument("--specs", nargs="*", help="of regions; the last is the one that is refined")
    parser.add_argument("--top", type=int, default=50, help="candidates that are refined")
    parser.add_argument("--only", nargs="*", metavar="SEARCH", help="rows of the tables, by their names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    views = options.views or options.photos.parent / "paris250"
    encoder = load_encoder(options.encoder)
    specs = options.specs or (["grid", "pooled"] if map_encoder(encoder) else ["grid"])
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch)
        pictures = made(
            options.photos, views / "images", cache, options.images, options.objects, options.seed, options.side
        )
        ways, name = methods(specs, options.top), options.encoder.replace("/", "-")
        ways = [method for method in ways if not options.only or method.name in options.only]
        print_pasted(pictures, pictures.photos.parent / name, encoder, ways)
        print_benchmark(load("vgg", views), cache / "views" / name, encoder, ways)


if __name__ == "__main__":
    main()
