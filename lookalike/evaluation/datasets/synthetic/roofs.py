"""Roofs seen from the front, each with the slope of the planes behind it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lookalike.evaluation.datasets.synthetic.openings import HEADS, Place
from lookalike.evaluation.datasets.synthetic.paint import WALLS, Canvas, Colour, Points, mix, oval, roofing, tint
from lookalike.evaluation.datasets.synthetic.styles import Style

GOLD: Colour = (226, 188, 92)


@dataclass(frozen=True)
class Slope:
    """The roof plane above a side wall: it leans in by `inset` and rises by `rise`, in pixels of the facade."""

    inset: float = 0
    rise: float = 0


def _wall(canvas: Canvas, points: Points, style: Style, rng: np.random.Generator) -> None:
    xs, ys = zip(*points, strict=True)
    height, width = int(max(ys) - min(ys)) + 2, int(max(xs) - min(xs)) + 2
    canvas.texture(points, WALLS[style.wall](rng, height, width, style.wall_colour))


def _tiles(canvas: Canvas, points: Points, style: Style, rng: np.random.Generator) -> None:
    xs, ys = zip(*points, strict=True)
    height, width = int(max(ys) - min(ys)) + 2, int(max(xs) - min(xs)) + 2
    canvas.texture(points, roofing(rng, height, width, style.roof_colour))


def _finial(canvas: Canvas, x: float, y: float, size: float = 1) -> None:
    canvas.line([(x, y), (x, y - 26 * size)], GOLD, 3)
    canvas.ellipse(x, y - 8 * size, 5 * size, 5 * size, GOLD)
    canvas.ellipse(x, y - 26 * size, 4 * size, 4 * size, GOLD)


def _oculus(canvas: Canvas, x: float, y: float, radius: float, style: Style) -> None:
    canvas.ellipse(x, y, radius + 5, radius + 5, style.trim)
    canvas.ellipse(x, y, radius, radius, (70, 92, 116), 200)
    canvas.line([(x - radius, y), (x + radius, y)], style.window.frame, 3)
    canvas.line([(x, y - radius), (x, y + radius)], style.window.frame, 3)


def gable(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A triangle of wall under two bargeboards."""
    rise, right = body.width * rng.uniform(0.38, 0.5), body.x + body.width
    peak = (body.middle, body.y - rise)
    _wall(canvas, [(body.x, body.y), peak, (right, body.y)], style, rng)
    if "timber" in style.parts:
        beam = tint(style.paint, 0.55)
        for share in (0.3, 0.6):
            y, half = body.y - rise * share, body.width / 2 * (1 - share)
            canvas.line([(body.middle - half, y), (body.middle + half, y)], beam, 9)
        for offset in (-0.25, 0, 0.25):
            x = body.middle + offset * body.width
            canvas.line([(x, body.y), (x, body.y - rise * (1 - 2 * abs(offset)))], beam, 8)
    _oculus(canvas, body.middle, body.y - rise * 0.42, body.width * 0.05, style)
    for foot in (body.x - 16, right + 16):
        low = body.y + 10
        canvas.line([(foot, low), (body.middle, peak[1] - 3)], tint(style.roof_colour, 0.7), 15)
        canvas.line([(foot, low), (body.middle, peak[1] - 6)], style.trim, 6)
    return Slope(body.width / 2, rise)


