"""Distractors: pictures without any of the benchmark's buildings."""

from collections.abc import Callable

import cv2
import numpy as np

from lookalike.evaluation.datasets.synthetic.buildings import build
from lookalike.evaluation.datasets.synthetic.paint import (
    WALLS,
    Canvas,
    Pixels,
    floats,
    masonry,
    mix,
    noise,
    pick,
    pixels,
    roofing,
    tint,
)
from lookalike.evaluation.datasets.synthetic.styles import PAINTS, PALETTES, RECIPES, ROOF_COLOURS, draw_style
from lookalike.evaluation.datasets.synthetic.surroundings import GROUNDS, LIGHTS, THINGS, Light, hills, sky
from lookalike.evaluation.datasets.synthetic.views import SIZES, Shot, photograph

PictureSize = tuple[int, int]


def _open_sky(size: PictureSize, rng: np.random.Generator, share: float) -> tuple[Canvas, Light]:
    """A canvas with sky down to `share` of its height, and the light it is in."""
    light = LIGHTS[pick(rng, tuple(LIGHTS))]
    width, height = size
    rows = np.arange(height, dtype=np.float32)[:, None] / height
    elevation = np.broadcast_to((share - rows) * np.float32(0.9), (height, width))
    return Canvas(sky(rng, elevation, light)), light


