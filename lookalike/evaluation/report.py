"""The results of an evaluation: figures, JSON, and tables for a terminal and for Markdown."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lookalike.evaluation.acceptance import Check, checks, verdict
from lookalike.evaluation.micro import PRECISION, MicroFigures
from lookalike.evaluation.protocols import PROTOCOLS, RULES
from lookalike.evaluation.provenance import Provenance
from lookalike.types import Box
from lookalike.utils.text import counted

FORMAT = 1
"""Version of the JSON document, which `compare` checks."""
LABELS = {
    "map": "mAP@k",
    "precision": "P@k",
    "recall": "recall@k",
    "hit_rate": "hit rate@k",
    "ndcg": "nDCG@k",
    "revisited_precision": "mP@k",
}
WHOLE = ("mAP", "µAP", f"recall at precision {PRECISION:g}")
"""Figures that are of no k."""
Verdict = Literal["positive", "negative", "junk"]
At = Mapping[str, Mapping[int, float]]
"""Figure to k to value."""


@dataclass(frozen=True)
class JudgedResult:
    """One result: `rank` counts from 1 with junk in the list; `path` is its file."""

    rank: int
    key: str
    path: Path | None
    score: float
    verdict: Verdict


@dataclass(frozen=True)
class Scored:
    """One query in one setup; `ranks` of the positives count from 1 without junk. NaN without positives."""

    ap: float
    at: At
    positives: int
    junk: int
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class QueryResult:
    """One query: its picture (with its key or file name), its figures in each setup, and its first results."""

    name: str
    key: str
    image: Path
    box: Box | None
    setups: Mapping[str, Scored]
    results: tuple[JudgedResult, ...]


@dataclass(frozen=True)
class Figures:
    """Means over the `queries` that have positives in a setup."""

    map: float
    at: At
    queries: int


@dataclass(frozen=True)
class GalleryFacts:
    """The gallery: `images` that the queries search, `distractors` of them from other folders."""

    images: int
    distractors: int
    skipped: tuple[tuple[str, str], ...] = ()
    digest: str = ""
    """A SHA-256 of the images, see `provenance`."""


@dataclass(frozen=True)
class Cost:
    """Costs of a run: seconds to bring the gallery up to date, and to search it for all queries.

    `embedded` counts the gallery images that were not embedded before; `bytes_a_vector` is the size of a float32 row.
    """

    index_s: float
    search_s: float
    embedded: int
    bytes_a_vector: int


@dataclass(frozen=True)
class Bin:
    """Answers whose first result has a confidence from `low` to `high`: their mean confidence, and the share right."""

    low: float
    high: float
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How far the confidences of `model` can be believed, where pixels are compared in doubt (`verify`), or not.

    `false_found` is the share of queries without positives that are answered with `found`. `kept` is the share of right
    first results with a confidence above 0.5, and `kept_at_two_percent` the share above the confidence that 2 % of the
    queries without positives exceed. `error` is the expected calibration error of first results, of both kinds of
    queries together, and `error_of_hits` that of the first ten. `ordinary_found` is the share of `ordinary` distractors
    that are answered with `found` where they are queries, NaN where there are none.
    """

    model: str
    verify: bool
    present: int
    removed: int
    first_right: float
    false_found: float
    kept: float
    kept_at_two_percent: float
    error: float
    error_of_hits: float
    diagram: tuple[Bin, ...]
    ordinary: int = 0
    ordinary_found: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        diagram = [vars(row) for row in self.diagram]
        return {**vars(self), "ordinary_found": _number(self.ordinary_found), "diagram": diagram}


