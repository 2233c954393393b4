"""The confidence of hits: fit each encoder's model on Paris-250 among photos, and measure it by cross-validation.

    python benchmarks/calibration.py PARIS_250 --distractors PHOTOS [--encoder NAME ...] [--write] [--time PHOTO]

No model is judged on a landmark that it was fitted on. `--write` fits on all landmarks and stores the models with the
encoders' rows (lookalike/encoders/data/confidence.json). `--time` measures what a confidence costs a search.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder, measured
from lookalike.evaluation.answers import QueryVectors, ask_collection, embed_gallery
from lookalike.evaluation.calibration import calibrate, fit_model
from lookalike.evaluation.calibration_samples import Sample, collect
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, Truth
from lookalike.evaluation.report import Calibration, calibration_text, markdown_table
from lookalike.search import hybrid
from lookalike.search.confidence import Model
from lookalike.search.evidence import assess, inliers
from lookalike.search.hits import hits
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query

ENCODERS = ("efficientnet-lite0", "rootsift")
UNLISTED = {"triomphe": ("photos/voc_02198.jpg",)}
"""Photos among the distractors that show a landmark, which its ground truth cannot list; they count as junk."""


def benchmark_of(root: Path, distractors: Sequence[Path]) -> Benchmark:
    """Paris-250, where photos that show a landmark by accident are neither right nor wrong."""
    plain = load("vgg", root, distractors)
    queries = []
    for query in plain.queries:
        more = frozenset(UNLISTED.get(query.name.rpartition("_")[0], ()))
        truths = {name: Truth(truth.positives, truth.junk | more) for name, truth in query.truths.items()}
        queries.append(replace(query, truths=truths))
    return replace(plain, queries=tuple(queries))


def answered(benchmark: Benchmark, name: str, cache: Path | None) -> list[Sample]:
    """The answers of an encoder to all queries, with and without their positives."""
    encoder = load_encoder(name)
    with embed_gallery(benchmark, encoder, cache).collection as collection:
        vectors = QueryVectors(collection.path / "queries.npz", encoder.fingerprint)
        samples = collect(benchmark, collection, vectors.remember(ask_collection(collection)))
        vectors.save()
    return samples


def row(name: str, model: Model, figures: Sequence[Calibration], source: str) -> dict[str, Any]:
    """The row of an encoder: the model fitted on all landmarks, and the figures of those fitted without each."""
    kept = ("verify", "false_found", "kept", "kept_at_two_percent", "error", "error_of_hits", "ordinary_found")
    return {
        "fingerprint": load_encoder(name).fingerprint,
        "fitted_on": source,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cross_validated": [{key: getattr(each, key) for key in kept} for each in figures],
        "model": model.to_json(),
    }


def costs(collection: Collection, model: Model, photos: Sequence[Path], rounds: int) -> list[list[str]]:
    """Milliseconds of searches with and without confidence, in turns on each photo: medians of all."""
    gallery, seconds = collection.gallery, dict[str, list[float]]()
    plain, verify = SearchOptions(), SearchOptions(verify=True)
    keys = [Query((key,)) for key in collection.keys()[:: max(1, len(collection) // len(photos))][: len(photos)]]
    for _ in range(rounds):
        for kind, queries in (("a photo", [Query((photo,)) for photo in photos]), ("a key", keys)):
            for query in queries:
                began = time.perf_counter()
                answer = collection.rank(query, plain)
                ranked = time.perf_counter()
                assessment = assess(answer, plain, model)
                assessed = time.perf_counter()
                hits(answer.ranking, gallery, plain, assessment)
                done = time.perf_counter()
                seconds.setdefault(f"search by {kind}", []).append(done - began - (assessed - ranked))
                seconds.setdefault(f"its confidence, {kind}", []).append(assessed - ranked)
        seconds.setdefault("verification", []).extend(_verified(collection.rank(query, verify)) for query in keys)
    return [["", "median ms", "90 %"]] + [
        [name, f"{1000 * statistics.median(values):.2f}", f"{1000 * statistics.quantiles(values, n=10)[-1]:.2f}"]
        for name, values in seconds.items()
    ]


def _verified(answer: hybrid.Answer) -> float:
    """Seconds of the verification of the nearest ten, whether the scores leave doubt or not."""
    assert answer.resolved is not None
    began = time.perf_counter()
    inliers(answer.resolved.probe, answer.ranking.ids, answer.space.gallery)
    return time.perf_counter() - began


def main() -> None:
    """Measure every encoder, print its tables, and write the rows where that is requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--distractors", type=Path, action="append", default=[])
    parser.add_argument("--encoder", action="append")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--time", type=Path, nargs="+", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    benchmark, rows = benchmark_of(arguments.root, arguments.distractors), dict(measured.confidence_rows())
    for name in arguments.encoder or ENCODERS:
        samples = answered(benchmark, name, arguments.cache)
        figures = calibrate(samples)
        print(f"## {name}\n\n{calibration_text(figures, markdown_table)}\n")
        model = fit_model(samples)
        if arguments.time:
            with embed_gallery(benchmark, load_encoder(name), arguments.cache).collection as collection:
                print(markdown_table(costs(collection, model, arguments.time, arguments.rounds)), end="\n\n")
        subjects = {sample.query.group for sample in samples if not sample.query.is_ordinary}
        source = f"{len(subjects)} landmarks of {arguments.root.name}"
        source += f", with {', '.join(folder.name for folder in arguments.distractors)}" * bool(arguments.distractors)
        rows[name] = row(name, model, figures, source)
    if arguments.write:
        measured.FILE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
