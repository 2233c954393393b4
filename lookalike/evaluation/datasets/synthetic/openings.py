"""Windows, doors, shop fronts, signs and balconies, painted on a facade."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lookalike.evaluation.datasets.synthetic.paint import Canvas, Colour, Pixels, Points, lit, mix, oval, pick, tint

IRON: Colour = (44, 46, 52)
BLOSSOMS: tuple[Colour, ...] = ((214, 60, 74), (236, 180, 60), (240, 240, 236), (190, 90, 180), (240, 130, 90))


@dataclass(frozen=True)
class Place:
    """A rectangle on the facade, in its pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The x of its centre line."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height

    def grown(self, by: float) -> "Place":
        """The same centre, `by` wider at every side."""
        return Place(self.x - by, self.y - by, self.width + 2 * by, self.height + 2 * by)


def _flat(place: Place) -> Points:
    right = place.x + place.width
    return [(place.x, place.y), (right, place.y), (right, place.bottom), (place.x, place.bottom)]


def _arch(place: Place) -> Points:
    radius = place.width / 2
    bow = oval(place.middle, place.y + radius, radius, radius, 180, 360)
    return [*bow, (place.x + place.width, place.bottom), (place.x, place.bottom)]


def _segment(place: Place) -> Points:
    rise = place.width / 5
    bow = oval(place.middle, place.y + rise, place.width / 2, rise, 180, 360)
    return [*bow, (place.x + place.width, place.bottom), (place.x, place.bottom)]


def _pointed(place: Place) -> Points:
    width, spring = place.width, place.y + place.width * 0.87
    left = oval(place.x + width, spring, width, width, 180, 240)
    right = oval(place.x, spring, width, width, 300, 360)
    return [*left, *right, (place.x + width, place.bottom), (place.x, place.bottom)]


def _round(place: Place) -> Points:
    radius = min(place.width, place.height) / 2
    return oval(place.middle, place.y + place.height / 2, radius, radius)


HEADS: dict[str, Callable[[Place], Points]] = {
    "flat": _flat,
    "arch": _arch,
    "segment": _segment,
    "pointed": _pointed,
    "round": _round,
}


@dataclass(frozen=True)
class WindowStyle:
    """The look of all windows of a building: the shape of the head, bars, frame, trim and additions."""

    head: str
    bars: tuple[int, int]
    frame: Colour
    trim: Colour
    shutters: Colour | None = None
    hood: str = "none"
    flowers: bool = False
    railing: bool = False


def window(canvas: Canvas, place: Place, style: WindowStyle, rng: np.random.Generator) -> None:
    """A window; random curtains, light and shutters make the pattern of windows specific to a building."""
    outline = HEADS[style.head]
    canvas.polygon(outline(place.grown(6)), style.trim)
    canvas.shade(outline(Place(place.x - 1, place.y - 1, place.width + 2, place.height + 2)), 0.6)
    glow = int(rng.integers(140, 256)) if rng.random() < 0.5 else 20
    canvas.texture(outline(place), _glass(place, style, rng), glow)
    if style.head == "round":
        return
    if style.shutters:
        _shutters(canvas, place, style.shutters, rng)
    if style.hood != "none":
        _hood(canvas, place, style)
    canvas.rectangle(place.x - 10, place.bottom, place.x + place.width + 10, place.bottom + 7, style.trim)
    _shadow(canvas, place.x - 10, place.bottom + 7, place.width + 20, 6)
    if style.railing:
        railing(canvas, Place(place.x - 9, place.bottom - 26, place.width + 18, 28))
    if style.flowers and rng.random() < 0.75:
        flower_box(canvas, place, rng)


