"""Kinds of buildings as recipes, and the random choices that make each building of a kind different."""

from dataclasses import dataclass

import numpy as np

from lookalike.evaluation.datasets.synthetic.openings import WindowStyle
from lookalike.evaluation.datasets.synthetic.paint import Colour, mix, pick, tint

PALETTES: dict[str, tuple[Colour, ...]] = {
    "brick": ((164, 82, 62), (142, 70, 60), (188, 116, 82), (120, 74, 66), (196, 150, 116)),
    "ashlar": ((206, 194, 168), (184, 176, 164), (216, 186, 146), (168, 170, 172), (222, 208, 178)),
    "stucco": ((236, 196, 128), (226, 150, 124), (164, 196, 176), (238, 222, 190), (150, 178, 206), (216, 170, 186)),
    "clapboard": ((120, 158, 170), (232, 226, 208), (196, 92, 78), (232, 196, 110), (134, 160, 124)),
    "striped": ((150, 92, 76), (96, 118, 110), (126, 108, 128)),
    "tiled": ((58, 118, 150), (70, 138, 120), (196, 130, 74)),
}
ROOF_COLOURS: tuple[Colour, ...] = ((178, 88, 60), (96, 104, 118), (122, 72, 62), (92, 132, 118), (150, 106, 76))
TRIMS: tuple[Colour, ...] = ((240, 232, 214), (222, 212, 190), (250, 246, 236), (198, 186, 164), (226, 202, 160))
PAINTS: tuple[Colour, ...] = (
    (150, 48, 48), (38, 84, 74), (44, 70, 112), (120, 74, 44), (196, 140, 50), (92, 52, 92), (60, 110, 130),
    (90, 100, 60),
)  # fmt: skip
BARS = ((2, 2), (2, 3), (3, 4), (2, 4), (1, 2), (3, 3))


@dataclass(frozen=True)
class Recipe:
    """The choices for a kind of building: bays and floors, walls, roofs, window heads, parts and signs."""

    bays: tuple[int, int]
    floors: tuple[int, int]
    walls: tuple[str, ...]
    roofs: tuple[str, ...]
    heads: tuple[str, ...]
    parts: frozenset[str] = frozenset()
    signs: tuple[str, ...] = ()


def _recipe(bays: tuple[int, int], floors: tuple[int, int], walls: str, roofs: str, heads: str,
            parts: str = "", signs: str = "") -> Recipe:  # fmt: skip
    texts = tuple(text.strip() for text in signs.split("|") if text)
    return Recipe(bays, floors, tuple(walls.split()), tuple(roofs.split()), tuple(heads.split()),
                  frozenset(parts.split()), texts)  # fmt: skip


RECIPES: dict[str, Recipe] = {
    "tower": _recipe((2, 2), (6, 7), "ashlar brick striped", "spire battlements onion", "pointed arch", "clock quoins"),
    "church": _recipe((3, 3), (2, 2), "ashlar striped brick", "steeple", "pointed arch", "rose tall buttress"),
    "townhall": _recipe((5, 5), (3, 3), "ashlar brick", "mansard belfry", "arch segment",
                        "clock strings pilasters flag"),
    "bakery": _recipe((3, 3), (3, 3), "brick stucco", "stepped gable", "flat segment", "shops shutters",
                      "BAKERY|BROOD|PATISSERIE|PANE"),
    "palace": _recipe((7, 7), (3, 3), "stucco ashlar", "balustrade mansard", "flat arch",
                      "hoods pilasters strings balcony"),
    "theatre": _recipe((5, 5), (3, 3), "stucco ashlar", "pediment dome", "arch", "columns strings",
                       "OPERA|ODEON|THEATRE|LYRIC"),
    "station": _recipe((7, 7), (2, 2), "brick striped", "barrel dome", "arch segment", "arcade clock quoins",
                       "CENTRAL|STATION|GARE DU SUD"),
    "library": _recipe((5, 5), (2, 2), "ashlar", "pediment balustrade", "flat arch", "columns tall",
                       "LIBRARY|MUSEUM|ARCHIVE"),
    "hotel": _recipe((5, 6), (5, 5), "stucco brick tiled", "mansard balustrade", "flat segment",
                     "balcony hoods strings upright",
                     "HOTEL|RITZ|ASTORIA"),
    "castle": _recipe((4, 5), (3, 3), "ashlar", "battlements", "pointed arch round", "turrets sparse flag"),
    "inn": _recipe((4, 4), (3, 3), "stucco", "gable", "flat", "timber flowers", "THE SWAN|RED LION|OLD INN"),
    "villa": _recipe((4, 5), (2, 2), "clapboard stucco", "hip gable", "flat segment", "shutters porch flowers"),
    "mill": _recipe((6, 6), (4, 4), "brick", "sawtooth stepped", "segment flat", "strings chimney quoins",
                    "COTTON MILL|BREWERY|IRON WORKS"),
    "school": _recipe((6, 6), (2, 2), "brick stucco", "hip belfry", "flat arch", "clock quoins flag",
                      "SCHOOL|LYCEUM|ACADEMY"),
    "chapel": _recipe((3, 3), (2, 2), "stucco clapboard", "steeple gable", "arch round", "rose flowers"),
    "market": _recipe((5, 5), (2, 2), "tiled striped brick", "barrel sawtooth", "arch", "shops strings",
                      "MARKET|HALLEN|BAZAAR"),
    "baths": _recipe((5, 5), (2, 2), "tiled", "dome onion", "arch round", "arcade strings", "HAMMAM|BATHS"),
    "cottage": _recipe((3, 3), (2, 2), "stucco brick", "gable hip", "segment flat", "flowers shutters ivy"),
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The choices made for a building; only bricks, curtains and the like are still random."""

    bays: int
    floors: int
    wall: str
    wall_colour: Colour
    roof: str
    roof_colour: Colour
    trim: Colour
    paint: Colour
    window: WindowStyle
    parts: frozenset[str]
    sign: str | None


def draw_style(recipe: Recipe, rng: np.random.Generator) -> Style:
    """A random building of this kind."""
    wall = pick(rng, recipe.walls)
    base = pick(rng, PALETTES[wall])
    colour = tint(mix(base, pick(rng, PALETTES[wall]), 0.25), rng.uniform(0.93, 1.05))
    trim, paint = pick(rng, TRIMS), pick(rng, PAINTS)
    parts = set(recipe.parts)
    if rng.random() < 0.2:
        parts.add("ivy")
    window = WindowStyle(
        head=pick(rng, recipe.heads),
        bars=pick(rng, BARS),
        frame=pick(rng, ((246, 244, 238), (246, 244, 238), tint(paint, 0.8), (70, 60, 54))),
        trim=trim,
        shutters=pick(rng, PAINTS) if "shutters" in parts else None,
        hood=pick(rng, ("triangle", "bow", "key")) if "hoods" in parts else pick(rng, ("none", "none", "key")),
        flowers="flowers" in parts,
    )
    return Style(
        bays=int(rng.integers(recipe.bays[0], recipe.bays[1] + 1)),
        floors=int(rng.integers(recipe.floors[0], recipe.floors[1] + 1)),
        wall=wall,
        wall_colour=colour,
        roof=pick(rng, recipe.roofs),
        roof_colour=pick(rng, ROOF_COLOURS),
        trim=trim,
        paint=paint,
        window=window,
        parts=frozenset(parts),
        sign=pick(rng, recipe.signs) if recipe.signs else None,
    )
