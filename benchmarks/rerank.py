"""What re-ranking gains: every method alone and chained, with paired bootstrap intervals and its time.

python benchmarks/rerank.py ROOT [--distractors FOLDER] [--encoder rootsift] [--cache DIR] [--only SPEC ...]

ROOT holds images/ and groundtruth/ in the VGG layout; the protocol is `original`. A chain is several specs joined by
" + ". Parameters are the methods' defaults, from their papers or from the made-up town, or (3,000 keypoints and 400
candidates) what Philbin et al. (CVPR 2007) verify. Nothing is tuned here. A chain that begins with "whitening" is
searched in whitened vectors, learned on the gallery itself or on distractors alone.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.whitening import Whitening, fit
from lookalike.evaluation.answers import Ask, answers, ask_collection, embed_gallery
from lookalike.evaluation.compare import paired_interval
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery
from lookalike.evaluation.metrics import average_precision
from lookalike.evaluation.protocols import protocol_for
from lookalike.evaluation.scoring import Judge
from lookalike.search.rank import rank
from lookalike.search.rerank import parse
from lookalike.storage.maintenance.whiten import apply
from lookalike.storage.store import Store
from lookalike.types import Box, Gallery, Probe, Reranker

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


def measure(name: str, benchmark: Benchmark, collection: Collection, ask: Ask) -> Row:
    rerankers = [parse(spec) for spec in name.split(" + ") if spec != PLAIN and not spec.startswith(OWN)]
    protocol = protocol_for(benchmark, "original")
    reader = Judge(collection, protocol, benchmark.images)
    judged = [reader.read(answer).judged["all"] for answer in answers(benchmark, collection, ask, rerankers=rerankers)]
    precisions = np.array([average_precision(one, protocol.rule) for one in judged])
    seconds = [clocked(ask(query, query.box), collection.gallery, rerankers) for query in benchmark.queries]
    return Row(name, precisions, 1000 * float(np.median(seconds)))


def clocked(probe: Probe, gallery: Gallery, rerankers: Sequence[Reranker]) -> float:
    """Seconds for a query of `SHOWN` results, its own encoding not counted, keypoints of the gallery being kept."""
    began = time.perf_counter()
    rank(probe, gallery, SHOWN, rerankers)
    return time.perf_counter() - began


def remembering(ask: Ask) -> Ask:
    """Every query encoded once."""
    known: dict[str, Probe] = {}

    def asked(query: BenchmarkQuery, box: Box | None) -> Probe:
        if query.name not in known:
            known[query.name] = ask(query, box)
        return known[query.name]

    return asked


def whitened(ask: Ask, learned: Whitening) -> Ask:
    """Queries whitened as the gallery is."""

    def asked(query: BenchmarkQuery, box: Box | None) -> Probe:
        probe = ask(query, box)
        return Probe(learned.apply(probe.vectors), probe.image)

    return asked


def whitenings(collection: Collection, distractors: Sequence[Path]) -> dict[str, Whitening]:
    """By the first words of a chain."""
    vectors = collection.gallery.vectors(np.arange(len(collection)))
    names = tuple(f"{folder.name}/" for folder in distractors)
    others = vectors[[key.startswith(names) for key in list(collection.keys())]] if names else vectors
    return {OWN: fit(vectors), OTHERS: fit(others), HALF: fit(others, power=0.5)}


def whitened_copy(collection: Collection, learned: Whitening, place: Path) -> Path:
    """The same collection whitened, with the keypoints that are known of its images."""
    shutil.copytree(collection.path, place)
    with closing(Store(place)) as store:
        apply(store, learned)
    return place


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
    with embedded.collection as collection, tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        ask = remembering(ask_collection(collection))
        places = {PLAIN: (collection, ask)}
        for number, (name, learned) in enumerate(whitenings(collection, options.distractors).items()):
            copy = whitened_copy(collection, learned, Path(scratch) / str(number))
            places[name] = stack.enter_context(Collection(copy)), whitened(ask, learned)
        print(f"{benchmark.name} · {options.encoder} · {len(benchmark.queries)} queries · {len(collection):,} images\n")
        print("| re-ranking | mAP | gain, points | 95 % interval | ms a query |\n|---|---|---|---|---|")
        plain = None
        for name in dict.fromkeys((PLAIN, *options.only)):
            row = measure(name, benchmark, *places[name.split(" + ")[0] if name.startswith(OWN) else PLAIN])
            plain = plain or row
            print(row.text(plain), flush=True)


if __name__ == "__main__":
    main()
