"""Numbers to inline SVG, so that a report needs no plotting library and no script."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 14, 40
DASHES = ("", "6 4", "2 3", "8 3 2 3")


def line_chart(title: str, series: Mapping[str, Sequence[tuple[int, float]]], ticks: Sequence[int]) -> str:
    """Lines of (k, value), with values from 0 to 1; `ticks` are the ks labelled on the axis."""
    last = max([k for points in series.values() for k, _ in points], default=1)
    first = min([k for points in series.values() for k, _ in points], default=0)

    def x(k: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((k - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value)

    parts = [_open(title, WIDTH, HEIGHT)]
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    parts += [_text(x(k), HEIGHT - BOTTOM + 16, str(k), "middle") for k in ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "k", "middle"))
    for at, (name, points) in enumerate(series.items()):
        style = f'class="line s{at % 4}" stroke-dasharray="{DASHES[at % 4]}"'
        path = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in points)
        parts.append(f'<polyline {style} points="{path}"/>')
        parts += [_dot(at, x(k), y(value), f"{name}, k = {k}: {value:.4f}") for k, value in points if k in ticks]
        legend = LEFT + 12 + at * 110
        parts.append(
            f'<line {style} x1="{legend}" x2="{legend + 26}" y1="{y(0) - 12:.1f}" y2="{y(0) - 12:.1f}"/>'
            + _text(legend + 32, y(0) - 8, name, "start")
        )
    return "".join([*parts, "</svg>"])


def bar_chart(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars of values from 0 to 1, with names at the left and numbers at the end."""
    row, names, width = 18, 190, 620
    height = row * len(bars) + 8
    parts = [_open(title, width, height)]
    for at, (name, value) in enumerate(bars):
        top = 4 + at * row
        length = (width - names - 60) * min(1.0, max(0.0, value))
        label = name if len(name) <= 28 else f"…{name[-27:]}"
        parts.append(_text(names - 8, top + 12, label, "end"))
        parts.append(f'<rect class="bar" x="{names}" y="{top + 2}" width="{max(length, 1):.1f}" height="{row - 5}"/>')
        parts.append(_text(names + length + 6, top + 12, f"{value:.3f}", "start"))
    return "".join([*parts, "</svg>"])


def _open(title: str, width: int, height: int) -> str:
    return f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}"><title>{escape(title)}</title>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(at: int, x: float, y: float, title: str) -> str:
    return f'<circle class="dot s{at % 4}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(title)}</title></circle>'
