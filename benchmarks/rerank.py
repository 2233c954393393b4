"""What re-ranking gains: every method alone and chained, with paired bootstrap intervals and its time.

python benchmarks/rerank.py ROOT [--distractors FOLDER] [--encoder rootsift] [--cache DIR] [--only SPEC ...]

ROOT holds images/ and groundtruth/ in the VGG layout; the protocol is `original`. A chain is several specs joined by
" + ". Parameters are the methods' defaults, from their papers or from the made-up town, or (3,000 keypoints and 400
candidates) what Philbin et al. (CVPR 2007) verify. Nothing is tuned here. A chain that begins with "whitening" is
searched in whitened vectors, learned on the gallery itself or on distractors alone.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.whitening import Whitening, fit
from lookalike.evaluation.answers import Ask, answers, ask_collection, embed_gallery
from lookalike.evaluation.compare import paired_interval
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, Query
from lookalike.evaluation.metrics import average_precision
from lookalike.evaluation.protocols import protocol_for
from lookalike.evaluation.scoring import Reader
from lookalike.index.exact import ExactIndex
from lookalike.search.rank import rank
from lookalike.search.rerank import parse
from lookalike.types import Box, Gallery, Ids, Probe, Reranker, Scores, Vectors

PLAIN = "none"
OWN, OTHERS, HALF = "whitening", "whitening by the distractors", "whitening by the distractors, power 0.5"
SPECS = (
    PLAIN,
    "average-qe",
    "alpha-qe",
    "dba",
    "k-reciprocal",
    "diffusion",
    "superglobal",
    "spatial",
    "spatial,model=affine",
    "spatial,features=1000",
    "spatial,features=1000,top=400",
    "spatial,features=3000,top=400",
    "spatial,features=3000,top=400,model=affine",
    OWN,
    OTHERS,
    HALF,
    "alpha-qe + diffusion",
    "average-qe + k-reciprocal",
    "average-qe + spatial",
    "spatial + average-qe",
    "spatial + alpha-qe",
    "spatial + k-reciprocal",
    "spatial + diffusion",
    "spatial + superglobal",
    "spatial + average-qe + k-reciprocal",
    "spatial,features=1000,top=400 + average-qe",
    f"{OTHERS} + spatial + average-qe",
)
SHOWN = 20
"""Results wanted when a query is timed."""


class Keeping:
    """A collection's gallery, its vectors perhaps whitened, with a place for keypoints."""

    def __init__(self, collection: Collection, cache: Path, learned: Whitening | None) -> None:
        self._gallery, self.cache_dir = collection.gallery, cache
        self._index: ExactIndex | None = None
        if learned:
            self._whitened = learned.apply(self._gallery.vectors(np.arange(len(self._gallery))))
            self._index = ExactIndex(self._whitened)

    def __len__(self) -> int:
        return len(self._gallery)

    def vectors(self, ids: Ids) -> Vectors:
        return self._whitened[ids] if self._index else self._gallery.vectors(ids)

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        return (self._index or self._gallery).search(vectors, k)

    def image(self, row: int) -> Image:
        return self._gallery.image(row)

    def path(self, row: int) -> Path | None:
        return self._gallery.path(row)

    def without(self, rows: Sequence[int]) -> "Keeping":
        assert not rows, "the original protocol hides no photo"
        return self

    def content(self, row: int) -> str:
        return self._gallery.item(row).sha256


@dataclass(frozen=True)
class Searched:
    """What the evaluation asks."""

    collection: Collection
    gallery: Keeping

    def key(self, row: int) -> str:
        return self.collection.key(row)

    def row(self, key: str) -> int | None:
        return self.collection.row(key)


@dataclass(frozen=True)
class Row:
    name: str
    precisions: NDArray[np.float64]
    milliseconds: float

    def text(self, plain: "Row") -> str:
        gained = 100 * (self.precisions - plain.precisions)
        low, high = paired_interval(gained)
        change = "" if self is plain else f"{gained.mean():+.1f} | {low:+.1f} … {high:+.1f}"
        return f"| {self.name} | {self.precisions.mean():.4f} | {change or ' | '} | {self.milliseconds:.0f} |"


def measure(name: str, benchmark: Benchmark, searched: Searched, ask: Ask) -> Row:
    rerankers = [parse(spec) for spec in name.split(" + ") if spec != PLAIN and not spec.startswith(OWN)]
    protocol = protocol_for(benchmark, "original")
    reader = Reader(searched, protocol, benchmark.images)
    judged = [reader.read(answer).judged["all"] for answer in answers(benchmark, searched, ask, rerankers=rerankers)]
    precisions = np.array([average_precision(one, protocol.rule) for one in judged])
    seconds = [clocked(ask(query, query.box), searched.gallery, rerankers) for query in benchmark.queries]
    return Row(name, precisions, 1000 * float(np.median(seconds)))


def clocked(probe: Probe, gallery: Gallery, rerankers: Sequence[Reranker]) -> float:
    """Seconds for a query of `SHOWN` results, its own encoding not counted, keypoints of the gallery being kept."""
    began = time.perf_counter()
    rank(probe, gallery, SHOWN, rerankers)
    return time.perf_counter() - began


def remembering(ask: Ask) -> Ask:
    """Every query encoded once."""
    known: dict[str, Probe] = {}

    def asked(query: Query, box: Box | None) -> Probe:
        if query.name not in known:
            known[query.name] = ask(query, box)
        return known[query.name]

    return asked


def whitened(ask: Ask, learned: Whitening | None) -> Ask:
    """Queries whitened as the gallery is."""

    def asked(query: Query, box: Box | None) -> Probe:
        probe = ask(query, box)
        return Probe(learned.apply(probe.vectors), probe.image) if learned else probe

    return asked


def whitenings(collection: Collection, distractors: Sequence[Path]) -> dict[str, Whitening | None]:
    """By the first words of a chain."""
    vectors = collection.gallery.vectors(np.arange(len(collection)))
    names = tuple(f"{folder.name}/" for folder in distractors)
    others = vectors[[key.startswith(names) for key in list(collection.keys())]] if names else vectors
    return {PLAIN: None, OWN: fit(vectors), OTHERS: fit(others), HALF: fit(others, power=0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--distractors", type=Path, action="append", default=[])
    parser.add_argument("--encoder", default="rootsift")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", nargs="*", default=SPECS)
    options = parser.parse_args()
    benchmark = load("vgg", options.root, options.distractors)
    embedded = embed_gallery(benchmark, load_encoder(options.encoder), options.cache)
    with embedded.collection as collection:
        ask = remembering(ask_collection(collection))
        places = {
            name: (
                Searched(collection, Keeping(collection, collection.path / "cache", learned)),
                whitened(ask, learned),
            )
            for name, learned in whitenings(collection, options.distractors).items()
        }
        print(f"{benchmark.name} · {options.encoder} · {len(benchmark.queries)} queries · {len(collection):,} images\n")
        print("| re-ranking | mAP | gain, points | 95 % interval | ms a query |\n|---|---|---|---|---|")
        plain = None
        for name in dict.fromkeys((PLAIN, *options.only)):
            row = measure(name, benchmark, *places[name.split(" + ")[0] if name.startswith(OWN) else PLAIN])
            plain = plain or row
            print(row.text(plain), flush=True)


if __name__ == "__main__":
    main()
