"""A folder of classes to a leave-one-out benchmark: every image is a query for the others of its class."""

from pathlib import Path

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth, abridged


def folders(root: Path) -> Benchmark:
    """`root/<class>/…/<image>`; an image directly in `root` is a distractor."""
    classes: dict[str, set[str]] = {}
    loose = []
    for key in Names(root).keys:
        folder, slash, _ = key.partition("/")
        if slash:
            classes.setdefault(folder, set()).add(key)
        else:
            loose.append(key)
    if not classes:
        raise EvaluationError(f"{root}: no folder with images; put each class in a folder of its own")
    queries = tuple(
        BenchmarkQuery(key, root / key, None, {"all": Truth(frozenset(keys - {key}))}, frozenset({key}))
        for keys in classes.values()
        for key in sorted(keys)
    )
    notes = (f"in no class, so never right: {abridged(loose)}",) if loose else ()
    return Benchmark("folders", root, queries, notes=notes, leave_one_out=True)
