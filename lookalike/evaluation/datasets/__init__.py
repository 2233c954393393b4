"""Data sets in their published layouts to benchmarks: a lazy table of names."""

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, check

DATASETS = {
    "oxford5k": "lookalike.evaluation.datasets.oxford:oxford5k",
    "paris6k": "lookalike.evaluation.datasets.oxford:paris6k",
    "roxford5k": "lookalike.evaluation.datasets.revisited:roxford5k",
    "rparis6k": "lookalike.evaluation.datasets.revisited:rparis6k",
    "revisited": "lookalike.evaluation.datasets.revisited:any_revisited",
    "vgg": "lookalike.evaluation.datasets.oxford:vgg",
    "copies": "lookalike.evaluation.datasets.copies:copies",
    "ilias": "lookalike.evaluation.datasets.ilias:ilias",
    "folders": "lookalike.evaluation.datasets.folders:folders",
    "pairs": "lookalike.evaluation.datasets.pairs:pairs",
}
"""Name to a function `(root) -> Benchmark`."""


def load(name: str, root: str | Path, distractors: Iterable[str | Path] = ()) -> Benchmark:
    """The benchmark `name` under `root`, with the images of other folders beside its own; raises EvaluationError."""
    if name not in DATASETS:
        raise EvaluationError(f"no dataset {name!r}; there are {', '.join(DATASETS)}")
    root = Path(root).expanduser()
    if not root.exists():
        raise EvaluationError(f"{root}: no such folder; put {name} there, or fetch it with --download where it can be")
    module, function = DATASETS[name].split(":")
    benchmark: Benchmark = getattr(import_module(module), function)(root)
    folders = tuple(Path(folder).expanduser() for folder in distractors)
    for folder in folders:
        if not folder.exists():
            raise EvaluationError(f"{folder}: no such folder of distractors")
    return replace(check(benchmark), distractors=folders)
