"""What `lookalike adapt` gains on things that it has not learned from.

    python benchmarks/adapt.py COLLECTION --labels FILE [--held-out FOLDER ...]

Three kinds of rows, none of which is measured on what was trained on. "held out in turn": what `adapt` itself reports,
its method chosen on the other groups. "two groups in turn": every pair of groups, so that the two are wrong results for
each other beside the unlabelled images; the method is chosen on the others. Each FOLDER (`images/` and `groundtruth/`,
as of Oxford5k) is measured by the original protocol with the map that was learned on all labels; it must show others.
"""

import argparse
import itertools
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from lookalike.analysis.adapt import distractors, learn, mean
from lookalike.analysis.cross_validation import (
    Change,
    Figures,
    Split,
    choose,
    cluster_interval,
    figures,
    queries_of,
)
from lookalike.analysis.labels import Labels, from_table
from lookalike.encoders import load_encoder
from lookalike.encoders.adaptation import Coordinates, Method, coordinates
from lookalike.encoders.whitened import whitened
from lookalike.encoders.whitening import Whitening
from lookalike.evaluation import evaluate
from lookalike.evaluation.compare import paired_interval
from lookalike.storage.store import Store

HEAD = ["trained on", "held out", "queries", "mAP", "with the map", "95 % interval", "P@1", "with the map", "method"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    with closing(Store(args.collection)) as store:
        labels, random = from_table(store, args.labels), np.random.default_rng(0)
        others = distractors(store, labels, random)
        data = coordinates(store.vectors.rows(labels.rows), others, mean(store, random))
        finding, learned = learn(store, labels)
        encoder = store.header.encoder
    gain = finding.gain
    print(f"{encoder}: {len(labels.rows)} labelled images of {labels.pairs} groups, {len(others):,} unlabelled\n")
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    if gain:
        print(row("the other groups", "held out in turn", gain.queries, gain.map, gain.first, str(gain.method)))
    with threadpool_limits(1, "blas"):
        print(row("the other groups", "two groups in turn", *two_held_out(data, labels), "chosen each time"))
    for folder in args.held_out if learned else ():
        print(row("all groups", folder.name, *measured(folder, encoder, learned), str(gain.method if gain else "")))


def row(trained: str, held_out: str, queries: int, change: Change, first: Change, method: str) -> str:
    interval = f"{change.low:+.3f} … {change.high:+.3f}"
    means = [f"{value:.3f}" for value in (change.before, change.after, first.before, first.after)]
    return f"| {' | '.join([trained, held_out, str(queries), *means[:2], interval, *means[2:], method])} |"


def two_held_out(data: Coordinates, labels: Labels) -> tuple[int, Change, Change]:
    """Every pair of groups once, learned on the rest: each query counts once for every other group."""
    groups, random = labels.groups, np.random.default_rng(0)
    before, after, clusters = list[Figures](), list[Figures](), list[np.ndarray]()
    for pair in itertools.combinations(np.unique(groups), 2):
        is_held = np.isin(groups, pair)
        split = Split(~is_held, is_held, queries_of(groups, np.array(pair), random))
        before.append(figures(data, groups, split, Method()))
        after.append(figures(data, groups, split, choose(data, groups, ~is_held, random)))
        clusters.append(groups[split.queries])
    changes = []
    for name in ("ap", "first"):
        a, b = (np.concatenate([getattr(part, name) for part in parts]) for parts in (before, after))
        interval = cluster_interval(b - a, np.concatenate(clusters))
        changes.append(Change(float(a.mean()), float(b.mean()), *interval))
    return len(np.concatenate(clusters)), changes[0], changes[1]


def measured(folder: Path, name: str, learned: Whitening | None) -> tuple[int, Change, Change]:
    """A benchmark in the VGG layout with an encoder, and with the same encoder and the map."""
    plain = load_encoder(name)
    assert learned is not None
    with tempfile.TemporaryDirectory() as cache:
        reports = [
            evaluate("vgg", folder, encoder, "original", (1,), cache=Path(cache)).to_json()
            for encoder in (plain, whitened(plain, learned, "adapted"))
        ]
    changes = []
    for figure in ("ap", "precision_at"):
        a, b = (np.array([_plain(query[figure]) for query in report["queries"]], np.float64) for report in reports)
        changes.append(Change(float(a.mean()), float(b.mean()), *paired_interval(b - a)))
    return len(reports[0]["queries"]), changes[0], changes[1]


def _plain(figure: float | dict[str, float]) -> float:
    """A figure, or the one at 1."""
    return figure["1"] if isinstance(figure, dict) else figure


if __name__ == "__main__":
    main()