def stepped(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """The stepped gable of the Low Countries."""
    steps, rise = int(rng.integers(4, 7)), body.width * rng.uniform(0.4, 0.52)
    half, tall = body.width / 2, rise / steps
    for step in range(steps):
        wide = half * (1 - step / (steps + 0.8))
        top = body.y - tall * (step + 1)
        _wall(canvas, HEADS["flat"](Place(body.middle - wide, top, 2 * wide, tall + 1)), style, rng)
    for step in range(steps):
        wide, inner = half * (1 - step / (steps + 0.8)), half * (1 - (step + 1) / (steps + 0.8))
        top = body.y - tall * (step + 1)
        inner = 0 if step == steps - 1 else inner
        for side in (-1, 1):
            a, b = body.middle + side * (wide + 4), body.middle + side * inner
            canvas.rectangle(min(a, b), top - 6, max(a, b), top + 2, style.trim)
    _oculus(canvas, body.middle, body.y - rise * 0.5, body.width * 0.055, style)
    _finial(canvas, body.middle, body.y - rise - 4, 0.8)
    return Slope(body.width / 2, rise * 0.86)


def hip(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A tiled roof leaning back on all sides, with chimneys."""
    rise, inset, right = body.width * rng.uniform(0.2, 0.28), body.width * 0.2, body.x + body.width
    for share in (0.24, 0.8):
        _chimney(canvas, body.x + body.width * share, body.y - rise - 26, 26, rise, style, rng)
    _tiles(canvas, [(body.x - 22, body.y + 4), (body.x + inset, body.y - rise),
                    (right - inset, body.y - rise), (right + 22, body.y + 4)], style, rng)  # fmt: skip
    canvas.rectangle(
        body.x + inset - 6, body.y - rise - 5, right - inset + 6, body.y - rise + 3, tint(style.roof_colour, 0.7)
    )
    canvas.rectangle(body.x - 24, body.y, right + 24, body.y + 9, style.trim)
    return Slope(inset, rise)


def _chimney(
    canvas: Canvas, x: float, top: float, width: float, height: float, style: Style, rng: np.random.Generator
) -> None:
    texture = WALLS["brick"](rng, int(height) + 20, int(width), mix(style.wall_colour, (150, 80, 64), 0.6))
    canvas.texture(HEADS["flat"](Place(x, top, width, height + 18)), texture)
    canvas.rectangle(x - 4, top - 6, x + width + 4, top + 3, tint(style.trim, 0.8))
    for pot in (0.3, 0.7):
        canvas.rectangle(x + width * pot - 4, top - 18, x + width * pot + 4, top - 6, (176, 96, 70))


def mansard(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A steep slate roof with a dormer over every other bay."""
    rise, inset, right = rng.uniform(95, 125), 44.0, body.x + body.width
    for share in (0.1, 0.86):
        _chimney(canvas, body.x + body.width * share, body.y - rise - 30, 26, rise, style, rng)
    _tiles(canvas, [(body.x, body.y + 2), (body.x + inset, body.y - rise),
                    (right - inset, body.y - rise), (right, body.y + 2)], style, rng)  # fmt: skip
    canvas.rectangle(
        body.x + inset - 8, body.y - rise - 8, right - inset + 8, body.y - rise + 3, tint(style.roof_colour, 0.7)
    )
    bay = body.width / style.bays
    for number in range(style.bays):
        if number % 2 == 0 and style.bays > 3 and number in (0, style.bays - 1):
            continue
        x = body.x + bay * (number + 0.5)
        canvas.shade([(x - 22, body.y - 4), (x + 40, body.y - 4), (x + 34, body.y - 70), (x - 20, body.y - 70)], 0.75)
        canvas.rectangle(x - 25, body.y - 62, x + 25, body.y - 2, style.trim)
        canvas.polygon([(x - 32, body.y - 60), (x, body.y - 86), (x + 32, body.y - 60)], tint(style.trim, 0.88))
        canvas.rectangle(x - 16, body.y - 56, x + 16, body.y - 4, (72, 92, 114), 220 if rng.random() < 0.5 else 0)
        canvas.line([(x, body.y - 56), (x, body.y - 4)], style.window.frame, 3)
        canvas.line([(x - 16, body.y - 32), (x + 16, body.y - 32)], style.window.frame, 3)
    return Slope(inset, rise)


def balustrade(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A flat roof behind small columns, with urns or statues."""
    top, right = body.y - 42, body.x + body.width
    _wall(canvas, HEADS["flat"](Place(body.x, top + 8, body.width, 36)), style, rng)
    canvas.shade(HEADS["flat"](Place(body.x, top + 8, body.width, 36)), 0.55)
    for x in np.arange(body.x + 8, right - 4, 15):
        canvas.ellipse(x, top + 26, 5.5, 12, style.trim)
    canvas.rectangle(body.x - 6, top, right + 6, top + 9, style.trim)
    canvas.rectangle(body.x - 6, body.y - 7, right + 6, body.y + 2, style.trim)
    statues = rng.random() < 0.5
    for x in np.linspace(body.x + 14, right - 14, style.bays + 1):
        canvas.rectangle(x - 11, top - 3, x + 11, body.y, style.trim)
        if statues:
            canvas.polygon(
                [(x - 9, top - 2), (x - 6, top - 34), (x + 6, top - 34), (x + 9, top - 2)], tint(style.trim, 0.86)
            )
            canvas.ellipse(x, top - 39, 6, 7, tint(style.trim, 0.86))
        else:
            canvas.ellipse(x, top - 16, 10, 12, tint(style.trim, 0.9))
            canvas.rectangle(x - 12, top - 28, x + 12, top - 24, tint(style.trim, 0.9))
    return Slope()


def battlements(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """Merlons on a projecting row of corbels."""
    left, right, high = body.x - 14, body.x + body.width + 14, 34.0
    for x in np.arange(left, right - 8, 22):
        canvas.polygon(
            [(x, body.y), (x + 14, body.y), (x + 10, body.y + 18), (x + 4, body.y + 18)], tint(style.wall_colour, 0.7)
        )
    _wall(canvas, HEADS["flat"](Place(left, body.y - 30, right - left, 32)), style, rng)
    count = max(4, int((right - left) // 46))
    for number in range(count):
        x = left + (right - left) * number / (count - 0.45)
        _wall(canvas, HEADS["flat"](Place(x, body.y - 30 - high, (right - left) / count * 0.6, high + 1)), style, rng)
    canvas.shade(HEADS["flat"](Place(body.x, body.y + 2, body.width, 16)), 0.72)
    return Slope()


def _cone(canvas: Canvas, points: Points, style: Style, rng: np.random.Generator) -> None:
    """A tiled cone or pyramid: lit from the left."""
    _tiles(canvas, points, style, rng)
    peak, right, left = points[1], points[2], points[0]
    canvas.shade([peak, right, ((left[0] * 0.35 + right[0] * 0.65), right[1])], 0.68)


def spire(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A tall pointed roof with a golden ball."""
    rise, right = body.width * rng.uniform(0.8, 1.25), body.x + body.width
    _cone(canvas, [(body.x - 16, body.y + 4), (body.middle, body.y - rise), (right + 16, body.y + 4)], style, rng)
    canvas.rectangle(body.x - 18, body.y, right + 18, body.y + 10, style.trim)
    _finial(canvas, body.middle, body.y - rise, 1.2)
    return Slope(body.width / 2, rise)


def onion(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """An onion dome on a drum."""
    drum = Place(body.middle - body.width * 0.34, body.y - 46, body.width * 0.68, 48)
    _wall(canvas, HEADS["flat"](drum), style, rng)
    canvas.rectangle(drum.x - 6, drum.y - 5, drum.x + drum.width + 6, drum.y + 3, style.trim)
    half, tall = drum.width * 0.62, drum.width * rng.uniform(1.0, 1.3)
    shares = np.linspace(0, 1, 22)
    bulge = np.where(shares < 0.5, 0.8 + 0.28 * np.sin(shares * 2 * np.pi), (1 - (shares - 0.5) * 2) ** 1.7 * 0.8)
    left = [(body.middle - half * b, drum.y - tall * s) for b, s in zip(bulge.tolist(), shares.tolist(), strict=True)]
    outline = [*left, *[(2 * body.middle - x, y) for x, y in reversed(left)]]
    _tiles(canvas, outline, style, rng)
    canvas.shade(
        [(x if x > body.middle else x * 0.35 + body.middle * 0.65 + half * 0.1, y) for x, y in outline], 0.74, 4
    )
    _finial(canvas, body.middle, drum.y - tall, 1.2)
    return Slope()


def dome(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A ribbed dome on a drum with a lantern, above a low parapet."""
    balustrade(canvas, body, style, rng)
    radius = body.width * rng.uniform(0.2, 0.26)
    base = body.y - 96
    _wall(canvas, HEADS["flat"](Place(body.middle - radius, base, 2 * radius, 60)), style, rng)
    for x in np.linspace(-0.8, 0.8, 7):
        canvas.polygon(HEADS["arch"](Place(body.middle + x * radius - 7, base + 12, 14, 38)), (72, 88, 108), 160)
    canvas.rectangle(body.middle - radius - 8, base - 6, body.middle + radius + 8, base + 4, style.trim)
    bow = oval(body.middle, base - 6, radius, radius * 1.05, 180, 360)
    _tiles(canvas, bow, style, rng)
    canvas.shade(
        [*oval(body.middle, base - 6, radius, radius * 1.05, 282, 360), (body.middle + radius * 0.5, base - 6)], 0.7, 5
    )
    for share in (-0.66, -0.33, 0, 0.33, 0.66):
        canvas.line(
            oval(body.middle, base - 6, radius * share, radius * 1.05, 270, 360), tint(style.roof_colour, 1.25), 3
        )
    top = base - 6 - radius * 1.05
    canvas.rectangle(body.middle - 14, top - 30, body.middle + 14, top + 4, style.trim)
    canvas.polygon(oval(body.middle, top - 30, 18, 16, 180, 360), style.roof_colour)
    _finial(canvas, body.middle, top - 44)
    return Slope()


def pediment(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A temple front: a low triangle with a relief of circles."""
    rise, left, right = body.width * rng.uniform(0.17, 0.23), body.x - 18, body.x + body.width + 18
    canvas.polygon([(left, body.y), (body.middle, body.y - rise), (right, body.y)], style.trim)
    inner = [(left + 60, body.y - 10), (body.middle, body.y - rise + 18), (right - 60, body.y - 10)]
    canvas.polygon(inner, tint(style.trim, 0.72))
    for share in np.linspace(-0.62, 0.62, int(rng.integers(5, 10))):
        radius = rise * 0.3 * (1 - abs(share)) + 3
        x = body.middle + share * body.width / 2
        canvas.ellipse(x, body.y - 14 - radius, radius, radius, tint(style.trim, 0.94))
        canvas.ellipse(x + 2, body.y - 12 - radius, radius * 0.6, radius * 0.6, tint(style.trim, 0.66))
    for x in (left + 10, body.middle, right - 10):
        _finial(canvas, x, body.y - (rise if x == body.middle else 4), 0.9)
    return Slope(body.width / 2, rise)


def barrel(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A train shed: a large arch of glass between two low walls."""
    radius, high = body.width * 0.31, body.width * rng.uniform(0.22, 0.27)
    shoulder = Place(body.x, body.y - 40, body.width, 42)
    _wall(canvas, HEADS["flat"](shoulder), style, rng)
    canvas.rectangle(body.x - 6, shoulder.y - 7, body.x + body.width + 6, shoulder.y + 2, style.trim)
    canvas.polygon(oval(body.middle, body.y, radius + 26, high + 36, 180, 360), style.trim)
    bow = oval(body.middle, body.y, radius + 14, high + 24, 180, 360)
    _wall(canvas, bow, style, rng)
    canvas.polygon(oval(body.middle, body.y - 6, radius, high, 180, 360), (84, 112, 134), 230)
    for angle in range(195, 360, 15):
        tip = oval(body.middle, body.y - 6, radius, high, angle, angle)[0]
        canvas.line([(body.middle, body.y - 6), tip], style.window.frame, 3)
    for share in (0.34, 0.67):
        canvas.line(oval(body.middle, body.y - 6, radius * share, high * share, 180, 360), style.window.frame, 3)
    return Slope()


def sawtooth(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """The roof of a works: a row of lean-to lights."""
    teeth = int(rng.integers(3, 6))
    wide, high = body.width / teeth, rng.uniform(60, 84)
    for tooth in range(teeth):
        x = body.x + tooth * wide
        canvas.polygon([(x, body.y + 2), (x, body.y - high), (x + wide, body.y + 2)], tint(style.roof_colour, 0.7))
        inset = [(x + 7, body.y), (x + 7, body.y - high * 0.85), (x + wide * 0.86, body.y)]
        canvas.polygon(inset, (108, 136, 150), 210)
        for share in (0.25, 0.5, 0.75):
            canvas.line(
                [(x + wide * share, body.y), (x + wide * share, body.y - high * (1 - share) * 0.9)],
                style.window.frame,
                3,
            )
    canvas.rectangle(body.x - 8, body.y - 8, body.x + body.width + 8, body.y + 4, style.trim)
    return Slope()


def _spired_tower(canvas: Canvas, tower: Place, style: Style, rng: np.random.Generator) -> None:
    """A square tower standing on the roof's middle, with a bell opening and a spire."""
    _wall(canvas, HEADS["flat"](tower), style, rng)
    canvas.shade(HEADS["flat"](Place(tower.x + tower.width * 0.8, tower.y, tower.width * 0.2, tower.height)), 0.82)
    opening = Place(tower.middle - tower.width * 0.2, tower.y + 22, tower.width * 0.4, tower.height * 0.42)
    canvas.polygon(HEADS[style.window.head if style.window.head != "round" else "arch"](opening.grown(5)), style.trim)
    canvas.polygon(HEADS[style.window.head if style.window.head != "round" else "arch"](opening), (46, 46, 56))
    for y in np.arange(opening.y + opening.width * 0.6, opening.bottom, 9):
        canvas.line([(opening.x, y), (opening.x + opening.width, y + 3)], tint(style.trim, 0.7), 3)
    rise, right = tower.width * rng.uniform(1.1, 1.6), tower.x + tower.width
    _cone(canvas, [(tower.x - 10, tower.y + 3), (tower.middle, tower.y - rise), (right + 10, tower.y + 3)], style, rng)
    canvas.rectangle(tower.x - 11, tower.y, tower.x + tower.width + 11, tower.y + 8, style.trim)
    _finial(canvas, tower.middle, tower.y - rise, 1.1)


def steeple(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A church front: a gable with a tower rising behind it."""
    wide = body.width * rng.uniform(0.28, 0.34)
    tower = Place(body.middle - wide / 2, body.y - body.width * 0.95, wide, body.width * 0.95)
    _spired_tower(canvas, tower, style, rng)
    return gable(canvas, body, style, rng)


def belfry(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """A hipped roof with a bell tower in the middle."""
    wide = body.width * rng.uniform(0.15, 0.19)
    tower = Place(body.middle - wide / 2, body.y - body.width * 0.46, wide, body.width * 0.46)
    _spired_tower(canvas, tower, style, rng)
    return hip(canvas, body, style, rng)


Roof = Callable[[Canvas, Place, Style, np.random.Generator], Slope]
ROOFS: dict[str, Roof] = {
    "gable": gable,
    "stepped": stepped,
    "hip": hip,
    "mansard": mansard,
    "balustrade": balustrade,
    "battlements": battlements,
    "spire": spire,
    "onion": onion,
    "dome": dome,
    "pediment": pediment,
    "barrel": barrel,
    "sawtooth": sawtooth,
    "steeple": steeple,
    "belfry": belfry,
}
