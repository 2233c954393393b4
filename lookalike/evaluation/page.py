"""Queries and their ranked results to one HTML file with its pictures in it: no script and no request."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from PIL.Image import Image

from lookalike.errors import ImageError
from lookalike.evaluation.acceptance import verdict
from lookalike.evaluation.metrics import Judged, average_precision_at, mean, precision_at
from lookalike.evaluation.plots import bar_chart, line_chart
from lookalike.evaluation.protocols import PROTOCOLS
from lookalike.evaluation.report import Report, decimal
from lookalike.images import decode as images
from lookalike.images import html
from lookalike.images.cards import Card
from lookalike.images.html import document, safe, table
from lookalike.types import Box

SHOWN = 12
"""How many results of a query a page shows."""
MOST_QUERIES = 100
"""Worst queries shown: thousands of them would make a page that no browser scrolls."""
REMEMBERED = 500
"""Thumbnails that are in memory for a page, on which the same picture is often a result."""

_FRAMES = "<p>Frames: solid green is right, dashed red is wrong, dotted grey is junk, which is neither.</p>"


@dataclass(frozen=True)
class PagePicture:
    """A picture: its file (None: no file to show), its region, and the text under it.

    `verdict` is positive, negative or junk where there is ground truth; it gives the frame.
    """

    image: Path | None
    name: str
    note: str = ""
    box: Box | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Section:
    """A query and its results, best first."""

    heading: str
    query: PagePicture
    results: Sequence[PagePicture]


def page(title: str, lead: str, sections: Iterable[Section], parts: Sequence[str] = ()) -> str:
    """One HTML document: a heading, a line under it, `parts` of HTML, then a row of pictures for each query."""
    picture = lru_cache(REMEMBERED)(_picture)
    return document(title, lead, "".join(parts) + "".join(_section(section, picture) for section in sections))


def save_report(report: Report, folder: str | Path) -> list[Path]:
    """Write report.json, report.md and report.html into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.json": json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n",
        "report.md": report.markdown(),
        "report.html": report_page(report),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8", errors="surrogateescape")
    return [folder / name for name in texts]


def report_page(report: Report) -> str:
    """The table, the plots, and the queries with their crops and framed results, the worst first."""
    setup = "medium" if "medium" in report.setups else next(iter(report.setups))
    worst = [query for query in report.worst_first() if query.setups[setup].positives][:MOST_QUERIES]
    bars = [(query.name, query.setups[setup].ap) for query in worst if not math.isnan(query.setups[setup].ap)]
    plots = "".join(
        line_chart(f"mAP@k and P@k over k, {name}", _curves(report, name), report.ks) for name in report.setups
    )
    notes = "".join(f"<li>{safe(note)}</li>" for note in (*report.notes, *verdict(report.checks)))
    extent = f", the worst {len(worst)} of {len(report.queries)}" if len(worst) < len(report.queries) else ""
    parts = [
        table(report.rows()),
        f"<ul>{notes}</ul>" if notes else "",
        f'<h2>mAP@k and P@k over k</h2><div class="plots">{plots}</div>' if report.ks else "",
        f"<h2>Average precision of each query{extent}</h2>{bar_chart('AP of each query', bars)}" if bars else "",
        "" if report.of_run else f"<h2>Queries, worst first{extent}</h2>{_FRAMES}",
    ]
    sections = (
        Section(
            f"{query.name} · AP {decimal(query.setups[setup].ap)} · {query.setups[setup].positives} to find",
            PagePicture(query.image, query.key, "the query", None if report.uncropped else query.box),
            [
                PagePicture(result.path, result.key, f"{result.rank} · {result.score:.3f}", None, result.verdict)
                for result in query.results[:SHOWN]
            ],
        )
        for query in ([] if report.of_run else worst)
    )
    return page(f"{report.encoder} on {report.dataset}", report.heading(), sections, parts)


def _curves(report: Report, setup: str) -> dict[str, list[tuple[int, float]]]:
    """Both figures for every k up to the largest that was scored; for a replay, its own figures at the scored ks."""
    if PROTOCOLS[report.protocol].retrieved:
        at = report.setups[setup].at
        return {label: [(k, at[name][k]) for k in sorted(report.ks)] for name, label in _CURVES.items()}
    import numpy as np

    last = max(report.ks, default=0)
    judged = [
        Judged(np.array(scored.ranks, np.int64) - 1, last, scored.positives)
        for query in report.queries
        if (scored := query.setups[setup]).positives
    ]
    figures = {"map": average_precision_at, "precision": precision_at}
    return {
        label: [(k, mean(figures[name](query, k) for query in judged)) for k in range(1, last + 1)]
        for name, label in _CURVES.items()
    }


_CURVES = {"map": "mAP@k", "precision": "P@k"}


def _section(section: Section, picture: Callable[[Path | None, Box | None, int], Image]) -> str:
    cards = [(section.query, "query"), *((result, result.verdict or "plain") for result in section.results)]
    return html.section(section.heading, (_card(content, kind, picture) for content, kind in cards))


def _card(content: PagePicture, kind: str, picture: Callable[[Path | None, Box | None, int], Image]) -> Card:
    return Card(content.name, partial(picture, content.image, content.box), content.note, kind)


def _picture(path: Path | None, box: Box | None, size: int) -> Image:
    if path is None:
        raise ImageError("inside an archive")
    return images.thumbnail(images.load(path, size=size, box=box).image, size)
