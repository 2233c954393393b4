"""Cards to HTML: one stylesheet and one shell for every self-contained page, and for what a notebook shows."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from PIL.Image import Image

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.cards import Card

THUMBNAIL = 128
NOTEBOOK_BYTES = 200_000
"""What a notebook shows of one object is no longer: it is stored in the notebook, each time that a cell is run."""

_COLOURS = """--back:#fff;--fore:#1c1e21;--soft:#5c636b;--line:#d6dade;--good:#14823c;--bad:#c62f2f;
--junk:#7d858d;--a:#1660c4;--b:#b4540a;--c:#6a3fb5;--d:#0a7a74"""
_DARK = """--back:#15171a;--fore:#e8eaed;--soft:#9aa2ab;--line:#353a40;--good:#46c46e;
--bad:#ff6b62;--junk:#8a929a;--a:#6aa8ff;--b:#ff9d57;--c:#b79bff;--d:#4fd0c7"""
_CARDS = {
    ".scroll": "overflow-x:auto",
    "table": "border-collapse:collapse;font-variant-numeric:tabular-nums",
    "th,td": "padding:.25rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap",
    "th:first-child,td:first-child,th:last-child,td:last-child": "text-align:left",
    ".row": "display:flex;flex-wrap:wrap;gap:.6rem;align-items:flex-start",
    "figure": "margin:0;width:136px",
    "figure img,.none": "display:block;width:136px;height:136px;object-fit:contain;border:4px solid transparent;"
    "background:color-mix(in srgb,var(--line) 35%,transparent)",
    ".none": "font-size:.75rem;color:var(--soft);padding:.5rem;overflow:hidden",
    ".query img": "border:4px double var(--fore)",
    ".positive>:first-child": "border:4px solid var(--good)",
    ".negative>:first-child": "border:4px dashed var(--bad)",
    ".keep>:first-child": "border:4px solid var(--good)",
    ".extra>:first-child": "border:4px dashed var(--junk)",
    ".junk>:first-child": "border:4px dotted var(--junk)",
    ".large figure": "width:216px",
    ".large figure img,.large .none": "width:216px;height:170px",
    "figcaption": "font-size:.75rem;line-height:1.3;color:var(--soft);overflow-wrap:anywhere",
    "figcaption b": "color:var(--fore);font-variant-numeric:tabular-nums",
    "figcaption a": "color:inherit",
}
_PAGE = """
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:1240px;background:var(--back);color:var(--fore);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}h2{font-size:1.15rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0 0 .5rem}p,li{color:var(--soft)}
.plots{display:flex;flex-wrap:wrap;gap:1rem}svg{max-width:100%;height:auto}svg text{font-size:12px;fill:var(--fore)}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2}.bar{fill:var(--a)}
.line.s0{stroke:var(--a)}.line.s1{stroke:var(--b)}.line.s2{stroke:var(--c)}.line.s3{stroke:var(--d)}
.dot.s0{fill:var(--a)}.dot.s1{fill:var(--b)}.dot.s2{fill:var(--c)}.dot.s3{fill:var(--d)}
section{border-top:1px solid var(--line);padding:1rem 0}
.whole{max-width:100%;height:auto}
"""
_MARKS = {"positive": "✓ right", "negative": "✗ wrong", "junk": "– junk, not counted"}


def document(title: str, lead: str, body: str) -> str:
    """A page of its own, which runs no script and makes no request; `body` is HTML, the rest is text."""
    style = f":root{{color-scheme:light dark;{_COLOURS}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    style += _PAGE + "".join(f"{selector}{{{rule}}}" for selector, rule in _CARDS.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{safe(title)}</title><style>{style}</style></head><body><main>'
        f"<h1>{safe(title)}</h1><p>{safe(lead)}</p>{body}</main></body></html>\n"
    )


def fragment(lead: str, body: str = "") -> str:
    """A part of a notebook, which changes nothing around it; `body` is HTML."""
    rules = (
        f"{','.join(f'.lookalike {each}' for each in selector.split(','))}{{{rule}}}"
        for selector, rule in _CARDS.items()
    )
    colours = _COLOURS.replace("--fore:#1c1e21", "--fore:currentColor").replace("--soft:#5c636b", "--soft:currentColor")
    style = f".lookalike{{{colours.replace('--line:#d6dade', '--line:#8886')}}}{''.join(rules)}"
    return f'<div class="lookalike"><style>{style}</style><p>{safe(lead)}</p>{body}</div>'


def gallery(lead: str, cards: Sequence[Card], room: int = NOTEBOOK_BYTES) -> str:
    """As `fragment`, of the first cards that there is `room` (bytes) for; the others are counted."""
    shown: list[str] = []
    left = room - len(fragment(lead).encode()) - 500
    for card in cards:
        drawn = figure(card)
        left -= len(drawn.encode())
        if left < 0:
            break
        shown.append(drawn)
    rest = len(cards) - len(shown)
    more = f"<p>and {rest:,} more</p>" if rest else ""
    return fragment(lead, f'<div class="row">{"".join(shown)}</div>{more}')


def section(heading: str, cards: Iterable[Card], size: int = THUMBNAIL) -> str:
    """A heading, and a row of cards."""
    row = "".join(figure(card, size) for card in cards)
    large = " large" if size > THUMBNAIL else ""
    return f'<section><h3>{safe(heading)}</h3><div class="row{large}">{row}</div></section>'


def figure(card: Card, size: int = THUMBNAIL) -> str:
    """A card; without a picture it has the reason."""
    mark = _MARKS.get(card.kind, "")
    alt = safe(" ".join(filter(None, [card.name, mark])))
    try:
        tag = f'<img alt="{alt}" src="{data_address(images.thumbnail(card.picture(size), size))}" title="{alt}">'
    except ImageError as error:
        tag = f'<div class="none">no picture: {safe(str(error))}</div>'
    name = f'<a href="{safe(card.link)}">{safe(card.name)}</a>' if card.link else safe(card.name)
    note = safe(f"{card.note} {mark[:1]}".strip())
    return f'<figure class="{safe(card.kind)}">{tag}<figcaption><b>{note}</b><br>{name}</figcaption></figure>'


def whole(image: Image, alt: str, size: int = 1240) -> str:
    """A picture at the width of the page."""
    return f'<img class="whole" alt="{safe(alt)}" src="{data_address(images.thumbnail(image, size))}">'


def data_address(image: Image) -> str:
    """A picture as a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(images.to_jpeg(image, quality=75)).decode("ascii")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heading."""
    head = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(values: Iterable[tuple[str, str]]) -> str:
    """Names and values, one of each a row."""
    rows = "".join(f'<tr><th scope="row">{safe(name)}</th><td>{safe(value)}</td></tr>' for name, value in values)
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def safe(text: str) -> str:
    """Escaped, and without the bytes of file names that are not UTF-8."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
