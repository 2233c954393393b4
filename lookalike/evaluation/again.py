"""A report.json measured again, and what differs between then and now."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import abridged
from lookalike.evaluation.provenance import EvaluationOptions
from lookalike.evaluation.report import FORMAT, Report
from lookalike.evaluation.run import evaluate
from lookalike.evaluation.trec import evaluate_run
from lookalike.types import Progress
from lookalike.utils.files import reason
from lookalike.utils.text import counted

COMPARED = ("encoder", "fingerprint", "uncropped", "rerank", "k", "scored_queries", "map")
MADE = ("versions", "weights", "data", "seeds", "machine")
OF_A_QUERY = ("ap", "ranks")


@dataclass(frozen=True)
class Change:
    """Something that was `then` and is `now`; "–" for nothing."""

    what: str
    then: str
    now: str


@dataclass(frozen=True)
class Repetition:
    """The new report, and what differs from the old one in its making and in its figures."""

    report: Report
    made: tuple[Change, ...]
    figures: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """The verdict and the differences, with the new report."""
        return {
            "same": not self.figures,
            "made": [vars(change) for change in self.made],
            "figures": [vars(change) for change in self.figures],
            "report": self.report.to_json(),
        }

    def text(self) -> str:
        """The new table, then a line for each difference."""
        lines = [f"{change.what}: {change.then}, now {change.now}" for change in (*self.made, *self.figures)]
        same = f"all figures of {counted(len(self.report.queries), 'query', 'queries')} are the same"
        lines.append("the figures differ" if self.figures else same)
        return "\n".join([self.report.text(), "", *lines])


def again(
    file: str | Path,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen, and empty
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Repetition:
    """Measure a report again; what `options` names (root, encoder, distractors, …) replaces what the report has.

    Raises EvaluationError for a report without its options, or with one that only Python could give.
    """
    document = _read(Path(file))
    stored = _options(Path(file), document)
    given = {option.name: getattr(options, option.name) for option in fields(options) if getattr(options, option.name)}
    report = _measure(Path(file), replace(stored, **given), cache, progress)
    now = json.loads(json.dumps(report.to_json()))
    made = (change for name in MADE for change in _within(name, document["made"].get(name, {}), now["made"][name]))
    return Repetition(report, tuple(made), tuple(_figures(document, now)))


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise EvaluationError(f"{file}: {reason(error)}") from error
    except ValueError as error:
        raise EvaluationError(f"{file}: no report of lookalike evaluate ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EvaluationError(f"{file}: no report.json of format {FORMAT}")
    if not isinstance(document.get("made"), dict):
        raise EvaluationError(f"{file} does not say how it was made; measure it once more to have one that does")
    return document


def _options(file: Path, document: Mapping[str, Any]) -> EvaluationOptions:
    try:
        given = document["made"]["options"]
        lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        return EvaluationOptions(**{**given, **lists})
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file}: options that this version does not have ({error})") from error


def _measure(file: Path, options: EvaluationOptions, cache: Path | None, progress: Progress | None) -> Report:
    if options.dataset == "run":
        return evaluate_run(options.root or "", options.qrels or "", options.junk, options.protocol, options.k)
    if options.dataset is None or None in options.rerank:
        kind = "a data set" if options.dataset is None else "a re-ranker"
        raise EvaluationError(f"{file} was measured with {kind} of a Python program, which a file cannot hold")
    if options.root is None:
        raise EvaluationError(f"{file} does not say where {options.dataset} lies; give --root DIR")
    return evaluate(
        options.dataset,
        options.root,
        options.encoder,
        options.protocol,
        options.k,
        options.uncropped,
        options.distractors,
        [spec for spec in options.rerank if spec],
        cache=cache,
        progress=progress,
        engine=options.engine,
        calibration=options.calibration,
    )


def _within(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*then, *now]):
        if then.get(key) != now.get(key):
            yield Change(f"{name} · {key}" if key else name, *(str(side.get(key, "–")) for side in (then, now)))


def _figures(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    figures = [name for name in now if name.endswith("_at")]
    for name in (*COMPARED, *figures):
        yield from _within(name, *(_mapping(side.get(name)) for side in (then, now)))
    yield from _within("gallery", *({"images": side["gallery"]["images"]} for side in (then, now)))
    tables = [
        {query["name"]: [query[name] for name in OF_A_QUERY] for query in side["queries"]} for side in (then, now)
    ]
    differing = [name for name in dict.fromkeys([*tables[0], *tables[1]]) if tables[0].get(name) != tables[1].get(name)]
    if differing:
        first = differing[0]
        aps = [str(table[first][0]) if first in table else "–" for table in tables]
        yield Change(f"{counted(len(differing), 'query', 'queries')} ({abridged(differing)}), AP of the first", *aps)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {"": value}