@dataclass(frozen=True)
class Report:
    """An evaluation: `setups` has one entry, or easy, medium and hard."""

    dataset: str
    protocol: str
    encoder: str
    fingerprint: str
    uncropped: bool
    rerank: tuple[str, ...]
    ks: tuple[int, ...]
    gallery: GalleryFacts
    setups: Mapping[str, Figures]
    queries: tuple[QueryResult, ...]
    cost: Cost
    notes: tuple[str, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    leave_one_out: bool = False
    of_run: bool = False
    """Of a run that was made elsewhere: there are names, but no images."""
    made: Provenance | None = None
    micro: MicroFigures | None = None

    def __repr__(self) -> str:
        return f"Report({self.heading()!r}, mAP {decimal(self.map)})"

    def _repr_html_(self) -> str:
        from lookalike.images.html import fragment, safe, table

        notes = "".join(f"<p>{safe(remark)}</p>" for remark in self.remarks())
        return fragment(self.heading(), table(self.rows()) + notes)

    @property
    def map(self) -> float:
        """mAP, of Medium where there are three setups."""
        return self.setups.get("medium", next(iter(self.setups.values()))).map

    def to_json(self) -> dict[str, Any]:
        """One JSON document; a figure is a number with one setup, and a number for each with three."""
        protocol = PROTOCOLS[self.protocol]
        document: dict[str, Any] = {
            "format": FORMAT,
            "dataset": self.dataset,
            "protocol": self.protocol,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "uncropped": self.uncropped,
            "leave_one_out": self.leave_one_out,
            "rerank": list(self.rerank),
            "k": list(self.ks),
            "setups": list(self.setups),
            "average_precision": RULES[protocol.rule],
            "denominators": {f"{name}_at": protocol.divided_by(name) for name in protocol.at},
            "map": _by_setup({setup: _number(figures.map) for setup, figures in self.setups.items()}),
        }
        for name in protocol.at:
            document[f"{name}_at"] = _by_setup({setup: _at(figures.at[name]) for setup, figures in self.setups.items()})
        if self.micro:
            document["micro"] = {name: _number(value) for name, value in vars(self.micro).items()}
        document["scored_queries"] = _by_setup({setup: figures.queries for setup, figures in self.setups.items()})
        document["gallery"] = {
            "images": self.gallery.images,
            "distractors": self.gallery.distractors,
            "skipped": [{"key": key, "reason": reason} for key, reason in self.gallery.skipped],
        }
        document["cost"] = vars(self.cost)
        document["notes"] = list(self.notes)
        if self.calibrations:
            document["calibration"] = [calibration.to_json() for calibration in self.calibrations]
        document["made"] = self.made.to_json() if self.made else None
        document["checks"] = [check.to_json() for check in self.checks]
        document["queries"] = [self._query(query) for query in self.queries]
        return document

    def _query(self, query: QueryResult) -> dict[str, Any]:
        row: dict[str, Any] = {"name": query.name, "image": query.key, "box": _corners(query.box)}
        row["ap"] = _by_setup({setup: _number(scored.ap) for setup, scored in query.setups.items()})
        for name in PROTOCOLS[self.protocol].at:
            row[f"{name}_at"] = _by_setup({setup: _at(scored.at[name]) for setup, scored in query.setups.items()})
        for name in ("positives", "junk", "ranks"):
            row[name] = _by_setup({setup: getattr(scored, name) for setup, scored in query.setups.items()})
        row["results"] = [
            {"rank": result.rank, "key": result.key, "score": round(result.score, 6), "verdict": result.verdict}
            for result in query.results
        ]
        return row

    @property
    def checks(self) -> tuple[Check, ...]:
        """How the mAP compares with what others measure; only where the run is one that they have made."""
        if self.protocol != "revisited" or self.rerank or not self.uncropped:
            return ()
        maps = {setup: figures.map for setup, figures in self.setups.items()}
        return checks(self.dataset, self.encoder, self.gallery.images, maps)

    def remarks(self) -> tuple[str, ...]:
        """The notes and the verdict of the checks, a line each."""
        return (*(f"note: {note}" for note in self.notes), *verdict(self.checks))

    def heading(self) -> str:
        """Data set, protocol, encoder, re-ranking and sizes in one line."""
        parts = [self.dataset, *self._protocol(), self.encoder, *self.rerank]
        if not self.of_run:
            parts.append(shown_as((query.box for query in self.queries), self.uncropped))
        searched = counted(self.gallery.images, "image")
        if self.gallery.distractors:
            searched += f" ({self.gallery.distractors:,} of them distractors)"
        return " · ".join([*parts, counted(len(self.queries), "query", "queries"), searched])

    def _protocol(self) -> list[str]:
        """The name of the protocol; leave-one-out by the rules of the original one needs no other."""
        name = [] if self.leave_one_out and self.protocol == "original" else [f"protocol {self.protocol}"]
        return ["leave-one-out"] * self.leave_one_out + name

    def rows(self) -> list[list[str]]:
        """The table: a heading row, then mAP and each figure at k with its denominator."""
        protocol = PROTOCOLS[self.protocol]
        head = ["figure" if len(self.setups) == 1 else "setup · figure", *(f"k={k}" for k in self.ks), "divided by"]
        rows = [head, *(_micro_rows(self.micro, len(self.ks)) if self.micro else ())]
        for setup, figures in self.setups.items():
            prefix = "" if len(self.setups) == 1 else f"{setup} · "
            blank = [""] * (len(self.ks) - 1)
            rows.append([f"{prefix}mAP", decimal(figures.map), *blank, RULES[protocol.rule]])
            for name in protocol.at:
                values = [decimal(figures.at[name][k]) for k in self.ks]
                rows.append([f"{prefix}{LABELS[name]}", *values, protocol.divided_by(name)])
        return rows

    def text(self) -> str:
        """The heading, the table and the notes, for a terminal."""
        measured = ["", calibration_text(self.calibrations, aligned)] if self.calibrations else []
        head, *rows = self.rows()
        # What is one figure of the whole list is no figure at the first k.
        whole = [[row[0], row[1], row[-1]] for row in rows if row[0].split(" · ")[-1] in WHOLE]
        cut = [row for row in rows if row[0].split(" · ")[-1] not in WHOLE]
        tables = [aligned(whole), *(["", aligned([head, *cut])] if cut else [])]
        return "\n".join([self.heading(), "", *tables, *self.remarks(), *measured])

    def markdown(self) -> str:
        """The same as Markdown, with a row for each query, the worst first."""
        lines = [f"# {self.heading()}", "", markdown_table(self.rows()), ""]
        lines += [f"- {line}" for line in (*self.notes, *verdict(self.checks))]
        lines += [""] * (len(lines) > 4)
        lines += [calibration_text(self.calibrations, markdown_table), ""] if self.calibrations else []
        setups = list(self.setups)
        queries = [["query", *(f"AP {setup}" if len(setups) > 1 else "AP" for setup in setups)]]
        for query in self.worst_first():
            queries.append([query.name, *(decimal(query.setups[setup].ap) for setup in setups)])
        return "\n".join([*lines, markdown_table(queries), ""])

    def worst_first(self) -> list[QueryResult]:
        """Queries by AP (of Medium where there are setups), those without positives last."""
        setup = "medium" if "medium" in self.setups else next(iter(self.setups))
        return sorted(self.queries, key=lambda query: _last_if_nan(query.setups[setup].ap))


def calibration_text(calibrations: Sequence[Calibration], table: Callable[[list[list[str]]], str]) -> str:
    """The figures of each calibration, and its reliability diagram as a table."""
    rows = [
        [
            "confidence",
            "pixels",
            "false found",
            "kept",
            "kept at 2 % false",
            "ECE",
            "ECE of ten",
            "ordinary found",
            "P@1",
        ]
    ]
    diagrams = []
    for each in calibrations:
        figures = (
            each.false_found,
            each.kept,
            each.kept_at_two_percent,
            each.error,
            each.error_of_hits,
            each.ordinary_found,
        )
        pixels = "compared in doubt" if each.verify else "not compared"
        rows.append([each.model, pixels, *map(decimal, figures), decimal(each.first_right)])
        diagram = [["confidence", "answers", "mean", "right"]]
        for row in each.diagram:
            means = map(decimal, (row.confidence, row.right))
            diagram.append([f"{row.low:.1f} to {row.high:.1f}", str(row.answers), *means])
        diagrams += [f"{each.model}, pixels {pixels}:", table(diagram)]
    first = calibrations[0]
    heading = (
        f"calibration: {counted(first.present, 'query', 'queries')} with their positives, and {first.removed} without"
    )
    heading += f"; {counted(first.ordinary, 'distractor')} as queries" if first.ordinary else ""
    return "\n\n".join([heading, table(rows), *diagrams])


def shown_as(boxes: Iterable[Box | None], uncropped: bool) -> str:
    """What the queries are, in two words; without any box they can only be whole."""
    if not any(boxes):
        return "whole photos"
    return "uncropped queries" if uncropped else "cropped queries"


def decimal(value: float) -> str:
    """Four decimal places without the leading zero: .8473."""
    return "–" if math.isnan(value) else f"{value:.4f}".replace("0.", ".", 1) if value < 1 else f"{value:.4f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns of text: the first and the last left, the others right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    last = len(widths) - 1
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at in (0, last) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heading, as a Markdown table."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [escaped[0], rule, *escaped[1:]])


def _micro_rows(micro: MicroFigures, columns: int) -> list[list[str]]:
    blank = [""] * (columns - 1)
    pairs = f"{counted(micro.positives, 'right pair')}; the best {micro.pairs:,} of all queries by one threshold"
    return [
        ["µAP", decimal(micro.average_precision), *blank, pairs],
        [f"recall at precision {PRECISION:g}", decimal(micro.recall_at_p90), *blank, pairs],
    ]


def _by_setup(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else dict(values)


def _at(values: Mapping[int, float]) -> dict[str, float | None]:
    return {str(k): _number(value) for k, value in values.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _corners(box: Box | None) -> list[float] | None:
    return None if box is None else [box.left, box.top, box.right, box.bottom]


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value
