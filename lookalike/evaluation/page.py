"""Queries and their ranked results to one HTML file with its pictures in it: no script and no request."""

import base64
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from lookalike.errors import ImageError
from lookalike.evaluation.acceptance import verdict
from lookalike.evaluation.metrics import Judged, average_precision_at, mean, precision_at
from lookalike.evaluation.plots import bar_chart, line_chart
from lookalike.evaluation.protocols import PROTOCOLS
from lookalike.evaluation.report import Report, decimal
from lookalike.images import decode as images
from lookalike.types import Box

SHOWN = 12
"""How many results of a query a page shows."""
MOST_QUERIES = 100
"""Worst queries shown: thousands of them would make a page that no browser scrolls."""
THUMBNAIL = 128

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--fore:#1c1e21;--soft:#5c636b;--line:#d6dade;--good:#14823c;--bad:#c62f2f;
--junk:#7d858d;--a:#1660c4;--b:#b4540a;--c:#6a3fb5;--d:#0a7a74}
@media (prefers-color-scheme:dark){:root{--back:#15171a;--fore:#e8eaed;--soft:#9aa2ab;--line:#353a40;--good:#46c46e;
--bad:#ff6b62;--junk:#8a929a;--a:#6aa8ff;--b:#ff9d57;--c:#b79bff;--d:#4fd0c7}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:1240px;background:var(--back);color:var(--fore);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}h2{font-size:1.15rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0 0 .5rem}p,li{color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}
.plots{display:flex;flex-wrap:wrap;gap:1rem}svg{max-width:100%;height:auto}svg text{font-size:12px;fill:var(--fore)}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2}.bar{fill:var(--a)}
.line.s0{stroke:var(--a)}.line.s1{stroke:var(--b)}.line.s2{stroke:var(--c)}.line.s3{stroke:var(--d)}
.dot.s0{fill:var(--a)}.dot.s1{fill:var(--b)}.dot.s2{fill:var(--c)}.dot.s3{fill:var(--d)}
section{border-top:1px solid var(--line);padding:1rem 0}
.row{display:flex;flex-wrap:wrap;gap:.6rem;align-items:flex-start}
figure{margin:0;width:136px}figure img,.none{display:block;width:136px;height:136px;object-fit:contain;
border:4px solid transparent;background:color-mix(in srgb,var(--line) 35%,transparent)}
.none{font-size:.75rem;color:var(--soft);padding:.5rem;overflow:hidden}
.query img{border:4px double var(--fore)}.positive>:first-child{border:4px solid var(--good)}
.negative>:first-child{border:4px dashed var(--bad)}.junk>:first-child{border:4px dotted var(--junk)}
figcaption{font-size:.75rem;line-height:1.3;color:var(--soft);overflow-wrap:anywhere}
figcaption b{color:var(--fore);font-variant-numeric:tabular-nums}
"""
_FRAMES = "<p>Frames: solid green is right, dashed red is wrong, dotted grey is junk, which is neither.</p>"
_MARKS = {"positive": "✓ right", "negative": "✗ wrong", "junk": "– junk, not counted"}


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
    picture = cache(_picture)
    body = "".join(_section(section, picture) for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{_safe(title)}</title><style>{_STYLE}</style></head><body><main>'
        f"<h1>{_safe(title)}</h1><p>{_safe(lead)}</p>{''.join(parts)}{body}</main></body></html>\n"
    )


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
    notes = "".join(f"<li>{_safe(note)}</li>" for note in (*report.notes, *verdict(report.checks)))
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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heading, as an HTML table."""
    head = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


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


def _section(section: Section, picture: Callable[[Path | None, Box | None], str]) -> str:
    query = f'<figure class="query">{_figure(section.query, picture)}</figure>'
    results = "".join(
        f'<figure class="{escape(result.verdict or "plain")}">{_figure(result, picture)}</figure>'
        for result in section.results
    )
    return f'<section><h3>{_safe(section.heading)}</h3><div class="row">{query}{results}</div></section>'


def _figure(content: PagePicture, picture: Callable[[Path | None, Box | None], str]) -> str:
    source = picture(content.image, content.box)
    alt = " ".join(filter(None, [content.name, _MARKS.get(content.verdict or "", "")]))
    if source.startswith("data:"):
        tag = f'<img alt="{_safe(alt)}" src="{source}" title="{_safe(alt)}">'
    else:
        tag = f'<div class="none">no picture: {_safe(source)}</div>'
    mark = _MARKS.get(content.verdict or "", "")[:1]
    return f"{tag}<figcaption><b>{_safe(f'{content.note} {mark}'.strip())}</b><br>{_safe(content.name)}</figcaption>"


def _picture(path: Path | None, box: Box | None) -> str:
    """A data: URI of a thumbnail, or the reason why there is none."""
    if path is None:
        return "inside an archive"
    try:
        image = images.load(path, size=THUMBNAIL, box=box).image
    except ImageError as error:
        return str(error)
    data = images.to_jpeg(images.thumbnail(image, THUMBNAIL), quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _safe(text: str) -> str:
    """Escaped, and without the bytes of file names that are not UTF-8."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
