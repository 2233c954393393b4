"""Milliseconds of re-ranking: spatial verification with cached keypoints, expansion of a query, graphs over candidates.

    python benchmarks/rerank_speed.py [PHOTOS] [--vectors 100000] [--dim 1024] [--top 100] [--rounds 15]

Vectors are made up (clusters of about ten). PHOTOS is a folder with more than `top` pictures; without it the made-up
town is painted. All rows are timed by turns, and the median of the rounds counts; the load of the machine is printed,
since figures of a busy one are too high.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL.Image import Image

from lookalike.evaluation.datasets import synthetic as scenes
from lookalike.images import decode as images
from lookalike.index.exact import ExactIndex
from lookalike.search.rank import rank
from lookalike.search.rerank.expansion import AlphaQE
from lookalike.search.rerank.graph import Diffusion, KReciprocal
from lookalike.search.rerank.keypoints import detect
from lookalike.search.rerank.spatial import Spatial
from lookalike.search.rerank.superglobal import SuperGlobal
from lookalike.types import Ids, Probe, Ranking, Vectors

SHOWN = 20


class Gallery(ExactIndex):
    """Made-up vectors, of which the first rows have pictures, and a place for keypoints."""

    def __init__(self, rows: Vectors, paths: list[Path], cache_dir: Path) -> None:
        super().__init__(rows)
        self.rows, self.paths, self.cache_dir = rows, paths, cache_dir

    def vectors(self, ids: Ids) -> Vectors:
        return np.asarray(self.rows[ids], np.float32)

    def image(self, row: int) -> Image:
        return images.load(self.paths[row]).image

    def content(self, row: int) -> str:
        return hashlib.sha256(str(self.paths[row]).encode()).hexdigest()


def clusters(count: int, dim: int) -> Vectors:
    """Unit rows, about ten around each centre, whose cosines to each other are about 0.5."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, dim), np.float32)
    rows += rng.standard_normal((max(1, count // 10), dim), np.float32)[rng.integers(0, max(1, count // 10), count)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def pictures(folder: Path | None, place: Path, top: int) -> list[Path]:
    """The query and its candidates."""
    if folder is None:
        scenes.render(place, buildings=18, views=6, distractors=0)
        folder = place / "images"
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[: top + 1]
    if len(found) <= top:
        raise SystemExit(f"{folder}: {len(found)} pictures; {top + 1} are needed")
    return found


def jobs(gallery: Gallery, top: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    query = gallery.image(0)
    probe, again = Probe(gallery.rows[:1], lambda: query), Probe(gallery.rows[1:2])
    candidates = np.arange(1, top + 1, dtype=np.int64)
    first = Ranking(candidates, np.linspace(0.5, 0.2, top, dtype=np.float32))
    lists = {count: rank(again, gallery, count) for count in (SHOWN, 400, 500, 2000)}
    spatial, keypoints = Spatial(top=top), detect(query, Spatial.features)
    print(f"{len(keypoints)} keypoints of the query; {len(gallery):,} vectors of {gallery.rows.shape[1]}")
    return {
        f"spatial, {top} candidates with cached keypoints": lambda: spatial.verified(keypoints, first, gallery),
        "spatial, the query's own keypoints": lambda: detect(query, Spatial.features),
        "spatial, both": lambda: spatial(probe, first, gallery),
        "alpha-qe, the expanded query": lambda: AlphaQE().expanded(again, lists[SHOWN], gallery),
        "alpha-qe, with its second search": lambda: AlphaQE()(again, lists[SHOWN], gallery),
        "one exact search": lambda: gallery.search(again.vectors, SHOWN),
        "superglobal, top 400": lambda: SuperGlobal()(again, lists[400], gallery),
        "k-reciprocal, top 500": lambda: KReciprocal()(again, lists[500], gallery),
        "diffusion, top 2,000": lambda: Diffusion()(again, lists[2000], gallery),
    }


def clocked(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--top", type=int, default=100, help="candidates that are verified")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        paths = pictures(options.photos, Path(place), options.top)
        gallery = Gallery(clusters(options.vectors, options.dim), paths, Path(place) / "cache")
        timed = jobs(gallery, options.top)
        for job in timed.values():
            job()
        before = os.getloadavg()[0]
        taken = [{name: clocked(job) for name, job in timed.items()} for _ in range(options.rounds)]
    print(f"{os.cpu_count()} cores; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    print("| | median, ms | least, ms |\n|---|---|---|")
    for name in timed:
        each = [one[name] for one in taken]
        print(f"| {name} | {statistics.median(each):.2f} | {min(each):.2f} |")


if __name__ == "__main__":
    main()
