"""A style to a building: the painted front, a side, a roof, and its size in metres."""

from dataclasses import dataclass

import cv2
import numpy as np

from lookalike.evaluation.datasets.synthetic.openings import (
    HEADS,
    Place,
    WindowStyle,
    door,
    flower_box,
    railing,
    shop,
    sign,
    window,
)
from lookalike.evaluation.datasets.synthetic.paint import WALLS, Canvas, Pixels, mix, noise, pick, pixels, roofing, tint
from lookalike.evaluation.datasets.synthetic.roofs import GOLD, ROOFS, Slope
from lookalike.evaluation.datasets.synthetic.styles import Style

PIXELS_PER_METRE = 32
MARGIN = 60
ROOM = 640
"""Pixels above the body for any roof; empty rows are cut off."""


@dataclass(frozen=True)
class Building:
    """Painted planes and their sizes in pixels; in `front` the body's left edge is at x = `margin`."""

    front: Canvas
    side: Canvas
    tiles: Pixels
    slope: Slope
    width: float
    body: float
    margin: float = MARGIN

    @property
    def height(self) -> float:
        """The whole front, finial included."""
        return float(self.front.rgb.shape[0])


def build(style: Style, rng: np.random.Generator) -> Building:
    """Paint the building."""
    bay, floor = rng.uniform(90, 104), rng.uniform(110, 122) * (1.45 if "tall" in style.parts else 1)
    width, height = bay * style.bays + 30, floor * style.floors + 34
    canvas = _blank(int(width + 2 * MARGIN), int(height + ROOM))
    body = Place(MARGIN, canvas.rgb.shape[0] - height, width, height)
    _wall(canvas, body, style, rng)
    _frame(canvas, body, style, floor, rng)
    _openings(canvas, body, style, floor, rng)
    slope = _crown(canvas, body, style, rng)
    _ornaments(canvas, body, style, floor, rng)
    _weather(canvas, rng)
    return Building(_cropped(canvas), _side(style, height, floor, rng), roofing(rng, 220, 400, style.roof_colour),
                    slope, width, height)  # fmt: skip


def _blank(width: int, height: int) -> Canvas:
    return Canvas(np.full((height, width, 3), 128, np.uint8))


def _cropped(canvas: Canvas) -> Canvas:
    """Without the empty rows above the highest finial."""
    top = int(np.flatnonzero(canvas.cover.any(1))[0])
    cropped = Canvas(canvas.rgb[top:].copy())
    cropped.cover, cropped.glow = canvas.cover[top:].copy(), canvas.glow[top:].copy()
    return cropped