def fields(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """Striped fields running to the hills, with trees along them."""
    width, height = size
    share = rng.uniform(0.3, 0.5)
    canvas, light = _open_sky(size, rng, share)
    horizon = height * share
    hills(canvas, rng, np.full(width, horizon, np.float32), light)
    crops = ((176, 186, 84), (214, 186, 92), (122, 156, 70), (150, 120, 84), (96, 140, 80), (196, 150, 180))
    vanish = width * rng.uniform(0.2, 0.8)
    edges = np.sort(rng.uniform(-1.6, 2.6, 9)) * width
    for left, right in zip([-4 * width, *edges], [*edges, 5 * width], strict=True):
        colour = mix(pick(rng, crops), light.horizon, 0.12)
        canvas.polygon(
            [(vanish, horizon), (left, height + 1), (right, height + 1)], tint(colour, float(np.mean(light.gain)))
        )
        for x in np.linspace(left, right, 12)[1:-1]:
            canvas.line([(vanish, horizon), (x, height)], tint(colour, 0.86 * float(np.mean(light.gain))))
    for depth in np.sort(rng.uniform(0.02, 0.5, 7)):
        THINGS["tree"](canvas, rng.uniform(0, width), horizon + (height - horizon) * depth, 60 * depth + 5, rng, light)
    return canvas.rgb


def sea(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """Water with sails and the sun or moon over it."""
    width, height = size
    share = rng.uniform(0.4, 0.6)
    canvas, light = _open_sky(size, rng, share)
    horizon = int(height * share)
    x, radius = rng.uniform(0.2, 0.8) * width, rng.uniform(16, 34)
    canvas.ellipse(x, horizon * rng.uniform(0.25, 0.8), radius, radius, mix(light.cloud, (255, 236, 170), 0.6))
    rows = np.arange(height - horizon, dtype=np.float32)[:, None] + 1
    columns = np.arange(width, dtype=np.float32)
    waves = np.sin(200 / rows + 9 * noise(rng, height - horizon, width, 60)) + 0.5 * np.sin(
        columns / (2 + rows / 9) + 60 / rows
    )
    glint = np.exp(-(((columns - x) / (20 + rows * 0.6)) ** 2)) * (waves > 0.3)
    water = floats(mix(mix((40, 96, 120), light.zenith, 0.5), light.horizon, 0.2))
    colour = water * (1 + 0.07 * waves)[..., None] + glint[..., None] * floats((110, 96, 60))
    canvas.rgb[horizon:] = pixels(colour)
    for _ in range(int(rng.integers(2, 6))):
        depth = rng.uniform(0.04, 0.6)
        u, foot, tall = rng.uniform(0, width), horizon + (height - horizon) * depth, 30 + 150 * depth
        hull = tint(pick(rng, PAINTS), 0.9)
        canvas.polygon([(u - tall * 0.4, foot - 4), (u + tall * 0.4, foot - 4), (u + tall * 0.28, foot + tall * 0.1),
                        (u - tall * 0.28, foot + tall * 0.1)], hull)  # fmt: skip
        sail = pick(rng, ((250, 246, 236), (214, 96, 72), (236, 196, 110)))
        canvas.polygon([(u, foot - 8), (u, foot - tall), (u + tall * 0.38, foot - 8)], sail)
        canvas.polygon([(u - 4, foot - 8), (u - 4, foot - tall * 0.8), (u - tall * 0.3, foot - 8)], tint(sail, 0.86))
    return canvas.rgb


def forest(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """Rows of trees at several depths."""
    width, height = size
    canvas, light = _open_sky(size, rng, 0.45)
    canvas.rgb[int(height * 0.42) :] = pixels(floats((104, 128, 70)) * floats(light.gain))
    for depth in np.linspace(0.05, 1.0, 6):
        for x in rng.uniform(0, width, max(4, int(11 * (1.2 - depth)))):
            THINGS["tree"](canvas, x, height * (0.44 + 0.55 * depth), 12 + 34 * depth, rng, light)
    return canvas.rgb


def meadow(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """Flowers from above."""
    width, height = size
    colour = floats(pick(rng, ((92, 136, 66), (120, 146, 74), (70, 116, 74))))
    light = 1 + 0.16 * noise(rng, height, width, 60) + 0.12 * noise(rng, height, width, 4, 2)
    canvas = Canvas(pixels(colour * light[..., None]))
    blossoms = [
        pick(rng, ((236, 80, 92), (250, 214, 90), (250, 248, 240), (160, 110, 200), (244, 150, 110))) for _ in range(3)
    ]
    for y in np.sort(rng.uniform(0, height, int(rng.integers(90, 190)))):
        x, size_here, blossom = rng.uniform(0, width), rng.uniform(4, 9) * (0.5 + y / height), pick(rng, blossoms)
        petals = int(rng.integers(5, 8))
        for petal in range(petals):
            angle = 2 * np.pi * petal / petals
            canvas.ellipse(
                x + size_here * np.cos(angle),
                y + size_here * np.sin(angle) * 0.8,
                size_here * 0.62,
                size_here * 0.5,
                blossom,
            )
        canvas.ellipse(x, y, size_here * 0.42, size_here * 0.36, (240, 190, 60))
    return canvas.rgb


def pattern(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """A wall or a roof alone, at an angle."""
    width, height = size
    kind = pick(rng, (*WALLS, "roof", "mosaic"))
    if kind == "roof":
        wall = roofing(rng, height * 2, width * 2, pick(rng, ROOF_COLOURS))
    elif kind == "mosaic":
        wall = masonry(rng, height * 2, width * 2, pick(rng, PAINTS), 36, 36, 0.3)
    else:
        wall = WALLS[kind](rng, height * 2, width * 2, pick(rng, PALETTES[kind]))
    corners = np.asarray([[0, 0], [2 * width, 0], [2 * width, 2 * height], [0, 2 * height]], np.float32)
    reach = rng.uniform(0.05, 0.9, (4, 2)) * (-width / 2, -height / 2)
    target = corners / 2 + reach * np.asarray([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    plane = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
    return np.asarray(cv2.warpPerspective(wall, plane, size, flags=cv2.INTER_AREA), np.uint8)


def circles(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """An abstract painting of rings."""
    width, height = size
    ground = pick(rng, ((240, 230, 210), (46, 52, 70), (222, 200, 170), (200, 214, 210)))
    light = 1 + 0.05 * noise(rng, height, width, 100) + 0.03 * noise(rng, height, width, 3, 1)
    canvas = Canvas(pixels(floats(ground) * light[..., None]))
    for _ in range(int(rng.integers(9, 22))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(14, 110)
        for ring in np.linspace(1, 0.15, int(rng.integers(1, 6))):
            canvas.ellipse(x, y, radius * ring, radius * ring, pick(rng, (*PAINTS, ground, (236, 196, 96))))
    for _ in range(int(rng.integers(0, 7))):
        ends = rng.uniform(0, 1, (2, 2)) * (width, height)
        canvas.line([(float(u), float(v)) for u, v in ends], pick(rng, PAINTS), rng.uniform(2, 8))
    return canvas.rgb


def house(size: PictureSize, rng: np.random.Generator) -> Pixels:
    """A building that is photographed only once: the distractor most similar to a positive."""
    del size  # A photograph chooses its own.
    recipe = RECIPES[pick(rng, tuple(RECIPES))]
    things = tuple(pick(rng, tuple(THINGS)) for _ in range(int(rng.integers(0, 4))))
    shot = Shot(
        rng.uniform(-0.6, 0.6), rng.uniform(0.6, 1), rng.uniform(1.7, 5), light=pick(rng, tuple(LIGHTS)), things=things
    )
    return photograph(build(draw_style(recipe, rng), rng), pick(rng, tuple(GROUNDS)), shot, rng).rgb


LANDSCAPES: dict[str, Callable[[PictureSize, np.random.Generator], Pixels]] = {
    "house": house,
    "fields": fields,
    "sea": sea,
    "pattern": pattern,
    "forest": forest,
    "circles": circles,
    "meadow": meadow,
}


def landscape(kind: str, rng: np.random.Generator) -> Pixels:
    """One picture of this kind."""
    return LANDSCAPES[kind](pick(rng, SIZES), rng)
