"""Two reports of the same queries to their difference, with a bootstrap interval."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EvaluationError
from lookalike.evaluation.report import FORMAT, aligned
from lookalike.utils.files import reason
from lookalike.utils.text import counted

RESAMPLES = 10_000
CHUNK = 500
LEVEL = 95


@dataclass(frozen=True)
class Difference:
    """B minus A in one setup: means, and the `LEVEL` % interval of the mean difference over resampled queries.

    `queries` are (name, AP of A, AP of B), the largest loss of B first.
    """

    setup: str
    a: float
    b: float
    low: float
    high: float
    queries: tuple[tuple[str, float, float], ...]

    @property
    def mean(self) -> float:
        """B minus A."""
        return self.b - self.a

    @property
    def verdict(self) -> str:
        """ "noise" where the interval spans zero, else which report is better."""
        if self.low <= 0 <= self.high:
            return "noise"
        return "B is better" if self.low > 0 else "A is better"


@dataclass(frozen=True)
class Comparison:
    """The names of two reports, and their difference in each setup."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "a": self.a,
            "b": self.b,
            "notes": list(self.notes),
            "setups": [
                {
                    "setup": setup.setup,
                    "map": {"a": setup.a, "b": setup.b},
                    "difference": setup.mean,
                    "interval": {"low": setup.low, "high": setup.high, "level": LEVEL, "resamples": RESAMPLES},
                    "verdict": setup.verdict,
                    "queries": [{"name": name, "a": a, "b": b, "difference": b - a} for name, a, b in setup.queries],
                }
                for setup in self.differences
            ],
        }

    def text(self, shown: int = 10) -> str:
        """The differences, and the `shown` queries of each setup that changed most (0: all)."""
        lines = [f"A  {self.a}", f"B  {self.b}", *(f"note: {note}" for note in self.notes), ""]
        rows = [["setup", "mAP A", "mAP B", "B - A", f"{LEVEL} % interval", "verdict"]]
        for setup in self.differences:
            interval = f"{100 * setup.low:+.2f} … {100 * setup.high:+.2f}"
            means = [f"{100 * setup.a:.2f}", f"{100 * setup.b:.2f}", f"{100 * setup.mean:+.2f}"]
            rows.append([setup.setup, *means, interval, setup.verdict])
        lines.append(aligned(rows))
        for setup in self.differences:
            changed = sorted(setup.queries, key=lambda query: -abs(query[2] - query[1]))
            table = [["query", "AP A", "AP B", "B - A", ""]]
            for name, a, b in sorted(changed[: shown or None], key=lambda query: query[2] - query[1]):
                table.append([name, f"{100 * a:.1f}", f"{100 * b:.1f}", f"{100 * (b - a):+.1f}", ""])
            lines += ["", f"{setup.setup}: the queries that changed most", aligned(table)]
        return "\n".join(lines)


def compare(a: str | Path, b: str | Path, seed: int = 0) -> Comparison:
    """Compare two report.json files query by query; raises EvaluationError where their queries differ."""
    first, second = _read(Path(a)), _read(Path(b))
    for name in ("dataset", "protocol", "setups"):
        if first[name] != second[name]:
            raise EvaluationError(f"{a} is of {name} {first[name]}, {b} of {second[name]}; only like can be compared")
    differences = tuple(_difference(setup, first, second, seed) for setup in first["setups"])
    notes = [
        f"{name} differ: {first[name]} and {second[name]}"
        for name in ("uncropped", "gallery_images")
        if first[name] != second[name]
    ]
    return Comparison(_name(first, a), _name(second, b), differences, tuple(notes))


def paired_interval(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the mean of paired differences (n,): the middle `LEVEL` % over resampled queries."""
    random = np.random.default_rng(seed)
    means = [
        differences[random.integers(0, len(differences), (CHUNK, len(differences)))].mean(axis=1)
        for _ in range(RESAMPLES // CHUNK)
    ]
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def _difference(setup: str, first: Mapping[str, Any], second: Mapping[str, Any], seed: int) -> Difference:
    a, b = first["ap"][setup], second["ap"][setup]
    if set(a) != set(b):
        other = sorted(set(a) ^ set(b))
        count = counted(len(other), "query is", "queries are")
        raise EvaluationError(f"{count} in one report only, such as {other[0]!r}; measure both again")
    names = [name for name in a if a[name] is not None and b[name] is not None]
    if not names:
        raise EvaluationError(f"no query has an average precision in both reports (protocol {first['protocol']})")
    changes = np.array([b[name] - a[name] for name in names], np.float64)
    low, high = paired_interval(changes, seed)
    queries = tuple(sorted(((name, a[name], b[name]) for name in names), key=lambda query: query[2] - query[1]))
    mean_a, mean_b = (float(np.mean([table[name] for name in names])) for table in (a, b))
    return Difference(setup, mean_a, mean_b, low, high, queries)


def _read(path: Path) -> dict[str, Any]:
    """The parts of a report that are compared, with the AP of every query by setup and name."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise EvaluationError(f"{path}: report format {document['format']}, this version reads {FORMAT}")
        setups = document["setups"]
        aps = {
            setup: {
                query["name"]: query["ap"] if len(setups) == 1 else query["ap"][setup] for query in document["queries"]
            }
            for setup in setups
        }
        fields = {name: document[name] for name in ("dataset", "protocol", "setups", "encoder", "rerank", "uncropped")}
        return fields | {"gallery_images": document["gallery"]["images"], "ap": aps}
    except OSError as error:
        raise EvaluationError(f"{path}: {reason(error)}") from error
    except KeyError as error:
        raise EvaluationError(f"{path}: no report of lookalike evaluate --json (it has no {error})") from error
    except (ValueError, TypeError) as error:
        raise EvaluationError(f"{path}: no report of lookalike evaluate --json") from error


def _name(document: Mapping[str, Any], path: str | Path) -> str:
    return " · ".join([document["encoder"], *document["rerank"], f"({path})"])