def _wall(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> None:
    canvas.texture(
        HEADS["flat"](body), WALLS[style.wall](rng, int(body.height) + 2, int(body.width) + 2, style.wall_colour)
    )
    plinth = Place(body.x - 4, body.bottom - 26, body.width + 8, 26)
    base = mix(style.wall_colour, (120, 116, 112), 0.6)
    canvas.texture(HEADS["flat"](plinth), WALLS["ashlar"](rng, 28, int(plinth.width) + 2, base))


def _frame(canvas: Canvas, body: Place, style: Style, floor: float, rng: np.random.Generator) -> None:
    """Parts that divide the wall: quoins, pilasters, string courses, timber, buttresses, turrets."""
    right = body.x + body.width
    bay = (body.width - 30) / style.bays
    edges = [body.x + 15 + bay * number for number in range(style.bays + 1)]
    if "quoins" in style.parts:
        for number, y in enumerate(np.arange(body.bottom - 20, body.y, -20)):
            long = 26 if number % 2 else 17
            canvas.rectangle(body.x - 2, y - 17, body.x + long, y, style.trim)
            canvas.rectangle(right - long, y - 17, right + 2, y, style.trim)
    if "pilasters" in style.parts:
        for x in edges:
            canvas.rectangle(x - 9, body.y, x + 9, body.bottom - 8, mix(style.trim, style.wall_colour, 0.25))
            canvas.shade([(x + 9, body.y), (x + 14, body.y), (x + 14, body.bottom), (x + 9, body.bottom)], 0.8)
            canvas.rectangle(x - 13, body.y + 8, x + 13, body.y + 22, style.trim)
    if "strings" in style.parts:
        for number in range(1, style.floors):
            y = body.bottom - number * floor - 12
            canvas.rectangle(body.x - 5, y, right + 5, y + 10, style.trim)
            canvas.shade([(body.x, y + 10), (right, y + 10), (right, y + 17), (body.x, y + 17)], 0.75)
    if "timber" in style.parts:
        _timber(canvas, body, style, floor, rng)
    for part, draw in (("buttress", _buttress), ("turrets", _turret)):
        if part in style.parts:
            for x in (body.x, right):
                draw(canvas, x, body, style, rng)


def _timber(canvas: Canvas, body: Place, style: Style, floor: float, rng: np.random.Generator) -> None:
    beam, right = tint(style.paint, 0.55), body.x + body.width
    bay = body.width / style.bays
    for number in range(style.floors + 1):
        y = body.bottom - number * floor - (12 if number else 16)
        canvas.line([(body.x, y), (right, y)], beam, 11)
        for post in range(style.bays + 1):
            x = min(max(body.x + bay * post, body.x + 5), right - 5)
            canvas.line([(x, y), (x, max(body.y, y - floor))], beam, 10)
            if number and 0 < post < style.bays and rng.random() < 0.7:
                for side in (-1, 1):
                    canvas.line([(x, y - floor * 0.12), (x + side * bay * 0.26, y - 4)], beam, 7)


def _buttress(canvas: Canvas, x: float, body: Place, style: Style, rng: np.random.Generator) -> None:
    top = body.y + body.height * 0.24
    outline = [(x - 16, top), (x + 16, top), (x + 20, body.bottom), (x - 20, body.bottom)]
    texture = WALLS["ashlar"](rng, int(body.bottom - top) + 2, 42, mix(style.wall_colour, style.trim, 0.4))
    canvas.texture(outline, texture)
    canvas.polygon([(x - 18, top + 2), (x, top - 46), (x + 18, top + 2)], style.trim)
    canvas.shade([(x + 8, top), (x + 16, top), (x + 20, body.bottom), (x + 10, body.bottom)], 0.75)


def _turret(canvas: Canvas, x: float, body: Place, style: Style, rng: np.random.Generator) -> None:
    """A round tower at a corner of the castle."""
    half, top = 40.0, body.y - 70
    place = Place(x - half, top, 2 * half, body.bottom - top)
    texture = WALLS["ashlar"](rng, int(place.height) + 2, int(place.width) + 2, style.wall_colour)
    across = np.linspace(-1, 1, texture.shape[1])
    canvas.texture(HEADS["flat"](place), pixels(texture * (1.05 - 0.35 * (across + 0.35) ** 2)[:, None]))
    for y in np.arange(top + 60, body.bottom - 60, 110):
        canvas.polygon(HEADS["pointed"](Place(x - 6, y, 12, 40).grown(3)), tint(style.trim, 0.8))
        canvas.polygon(HEADS["pointed"](Place(x - 6, y, 12, 40)), (40, 42, 52), 180)
    canvas.rectangle(place.x - 8, top - 8, place.x + place.width + 8, top + 10, tint(style.wall_colour, 0.86))
    peak = (x, top - 120)
    outline = [(place.x - 14, top - 4), peak, (place.x + place.width + 14, top - 4)]
    canvas.texture(outline, roofing(rng, 120, 110, style.roof_colour))
    canvas.shade([peak, outline[2], (x + half * 0.3, top - 4)], 0.7)


def _openings(canvas: Canvas, body: Place, style: Style, floor: float, rng: np.random.Generator) -> None:
    """Every bay of every floor: the entrance in the middle of the ground floor, shops or arches beside it, windows."""
    bay = (body.width - 30) / style.bays
    entrance = style.bays // 2
    wide = bay * rng.uniform(0.4, 0.5)
    tall = floor * rng.uniform(0.52, 0.62)
    for level in range(style.floors):
        sill = body.bottom - level * floor - floor * 0.24
        for number in range(style.bays):
            x = body.x + 15 + bay * (number + 0.5)
            if level == 0:
                _ground_floor(
                    canvas, Place(x - bay / 2, body.bottom - floor, bay, floor), style, number == entrance, rng
                )
            elif not ("sparse" in style.parts and rng.random() < 0.3) and not _taken(style, level, number, entrance):
                window(canvas, Place(x - wide / 2, sill - tall, wide, tall), style.window, rng)
    if "balcony" in style.parts:
        y = body.bottom - floor - floor * 0.24
        railing(canvas, Place(body.middle - bay * 1.4, y - 20, bay * 2.8, 30))


def _taken(style: Style, level: int, number: int, entrance: int) -> bool:
    """Whether a clock or a rose window takes the place of this window."""
    if number != entrance or style.bays % 2 == 0:
        return False
    return bool({"clock", "rose"} & style.parts) and level == style.floors - 1


def _ground_floor(canvas: Canvas, place: Place, style: Style, entrance: bool, rng: np.random.Generator) -> None:
    low = place.bottom - 4
    if entrance:
        head = style.window.head if style.window.head in ("arch", "pointed", "segment") else "flat"
        wide, tall = place.width * 0.52, min(place.height * 0.72, 100)
        door(canvas, Place(place.middle - wide / 2, low - tall, wide, tall), head, style.paint, style.trim)
        if "porch" in style.parts:
            y = low - tall - 16
            canvas.polygon([(place.x - 4, y), (place.middle, y - 34), (place.x + place.width + 4, y)], style.trim)
            canvas.rectangle(place.x - 2, y - 2, place.x + place.width + 2, y + 8, tint(style.trim, 0.85))
            for x in (place.x + 6, place.x + place.width - 6):
                canvas.rectangle(x - 5, y + 8, x + 5, low, style.trim)
    elif "shops" in style.parts:
        shop(canvas, Place(place.x + 8, low - 78, place.width - 16, 70), style.paint, rng)
    elif "arcade" in style.parts:
        arch = Place(place.x + 12, low - place.height * 0.78, place.width - 24, place.height * 0.78)
        canvas.polygon(HEADS["arch"](arch.grown(7)), style.trim)
        canvas.polygon(HEADS["arch"](arch), (62, 62, 70), 120)
        canvas.shade(HEADS["arch"](Place(arch.x, arch.y, arch.width * 0.3, arch.height)), 0.6)
        canvas.polygon(
            HEADS["arch"](Place(arch.x + 16, arch.y + 22, arch.width - 26, arch.height - 22)), (96, 94, 96), 170
        )
    else:
        wide, tall = place.width * 0.42, place.height * 0.5
        spot = Place(place.middle - wide / 2, low - 26 - tall, wide, tall)
        window(canvas, spot, style.window, rng)
        if "flowers" in style.parts:
            flower_box(canvas, spot, rng)


def _crown(canvas: Canvas, body: Place, style: Style, rng: np.random.Generator) -> Slope:
    """The roof, and the cornice under it."""
    right = body.x + body.width
    slope = ROOFS[style.roof](canvas, body, style, rng)
    if style.roof in ("battlements", "gable", "steeple"):
        return slope
    for x in np.arange(body.x - 6, right + 2, 13):
        canvas.rectangle(x, body.y + 9, x + 7, body.y + 17, tint(style.trim, 0.88))
    canvas.rectangle(body.x - 12, body.y, right + 12, body.y + 9, style.trim)
    canvas.shade([(body.x, body.y + 9), (right, body.y + 9), (right, body.y + 24), (body.x, body.y + 24)], 0.78)
    return slope


def _ornaments(canvas: Canvas, body: Place, style: Style, floor: float, rng: np.random.Generator) -> None:
    top = body.bottom - style.floors * floor
    if "columns" in style.parts:
        _columns(canvas, body, style)
    if "rose" in style.parts:
        _rose(canvas, body.middle, top + floor * 0.5, min(floor * 0.36, body.width * 0.16), style, rng)
    if "clock" in style.parts:
        _clock(canvas, body.middle, top + floor * 0.46, floor * 0.27, style, rng)
    if "flag" in style.parts:
        colours = [pick(rng, ((196, 52, 60), (240, 236, 228), (50, 84, 150), (236, 190, 70))) for _ in range(3)]
        crest = float(np.flatnonzero(canvas.cover[:, int(body.x + body.width * 0.2)])[0])
        _flag(canvas, body.x + body.width * 0.2, crest + 20, colours)
    if style.sign and "upright" in style.parts:
        sign(canvas, style.sign, body.x + body.width - 26, body.y + body.height * 0.42, 38, style.paint, upright=True)
    elif style.sign:
        sign(canvas, style.sign, body.middle, body.bottom - floor - 8, 30, style.paint)
    if "ivy" in style.parts:
        _ivy(canvas, body, rng)


def _columns(canvas: Canvas, body: Place, style: Style) -> None:
    """A giant order of round columns in front of the bays."""
    bay = (body.width - 30) / style.bays
    top, low = body.y + 24, body.bottom - 16
    for number in range(style.bays + 1):
        x = body.x + 15 + bay * number
        canvas.shade([(x + 8, top), (x + 26, top + 12), (x + 26, low), (x + 8, low)], 0.72)
        for offset in range(-12, 13, 3):
            light = 1.04 - 0.0022 * (offset + 5) ** 2
            canvas.rectangle(x + offset - 2, top + 14, x + offset + 2, low - 10, tint(style.trim, light))
        canvas.rectangle(x - 19, top, x + 19, top + 8, style.trim)
        canvas.rectangle(x - 15, top + 8, x + 15, top + 16, tint(style.trim, 0.85))
        canvas.rectangle(x - 18, low - 12, x + 18, low + 4, style.trim)


def _rose(canvas: Canvas, x: float, y: float, radius: float, style: Style, rng: np.random.Generator) -> None:
    """A wheel window of coloured glass."""
    canvas.ellipse(x, y, radius + 9, radius + 9, style.trim)
    canvas.ellipse(x, y, radius + 2, radius + 2, tint(style.trim, 0.55))
    petals = int(rng.integers(6, 11))
    jewels = ((60, 90, 170), (180, 50, 60), (220, 170, 60), (60, 130, 100), (130, 70, 150))
    for ring, distance in enumerate((0.78, 0.42)):
        for petal in range(petals):
            angle = 2 * np.pi * (petal + ring / 2) / petals
            size = radius * distance * 2.2 / petals
            canvas.ellipse(x + radius * distance * np.cos(angle), y + radius * distance * np.sin(angle), size, size,
                           pick(rng, jewels), 220)  # fmt: skip
    canvas.ellipse(x, y, radius * 0.17, radius * 0.17, GOLD, 255)


def _clock(canvas: Canvas, x: float, y: float, radius: float, style: Style, rng: np.random.Generator) -> None:
    canvas.ellipse(x, y, radius + 7, radius + 7, tint(style.trim, 0.75))
    canvas.ellipse(x, y, radius + 4, radius + 4, GOLD)
    canvas.ellipse(x, y, radius, radius, (250, 246, 232), 255)
    for hour in range(12):
        angle = np.pi * hour / 6
        inner, outer = radius * 0.78, radius * 0.92
        canvas.line([(x + inner * np.cos(angle), y + inner * np.sin(angle)),
                     (x + outer * np.cos(angle), y + outer * np.sin(angle))], (40, 36, 40), 2)  # fmt: skip
    for length, thickness in ((0.5, 5), (0.8, 3)):
        angle = rng.uniform(0, 2 * np.pi)
        tip = (x + radius * length * np.cos(angle), y + radius * length * np.sin(angle))
        canvas.line([(x, y), tip], (40, 36, 40), thickness)


def _flag(canvas: Canvas, x: float, foot: float, colours: list[tuple[int, int, int]]) -> None:
    canvas.line([(x, foot), (x, foot - 110)], (90, 84, 80), 4)
    canvas.ellipse(x, foot - 112, 4, 4, GOLD)
    wave = [(t, 4 * np.sin(t / 9)) for t in range(0, 64, 4)]
    for number, colour in enumerate(colours):
        top, low = foot - 106 + number * 13, foot - 93 + number * 13
        upper = [(x + t, top + w) for t, w in wave]
        canvas.polygon([*upper, *[(x + t, low + w) for t, w in reversed(wave)]], colour)


def _ivy(canvas: Canvas, body: Place, rng: np.random.Generator) -> None:
    """Ivy over a lower corner."""
    left = rng.random() < 0.5
    for _ in range(360):
        up = rng.beta(1.1, 1.8) * body.height * 0.7
        reach = body.width * 0.3 * (1 - up / body.height) ** 1.5
        x = body.x + abs(rng.normal(0, 0.5)) * reach if left else body.x + body.width - abs(rng.normal(0, 0.5)) * reach
        light = rng.uniform(0.7, 1.25)
        canvas.ellipse(x, body.bottom - up, rng.uniform(3, 8), rng.uniform(3, 7), tint((84, 126, 62), light))


def _weather(canvas: Canvas, rng: np.random.Generator) -> None:
    """Dirt in clouds and in streaks, and a darker foot."""
    height, width = canvas.rgb.shape[:2]
    clouds = 0.04 * noise(rng, height, width, 160)
    streaks = cv2.resize(0.03 * noise(rng, 6, width, 14, 2), (width, height), interpolation=cv2.INTER_LINEAR)
    rows = np.arange(height, dtype=np.float32)[:, None]
    foot = np.float32(1) - np.float32(0.16) * np.exp((rows - height) / np.float32(50))
    canvas.rgb[:] = np.clip(canvas.rgb * ((1 + clouds + streaks) * foot)[..., None], 0, 255)


def _side(style: Style, height: float, floor: float, rng: np.random.Generator) -> Canvas:
    """A plain side wall, two or three bays deep."""
    bays = int(rng.integers(2, 4))
    canvas = _blank(bays * 104, int(height))
    body = Place(0, 0, canvas.rgb.shape[1], height)
    _wall(canvas, body, style, rng)
    plain = WindowStyle(style.window.head, style.window.bars, style.window.frame, style.trim)
    for level in range(style.floors):
        for number in range(bays):
            spot = Place(104 * number + 32, height - level * floor - floor * 0.24 - floor * 0.5, 40, floor * 0.5)
            window(canvas, spot, plain, rng)
    canvas.rectangle(0, 0, body.width, 9, style.trim)
    return canvas
