"""A synthetic benchmark in the VGG layout: several photographs of each of many buildings, and other pictures."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.synthetic.buildings import Building, build
from lookalike.evaluation.datasets.synthetic.landscapes import LANDSCAPES, landscape
from lookalike.evaluation.datasets.synthetic.paint import Pixels, pick
from lookalike.evaluation.datasets.synthetic.styles import RECIPES, draw_style
from lookalike.evaluation.datasets.synthetic.surroundings import GROUNDS, LIGHTS, THINGS
from lookalike.evaluation.datasets.synthetic.views import Shot, View, photograph
from lookalike.types import Box

GRADES = ("good", "ok", "junk")
QUERIES = 2
"""Queries for each building, from its first good views."""
GOOD, OK = 0.65, 0.25
"""The least visible shares of the front. VGG grades a picture ok where more than a quarter of the object is visible."""


@dataclass(frozen=True)
class Photo:
    """A view of a building that has been written: its name, the box of the front, its grade."""

    name: str
    box: Box
    grade: str


def render(folder: Path, buildings: int = 12, views: int = 6, seed: int = 0, distractors: int = 24) -> None:
    """Write `folder`/images/*.jpg and `folder`/groundtruth/*.txt, as the Oxford and Paris buildings are laid out.

    The same arguments write the same bytes. A building's pictures depend on `seed` alone, so asking for more buildings,
    views or distractors leaves the others as they are. Raises EvaluationError where the two folders hold other files.
    """
    if min(buildings, views) < 1 or distractors < 0:
        raise EvaluationError(
            f"{buildings} buildings, {views} views, {distractors} distractors: the first two are at least 1"
        )
    images, truth = folder / "images", folder / "groundtruth"
    names, kinds = _names(buildings), [tuple(LANDSCAPES)[number % len(LANDSCAPES)] for number in range(distractors)]
    scenery = [f"{kind}_{kinds[:number].count(kind) + 1:06d}" for number, kind in enumerate(kinds)]
    photos = [_photo_name(name, view) for name in names for view in range(views)]
    _claim(images, {f"{name}.jpg" for name in photos + scenery})
    queries = [f"{name}_{query + 1}" for name in names for query in range(min(QUERIES, views))]
    _claim(truth, {f"{query}_{part}.txt" for query in queries for part in ("query", *GRADES)})
    for number, name in enumerate(names):
        _write_truth(truth, name, list(_write_views(images, name, number, views, seed)))
    for number, (kind, name) in enumerate(zip(kinds, scenery, strict=True)):
        _write_photo(images, name, landscape(kind, np.random.default_rng([seed, 2, number])))


def _names(buildings: int) -> list[str]:
    """tower, church, …, and tower2 when every kind has been built."""
    kinds = tuple(RECIPES)
    rounds = (divmod(number, len(kinds)) for number in range(buildings))
    return [kinds[kind] + (str(turn + 1) if turn else "") for turn, kind in rounds]


def _photo_name(building: str, view: int) -> str:
    return f"{building}_{view + 1:06d}"


def _claim(folder: Path, own: set[str]) -> None:
    """Make the folder; raises EvaluationError where it holds other files, which would change the benchmark."""
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in own)
    if others:
        raise EvaluationError(f"{folder} holds other files ({others[0]!r}); choose an empty folder")


def _write_views(images: Path, name: str, number: int, views: int, seed: int) -> Iterator[Photo]:
    """Photograph a building, and grade each view by the visible share of the front."""
    rng = np.random.default_rng([seed, 0, number])
    building = build(draw_style(RECIPES[name.rstrip("0123456789")], rng), rng)
    place = pick(rng, tuple(GROUNDS))
    for index in range(views):
        view = _take(building, place, index, np.random.default_rng([seed, 1, number, index]))
        photo = _photo_name(name, index)
        _write_photo(images, photo, view.rgb)
        yield Photo(photo, view.box, "good" if view.visible >= GOOD else "ok" if view.visible >= OK else "junk")


def _take(building: Building, place: str, index: int, rng: np.random.Generator) -> View:
    """View `index` of a building; the first QUERIES views, which become queries, are repeated until they are good."""
    for _ in range(20):
        view = photograph(building, place, _shot(index, rng), rng)
        if index >= QUERIES or view.visible >= GOOD:
            return view
    return photograph(building, place, Shot(0.1, 0.8), rng)


def _shot(index: int, rng: np.random.Generator) -> Shot:
    """By turns: from the left, from the right, from afar, close to a part, past obstacles, and mostly hidden."""
    side = 1 if rng.random() < 0.5 else -1
    light, roll, eye = pick(rng, tuple(LIGHTS)), float(rng.normal(0, 0.03)), float(rng.uniform(1.7, 4))
    things = tuple(pick(rng, tuple(THINGS)) for _ in range(int(rng.integers(0, 4))))
    aim = (float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.05, 0.1)))
    match index % 6:
        case 0:
            return Shot(-rng.uniform(0.05, 0.5), rng.uniform(0.75, 0.95), eye, roll, aim, light, things)
        case 1:
            return Shot(rng.uniform(0.3, 0.75), rng.uniform(0.7, 0.95), eye, roll, aim, light, things)
        case 2:
            return Shot(side * rng.uniform(0.1, 0.7), rng.uniform(0.35, 0.5), eye * 1.8, roll, aim, light, things)
        case 3:
            aside = (side * rng.uniform(0.1, 0.3), rng.uniform(-0.2, 0.25))
            return Shot(side * rng.uniform(0, 0.6), rng.uniform(1.5, 2.0), eye, roll, aside, light)
        case 4:
            return Shot(side * rng.uniform(0.5, 0.95), rng.uniform(0.6, 0.9), eye, roll, aim, light, things,
                        rng.uniform(0.3, 0.6))  # fmt: skip
        case _:
            return Shot(side * rng.uniform(0.1, 0.8), rng.uniform(0.6, 1.0), eye, roll, aim, light, things, 0.8)


def _write_photo(images: Path, name: str, rgb: Pixels) -> None:
    """Write a JPEG; an equal file is not written again, so that a second run finds unchanged files."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=88)
    _write(images / f"{name}.jpg", buffer.getvalue())


def _write(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def _write_truth(folder: Path, name: str, photos: list[Photo]) -> None:
    """The queries of a building share its lists, and their own photos are among the good ones, as in the original."""
    queries = [photo for photo in photos if photo.grade == "good"][:QUERIES]
    for number, query in enumerate(queries, start=1):
        box = query.box
        corners = " ".join(f"{corner:.6f}" for corner in (box.left, box.top, box.right, box.bottom))
        _write(folder / f"{name}_{number}_query.txt", f"{query.name} {corners}\n".encode())
        for grade in GRADES:
            lines = "".join(f"{photo.name}\n" for photo in photos if photo.grade == grade)
            _write(folder / f"{name}_{number}_{grade}.txt", lines.encode())
