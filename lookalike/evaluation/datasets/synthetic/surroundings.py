"""The surroundings of a building: light, sky, hills, ground, and the trees, cars and people in front of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike.evaluation.datasets.synthetic.paint import (
    Canvas,
    Colour,
    Pixels,
    blend,
    floats,
    mix,
    noise,
    oval,
    pick,
    pixels,
    tint,
)

Plane = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Light:
    """A time of day: colours of sky and clouds, a gain for all colours, the strength of lamps and of shadows."""

    zenith: Colour
    horizon: Colour
    gain: tuple[float, float, float]
    cloud: Colour
    lamps: float = 0.0
    shadow: float = 0.72


LIGHTS: dict[str, Light] = {
    "noon": Light((84, 150, 216), (206, 230, 242), (1.04, 1.02, 1.0), (252, 252, 252)),
    "morning": Light((120, 172, 220), (246, 230, 206), (1.06, 1.0, 0.92), (255, 244, 230)),
    "evening": Light((92, 118, 172), (252, 206, 148), (1.1, 0.93, 0.76), (255, 214, 180), 0.15, 0.62),
    "overcast": Light((166, 176, 186), (218, 220, 220), (0.9, 0.92, 0.95), (236, 238, 240), 0.1, 0.88),
    "dusk": Light((58, 62, 118), (238, 156, 128), (0.74, 0.64, 0.7), (206, 140, 150), 0.65, 0.8),
    "night": Light((16, 22, 52), (54, 68, 112), (0.5, 0.52, 0.68), (70, 78, 116), 0.95, 0.85),
}


def sky(rng: np.random.Generator, elevation: Plane, light: Light) -> Pixels:
    """The sky for rays of this elevation (height, width), in radians: a gradient, clouds, stars where it is dark."""
    height, width = elevation.shape
    small = elevation[::2, ::2]  # a sky has no fine detail
    up = np.clip(small / 0.7, 0, 1)[..., None] ** np.float32(0.75)
    colour = floats(light.horizon) + (floats(light.zenith) - floats(light.horizon)) * up
    banks = cv2.resize(noise(rng, small.shape[0], small.shape[1] // 2, 45, 4), small.shape[::-1])
    thick = np.clip((banks - rng.uniform(0.0, 0.7)) * 1.7, 0, 0.9)[..., None] * np.clip(up * 3, 0, 1)
    colour += (floats(light.cloud) - colour) * thick
    rgb = np.asarray(cv2.resize(pixels(colour), (width, height)), np.uint8)
    if light.lamps > 0.9:
        rows, columns = rng.integers(0, height, 160), rng.integers(0, width, 160)
        rgb[rows, columns] = np.maximum(rgb[rows, columns], rng.integers(90, 210, (160, 1)))
    return rgb


def hills(canvas: Canvas, rng: np.random.Generator, horizon: Plane, light: Light) -> None:
    """Three ridges, hazier with distance; `horizon` (width,) is the y where the ground ends."""
    columns = np.arange(horizon.size, dtype=np.float32)
    green = pick(rng, ((92, 124, 86), (104, 120, 110), (110, 110, 84)))
    for far in (0.72, 0.5, 0.3):
        rise = 12 + 30 * far + (14 + 26 * far) * noise(rng, 1, horizon.size, 170, 2)[0]
        colour = mix(_gained(green, light), light.horizon, far)
        tops = list(zip(columns.tolist(), (horizon - np.maximum(rise, 2)).tolist(), strict=True))
        feet = [(float(columns[-1]), float(horizon[-1]) + 3), (0.0, float(horizon[0]) + 3)]
        canvas.polygon([*tops, *feet], colour)


def _gained(colour: Colour, light: Light) -> Colour:
    red, green, blue = (int(min(255, value * gain)) for value, gain in zip(colour, light.gain, strict=True))
    return red, green, blue


def ground(rng: np.random.Generator, kind: str, along: Plane, away: Plane, light: Light) -> Pixels:
    """The ground at (x, z) metres for every pixel: paving, cobbles, grass or sand, fading into the haze."""
    far = np.clip(np.hypot(along, away) / 110, 0, 1)[..., None] ** np.float32(0.8)
    near = np.clip(1 - np.abs(away) / 45, 0, 1)
    shade = GROUNDS[kind](along, away) * near
    base = floats(pick(rng, GROUND_COLOURS[kind]))
    height, width = along.shape
    grain = 1 + 0.05 * noise(rng, height, width, 40) + 0.03 * noise(rng, height, width, 2, 1)
    colour = base * (1 + shade)[..., None] * grain[..., None] * floats(light.gain)
    return pixels(colour + (floats(light.horizon) - colour) * far * np.float32(0.7))


def _paving(along: Plane, away: Plane) -> Plane:
    joint = (np.abs(along / 1.6 % 1 - 0.5) > 0.46) | (np.abs(away / 1.6 % 1 - 0.5) > 0.46)
    checker = (np.floor(along / 1.6) + np.floor(away / 1.6)) % 2
    return np.asarray(0.12 * checker - 0.3 * joint, np.float32)


def _cobbles(along: Plane, away: Plane) -> Plane:
    fan = along + 0.35 * np.sin(away * 1.7)
    return np.asarray(0.16 * np.sin(fan * 11) * np.sin(away * 10 + np.floor(fan * 1.75) * 1.6), np.float32)


def _grass(along: Plane, away: Plane) -> Plane:
    path = np.abs(along + 1.2 * np.sin(away * 0.25)) < 1.5
    return np.asarray(0.1 * np.sin(along * 3.1 + 2 * np.sin(away)) * np.sin(away * 2.3) + 0.5 * path, np.float32)


def _street(along: Plane, away: Plane) -> Plane:
    kerb, dashes = (away > -5.4) & (away < -5.0), (np.abs(away + 8.2) < 0.1) & (along % 3 < 1.7)
    walk = away > -5.2
    slabs = (np.abs(along % 1.2 - 0.6) > 0.57) & walk
    return np.asarray(0.5 * walk + 0.35 * kerb + 0.9 * dashes - 0.25 * slabs, np.float32)


GROUNDS: dict[str, Callable[[Plane, Plane], Plane]] = {
    "paving": _paving,
    "cobbles": _cobbles,
    "grass": _grass,
    "street": _street,
}
GROUND_COLOURS: dict[str, tuple[Colour, ...]] = {
    "paving": ((188, 176, 158), (170, 168, 166), (196, 164, 140)),
    "cobbles": ((140, 132, 126), (156, 140, 122)),
    "grass": ((112, 150, 76), (130, 152, 84), (98, 138, 82)),
    "street": ((112, 112, 116), (126, 120, 116)),
}


def tree(canvas: Canvas, x: float, foot: float, metre: float, rng: np.random.Generator, light: Light) -> None:
    """A tree 5 to 9 metres high with its foot at (x, foot); `metre` is a metre there in pixels."""
    tall = rng.uniform(5, 9) * metre
    green = _gained(pick(rng, ((74, 112, 56), (96, 124, 52), (62, 100, 66), (150, 120, 48), (172, 96, 50))), light)
    bark = _gained((96, 72, 54), light)
    thick = tall * 0.035
    canvas.polygon([(x - thick, foot), (x - thick * 0.6, foot - tall * 0.6), (x + thick * 0.6, foot - tall * 0.6),
                    (x + thick, foot)], bark)  # fmt: skip
    if rng.random() < 0.3:
        _conifer(canvas, x, foot, tall, _gained((58, 104, 74), light))
        return
    half, middle = tall * rng.uniform(0.22, 0.34), foot - tall * 0.66
    leaves = int(np.clip(tall * 0.55, 60, 320))
    angles, reach = rng.uniform(0, 2 * np.pi, leaves), np.sqrt(rng.uniform(0, 1, leaves))
    spots = np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
    spots = spots[
        np.argsort(spots[:, 0] + spots[:, 1])[::-1]
    ]  # the far lower right first: light comes from the upper left
    for dx, dy in spots.tolist():
        light_here = 0.95 - 0.24 * (dx + dy) + float(rng.uniform(-0.12, 0.12))
        size = half * float(rng.uniform(1.2, 2.7)) / leaves**0.5
        canvas.ellipse(x + dx * half, middle + dy * tall * 0.34, size, size * 0.9, tint(green, light_here))


def _conifer(canvas: Canvas, x: float, foot: float, tall: float, green: Colour) -> None:
    for tier in range(5):
        low, half = foot - tall * (0.12 + 0.17 * tier), tall * (0.24 - 0.04 * tier)
        peak = (x, low - tall * 0.3)
        canvas.polygon([(x - half, low), peak, (x + half, low)], tint(green, 0.75 + 0.07 * tier))
        canvas.polygon([(x - half, low), peak, (x - half * 0.1, low)], tint(green, 0.95 + 0.07 * tier))


def person(canvas: Canvas, x: float, foot: float, metre: float, rng: np.random.Generator, light: Light) -> None:
    """A person in a coat, sometimes with an umbrella."""
    tall = rng.uniform(1.55, 1.85) * metre
    coats = ((168, 60, 60), (56, 74, 110), (214, 172, 80), (70, 100, 80), (60, 56, 60), (196, 190, 180))
    coat = _gained(pick(rng, coats), light)
    legs, skin = (
        _gained((52, 50, 60), light),
        _gained(pick(rng, ((232, 188, 156), (168, 116, 84), (110, 76, 58))), light),
    )
    stride = tall * rng.uniform(0.05, 0.14)
    for step in (-stride, stride):
        canvas.line([(x, foot - tall * 0.45), (x + step, foot)], legs, tall * 0.09)
    canvas.polygon([(x - tall * 0.09, foot - tall * 0.82), (x + tall * 0.09, foot - tall * 0.82),
                    (x + tall * 0.15, foot - tall * 0.34), (x - tall * 0.15, foot - tall * 0.34)], coat)  # fmt: skip
    canvas.ellipse(x, foot - tall * 0.9, tall * 0.075, tall * 0.09, skin)
    hair = _gained(pick(rng, ((60, 44, 34), (30, 28, 30), (178, 130, 70), (190, 186, 180))), light)
    canvas.polygon(oval(x, foot - tall * 0.92, tall * 0.085, tall * 0.09, 180, 360), hair)
    if rng.random() < 0.2:
        top = foot - tall * 1.12
        canvas.line([(x + tall * 0.12, foot - tall * 0.6), (x + tall * 0.12, top)], legs, tall * 0.03)
        shade = _gained(pick(rng, coats), light)
        canvas.polygon(oval(x + tall * 0.12, top + tall * 0.02, tall * 0.36, tall * 0.22, 180, 360), shade)


def car(canvas: Canvas, x: float, foot: float, metre: float, rng: np.random.Generator, light: Light) -> None:
    """A small car from the side."""
    paints = ((196, 52, 48), (64, 110, 160), (232, 226, 214), (230, 180, 62), (74, 78, 84), (110, 160, 140))
    paint = _gained(pick(rng, paints), light)
    long, tall, way = 3.9 * metre, 1.5 * metre, 1 if rng.random() < 0.5 else -1

    def at(u: float, v: float) -> tuple[float, float]:
        return x + way * (u - 0.5) * long, foot - v * tall

    canvas.shade(oval(x, foot, long * 0.52, tall * 0.1), 0.5)
    roof = [at(0.2, 0.56), at(0.3, 0.94), at(0.38, 1.0), at(0.6, 1.0), at(0.68, 0.93), at(0.8, 0.6)]
    canvas.polygon([at(0.02, 0.2), at(0.03, 0.52), *roof, at(0.97, 0.5), at(0.99, 0.2)], paint)
    canvas.polygon([at(0.26, 0.6), at(0.34, 0.92), at(0.49, 0.92), at(0.49, 0.6)], _gained((150, 178, 196), light))
    canvas.polygon([at(0.52, 0.6), at(0.52, 0.92), at(0.63, 0.92), at(0.73, 0.6)], _gained((130, 160, 182), light))
    canvas.line([at(0.03, 0.42), at(0.97, 0.42)], tint(paint, 0.7), metre * 0.05)
    canvas.ellipse(*at(0.96, 0.44), metre * 0.09, metre * 0.09, (252, 240, 190), 255)
    for wheel in (0.21, 0.79):
        canvas.ellipse(*at(wheel, 0.2), tall * 0.22, tall * 0.22, (36, 36, 40))
        canvas.ellipse(*at(wheel, 0.2), tall * 0.11, tall * 0.11, _gained((180, 182, 186), light))


def bus(canvas: Canvas, x: float, foot: float, metre: float, rng: np.random.Generator, light: Light) -> None:
    """A double-decker bus."""
    paint = _gained(pick(rng, ((190, 44, 44), (46, 96, 132), (226, 170, 54), (70, 120, 84))), light)
    long, tall = 9.5 * metre, 4.3 * metre
    left, top = x - long / 2, foot - tall
    canvas.shade(oval(x, foot, long * 0.52, metre * 0.2), 0.5)
    canvas.rectangle(left, top, left + long, foot - metre * 0.4, paint)
    canvas.rectangle(left, top + tall * 0.44, left + long, top + tall * 0.52, _gained((244, 234, 210), light))
    for deck in (0.12, 0.56):
        for number in range(6):
            u = left + long * (0.03 + 0.161 * number)
            canvas.rectangle(
                u, top + tall * deck, u + long * 0.14, top + tall * (deck + 0.24), _gained((132, 164, 186), light), 200
            )
    for wheel in (0.2, 0.78):
        canvas.ellipse(left + long * wheel, foot - metre * 0.45, metre * 0.5, metre * 0.5, (34, 34, 38))
        canvas.ellipse(left + long * wheel, foot - metre * 0.45, metre * 0.24, metre * 0.24, (170, 172, 176))


def lamp(canvas: Canvas, x: float, foot: float, metre: float, rng: np.random.Generator, light: Light) -> None:
    """A street lamp with one or two lanterns."""
    iron, top = _gained((52, 60, 58), light), foot - 4.2 * metre
    canvas.line([(x, foot), (x, top)], iron, metre * 0.13)
    canvas.rectangle(x - metre * 0.18, foot - metre * 0.5, x + metre * 0.18, foot, iron)
    arms = (0.0,) if rng.random() < 0.5 else (-0.6, 0.6)
    canvas.line([(x + arms[0] * metre, top), (x + arms[-1] * metre, top)], iron, metre * 0.1)
    for arm in arms:
        u = x + arm * metre
        canvas.polygon([(u - metre * 0.2, top - metre * 0.5), (u + metre * 0.2, top - metre * 0.5),
                        (u + metre * 0.12, top), (u - metre * 0.12, top)], (255, 240, 190), 255)  # fmt: skip
        canvas.polygon(
            [(u - metre * 0.26, top - metre * 0.5), (u, top - metre * 0.8), (u + metre * 0.26, top - metre * 0.5)], iron
        )


Thing = Callable[[Canvas, float, float, float, np.random.Generator, Light], None]
THINGS: dict[str, Thing] = {"tree": tree, "person": person, "car": car, "bus": bus, "lamp": lamp}


def lamplight(rgb: Pixels, glow: NDArray[np.uint8], light: Light) -> Pixels:
    """Lit windows and lamps with a halo, as strong as the light of the day is weak."""
    if light.lamps <= 0.05:
        return rgb
    strength = (glow.astype(np.float32) * light.lamps).astype(np.uint8)
    warm = blend(rgb, np.broadcast_to(np.asarray((255, 214, 132), np.uint8), rgb.shape), strength // 5 * 4)
    small = cv2.resize(strength, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    halo = cv2.resize(cv2.GaussianBlur(small, (0, 0), 4), strength.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return pixels(warm + halo[..., None] * floats((0.3, 0.22, 0.1)))
