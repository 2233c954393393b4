"""ILIAS (Kordopatis-Zilos et al., CVPR 2025), a folder for each object with `query` and `pos`, to a benchmark."""

from pathlib import Path, PurePosixPath

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth

CORE = "ilias_core"
QUERY, POSITIVE = "query", "pos"


def ilias(root: Path) -> Benchmark:
    """`root/ilias_core/<object>/query/*.jpg` and `…/pos/*.jpg`, or these in `root`; whole photos, as its authors ask.

    Keys are its own image ids, such as `bold_bimp_000/pos/P000_00.jpg`. No query is in the gallery.
    """
    folder = root / CORE if (root / CORE).is_dir() else root
    queries: list[str] = []
    positives: dict[str, set[str]] = {}
    for key in Names(folder).keys:
        name, kind = PurePosixPath(key).parts[0], PurePosixPath(key).parent.name
        if kind == QUERY:
            queries.append(key)
        elif kind == POSITIVE:
            positives.setdefault(name, set()).add(key)
    if not queries:
        raise EvaluationError(f"{folder}: no <object>/{QUERY}/ with images; unpack ilias_core.tar there")
    hidden = frozenset(queries)
    return Benchmark(
        "ilias",
        folder,
        tuple(BenchmarkQuery(key, folder / key, None, {"all": _truth(key, positives)}, hidden) for key in queries),
        "ilias",
    )


def _truth(query: str, positives: dict[str, set[str]]) -> Truth:
    return Truth(frozenset(positives.get(PurePosixPath(query).parts[0], ())))
