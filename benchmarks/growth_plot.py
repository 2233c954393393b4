"""Numbers to an SVG file with two logarithmic axes, drawn here so that no plotting library is needed."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 620, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 32, 44
COLOURS = ("#1f5fa8", "#b5482a", "#2f7d4f", "#7a4fa3", "#8a6d1d", "#4d5560")
DASHES = ("", "6 4", "2 3", "8 3 2 3", "12 3", "4 2")
STYLE = (
    "svg { background: #fff } text { font: 12px sans-serif; fill: #333 } "
    ".grid { stroke: #ddd } .line { fill: none; stroke-width: 2 }"
)
Points = Sequence[tuple[float, float]]


def log_log(title: str, across: str, up: str, series: Mapping[str, Points]) -> str:
    """Lines through points (x, y), both above 0; the axes are named and have a line at each power of ten."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [max(y, 1e-9) for points in series.values() for _, y in points]
    x_powers, y_powers = _powers(xs), _powers(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _along(x, x_powers, LEFT, WIDTH - RIGHT),
            _along(max(y, 1e-9), y_powers, HEIGHT - BOTTOM, TOP),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
    ]
    for power in y_powers:
        _, y = at(10.0 ** x_powers[0], 10.0**power)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{10.0**power:g}", "end"))
    for power in x_powers:
        x, _ = at(10.0**power, 10.0 ** y_powers[0])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{10**power:,}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across, "middle"))
    parts.append(_text(8, 16, up, "start"))
    for number, (name, points) in enumerate(series.items()):
        parts += _line(number, name, points, [at(*point) for point in points])
    return "\n".join([*parts, "</svg>\n"])


def _line(number: int, name: str, points: Points, places: Points) -> list[str]:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    style = f'class="line" stroke="{colour}" stroke-dasharray="{dash}"'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(name)}, {point[0]:,}: '
        f"{point[1]:.4g}</title></circle>"
        for (x, y), point in zip(places, points, strict=True)
    ]
    top, left = TOP + 14 + 20 * number, WIDTH - RIGHT + 12
    legend = f'<line {style} x1="{left}" x2="{left + 24}" y1="{top - 4}" y2="{top - 4}"/>'
    return [f'<polyline {style} points="{path}"/>', *dots, legend, _text(left + 30, top, name, "start")]


def _powers(values: Sequence[float]) -> list[int]:
    """The powers of ten that enclose all values."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return list(range(first, max(last, first + 1) + 1))


def _along(value: float, powers: Sequence[int], start: float, end: float) -> float:
    return start + (end - start) * (math.log10(value) - powers[0]) / (powers[-1] - powers[0])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