def _glass(place: Place, style: WindowStyle, rng: np.random.Generator) -> Pixels:
    width, height = max(4, round(place.width)), max(4, round(place.height))
    rows, columns = np.indices((height, width), np.float32)
    slant = (columns / width - rows / height) * 0.5 + 0.5
    sky = pick(rng, ((74, 98, 122), (60, 82, 108), (92, 116, 132), (50, 66, 88)))
    pane = lit(sky, 0.55 + 0.75 * slant + 0.14 * (np.abs(slant - rng.uniform(0.3, 0.7)) < 0.08))
    if rng.random() < 0.45:  # curtains, drawn more or less
        drawn = int(width * rng.uniform(0.15, 0.38))
        cloth = lit(pick(rng, ((236, 230, 214), (222, 196, 170), (196, 210, 214))), 0.82 + 0.1 * np.sin(columns * 1.1))
        pane[:, :drawn], pane[:, width - drawn :] = cloth[:, :drawn], cloth[:, width - drawn :]
    elif rng.random() < 0.3:  # a blind
        pulled = int(height * rng.uniform(0.2, 0.6))
        pane[:pulled] = lit((226, 214, 184), 0.85 + 0.1 * (rows % 6 < 4))[:pulled]
    pane[: height // 14 + 2] = (pane[: height // 14 + 2] * 0.6).astype(np.uint8)
    across, down = style.bars
    for column in np.linspace(0, width - 1, across + 1):
        pane[:, max(0, round(column) - 2) : round(column) + 2] = style.frame
    for row in np.linspace(0, height - 1, down + 1):
        pane[max(0, round(row) - 2) : round(row) + 2] = style.frame
    return pane


def _shadow(canvas: Canvas, x: float, y: float, width: float, depth: float) -> None:
    canvas.shade([(x + 2, y), (x + width, y), (x + width + 3, y + depth), (x + 4, y + depth)], 0.7)


def _shutters(canvas: Canvas, place: Place, colour: Colour, rng: np.random.Generator) -> None:
    wide = place.width * 0.42
    for x in (place.x - wide - 5, place.x + place.width + 5):
        if rng.random() < 0.06:
            continue
        canvas.rectangle(x, place.y, x + wide, place.bottom, tint(colour, 0.7))
        canvas.rectangle(x + 1.5, place.y + 1.5, x + wide - 1.5, place.bottom - 1.5, colour)
        for y in np.arange(place.y + 7, place.bottom - 5, 6):
            canvas.line([(x + 4, y), (x + wide - 4, y)], tint(colour, 0.72))
        _shadow(canvas, x, place.bottom, wide, 4)


def _hood(canvas: Canvas, place: Place, style: WindowStyle) -> None:
    left, right, y = place.x - 14, place.x + place.width + 14, place.y - 8
    if style.hood == "triangle":
        canvas.polygon([(left, y), (place.middle, y - 24), (right, y)], style.trim)
        canvas.polygon([(left + 16, y - 4), (place.middle, y - 16), (right - 16, y - 4)], tint(style.trim, 0.78))
    elif style.hood == "bow":
        canvas.polygon([*oval(place.middle, y, (right - left) / 2, 20, 180, 360)], style.trim)
        canvas.polygon([*oval(place.middle, y - 3, (right - left) / 2 - 10, 11, 180, 360)], tint(style.trim, 0.78))
    else:
        canvas.polygon([(place.middle - 9, y - 8), (place.middle + 9, y - 8), (place.middle + 5, y + 8),
                        (place.middle - 5, y + 8)], style.trim)  # fmt: skip
    canvas.rectangle(left, y - 3, right, y + 3, style.trim)
    _shadow(canvas, left, y + 3, right - left, 5)


def railing(canvas: Canvas, place: Place) -> None:
    """An iron balcony with its slab and the shade below."""
    right = place.x + place.width
    canvas.rectangle(place.x - 4, place.bottom, right + 4, place.bottom + 6, (206, 200, 190))
    _shadow(canvas, place.x - 4, place.bottom + 6, place.width + 8, 9)
    for x in np.arange(place.x, right + 1, 7):
        canvas.line([(x, place.y), (x, place.bottom)], IRON)
    for y, thickness in ((place.y, 3), (place.bottom - 3, 2)):
        canvas.line([(place.x, y), (right, y)], IRON, thickness)


def flower_box(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A box of flowers on the sill."""
    top = place.bottom - 1
    canvas.rectangle(place.x - 4, top, place.x + place.width + 4, top + 11, (126, 84, 58))
    blossom = pick(rng, BLOSSOMS)
    for x in rng.uniform(place.x - 4, place.x + place.width + 4, 16):
        green = (int(rng.integers(50, 90)), int(rng.integers(104, 150)), 58)
        canvas.ellipse(x, top - rng.uniform(-4, 6), 4, 4, green)
    for x in rng.uniform(place.x - 4, place.x + place.width + 4, 9):
        canvas.ellipse(x, top - rng.uniform(-3, 8), 2.8, 2.8, blossom)


def door(canvas: Canvas, place: Place, head: str, colour: Colour, trim: Colour) -> None:
    """A panelled double door in a surround, with steps below and a fanlight above."""
    outline = HEADS[head]
    canvas.polygon(outline(place.grown(11)), trim)
    canvas.polygon(outline(place.grown(7)), tint(trim, 0.84))
    canvas.polygon(outline(place), tint(colour, 0.5))
    light = place.y + place.height * 0.3
    canvas.polygon(outline(Place(place.x + 4, place.y + 4, place.width - 8, place.height * 0.9)), (88, 106, 120), 200)
    for share in (0.25, 0.5, 0.75):
        canvas.line([(place.middle, light), (place.x + place.width * share, place.y)], trim, 2)
    canvas.rectangle(place.x + 2, light, place.x + place.width - 2, place.bottom, colour)
    leaf = place.width / 2
    for x in (place.x, place.middle):
        for top, bottom in ((0.37, 0.62), (0.67, 0.94)):
            upper, lower = place.y + place.height * top, place.y + place.height * bottom
            canvas.rectangle(x + leaf * 0.2, upper, x + leaf * 0.8, lower, tint(colour, 0.72))
            canvas.rectangle(x + leaf * 0.26, upper + 3, x + leaf * 0.8, lower, tint(colour, 1.15))
    canvas.line([(place.middle, light), (place.middle, place.bottom)], tint(colour, 0.5), 2)
    canvas.ellipse(place.middle - 6, place.y + place.height * 0.65, 3, 3, (222, 186, 90))
    for step in range(3):
        y, wide = place.bottom - 12 + step * 6, 10 + step * 9
        canvas.rectangle(
            place.x - wide, y, place.x + place.width + wide, y + 6, mix((206, 200, 190), (120, 116, 112), step / 3)
        )


def shop(canvas: Canvas, place: Place, colour: Colour, rng: np.random.Generator) -> None:
    """A shop window with goods in it, under a striped awning."""
    right = place.x + place.width
    canvas.rectangle(place.x - 5, place.y - 5, right + 5, place.bottom + 4, tint(colour, 0.62))
    canvas.rectangle(place.x, place.y, right, place.bottom, (58, 62, 66), 230)
    for level in (0.62, 0.96):
        y = place.y + place.height * level
        canvas.line([(place.x, y), (right, y)], (150, 120, 88), 4)
        for x in np.arange(place.x + 9, right - 6, 15):
            size = rng.uniform(4, 8)
            canvas.ellipse(x, y - size, size, size * rng.uniform(0.7, 1.2), pick(rng, BLOSSOMS), 235)
    top, low = place.y - 14, place.y + place.height * 0.3
    stripes = int(place.width // 15)
    for stripe in range(stripes):
        x0, x1 = (np.array([stripe, stripe + 1]) / stripes * (place.width + 22) + place.x - 11).tolist()
        shade = colour if stripe % 2 else (246, 240, 228)
        upper = [place.middle + (x - place.middle) * 0.92 for x in (x1, x0)]
        rim = oval((x0 + x1) / 2, low, (x1 - x0) / 2, 6, 0, 180)
        canvas.polygon([(upper[1], top), (upper[0], top), *rim], shade)
    _shadow(canvas, place.x, low + 6, place.width, 12)


def sign(
    canvas: Canvas, text: str, x: float, y: float, height: float, colour: Colour, *, upright: bool = False
) -> None:
    """A board with lettering, centred at (x, y); `upright` stacks the letters."""
    ink = (250, 240, 214) if sum(colour) < 400 else (60, 44, 40)
    font = ImageFont.load_default(height * 0.72)
    lines = list(text) if upright else [text]
    longest = max(font.getlength(line) for line in lines)
    board = Image.new("RGB", (int(longest + height * 0.8), int(height * (len(lines) * 0.86 + 0.24))), colour)
    draw = ImageDraw.Draw(board)
    draw.rectangle((2, 2, board.width - 3, board.height - 3), outline=ink, width=2)
    for number, line in enumerate(lines):
        draw.text((board.width / 2, height * (0.55 + 0.86 * number)), line, ink, font, anchor="mm")
    place = Place(x - board.width / 2, y - board.height / 2, board.width, board.height)
    canvas.texture(_flat(place), np.asarray(board), 60)
    _shadow(canvas, place.x, place.bottom, place.width, 6)
