"""Photos into which parts of façades are pasted, and other views of the same parts as queries: one folder, one truth.

Two photos of a landmark are *views* of a thing where keypoints confirm a plane-to-plane map: the part that the matches
cover in one is pasted, the same part of the other is the query. A pasted part covers 2 to 20 % of its photo, is scaled,
stretched and blurred a little, and the photo is stored as a JPEG. Everything is decided by the seed.
"""

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lookalike.search.rerank.keypoints import Keypoints, detect
from lookalike.search.rerank.matching import verify
from lookalike.types import Box
from lookalike.utils.cores import cores

FEATURES, INLIERS = 1000, 25
"""Keypoints of a view, and the matches that make two photos views of one thing."""
SMALLEST_PART = 160
"""The shorter side of a part in its own photo, in pixels: what is pasted is reduced, never enlarged by much."""
USES = 6
"""How often a photo of a landmark is used at most, so that no view decides the figures."""
SHARES = (0.02, 0.05, 0.10, 0.20)
"""The bounds of the shares of a photo's area that a pasted part covers."""


@dataclass(frozen=True)
class View:
    """A part of a photo."""

    photo: str
    box: Box

    def cut(self, folder: Path) -> Image.Image:
        """The part, upright."""
        corners = (self.box.left, self.box.top, self.box.right, self.box.bottom)
        with Image.open(folder / self.photo) as image:
            left, top, right, bottom = (round(value) for value in corners)
            return image.convert("RGB").crop((left, top, right, bottom))


@dataclass(frozen=True)
class Pasted:
    """A query, and where in which photo another view of it is; `landmark` is what both show, `share` that of the area.

    Photos with other views of the landmark are neither right nor wrong.
    """

    query: str
    key: str
    box: Box
    share: float
    landmark: str


@dataclass(frozen=True)
class Made:
    """The folder of the photos, that of the queries, and the truth."""

    photos: Path
    queries: Path
    truth: tuple[Pasted, ...]


def made(photos: Path, views: Path, folder: Path, images: int, objects: int, seed: int = 0, side: int = 0) -> Made:
    """Make the set in `folder`, or read it where it is there; `side` enlarges photos to this longest side."""
    place = folder / f"pasted-{images}-{objects}-{seed}-{side}"
    truth = place / "truth.json"
    if not truth.is_file():
        shutil.rmtree(place, ignore_errors=True)
        _make(photos, views, place, images, objects, seed, side, _pairs(views, folder / "views.json"))
    entries = json.loads(truth.read_text(encoding="utf-8"))
    pasted = tuple(Pasted(**{**entry, "box": Box(**entry["box"])}) for entry in entries)
    return Made(place / "photos", place / "queries", pasted)


def landmark(photo: str) -> str:
    """`paris_louvre` of `paris_louvre_000135.jpg`."""
    return photo.rpartition("_")[0]


def _make(
    photos: Path, views: Path, place: Path, images: int, objects: int, seed: int, side: int, pairs: Sequence[list[View]]
) -> None:
    random = np.random.default_rng(seed)
    for name in ("photos", "queries"):
        (place / name).mkdir(parents=True)
    files = sorted(path for path in photos.iterdir() if path.is_file())
    files = [files[number] for number in sorted(random.choice(len(files), min(images, len(files)), replace=False))]
    chosen = _chosen(pairs, min(objects, len(files)), random)
    holders = set(random.choice(len(files), len(chosen), replace=False).tolist())
    waiting, truth = iter(chosen), list[Pasted]()
    for number, file in enumerate(files):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        if side:
            factor = side / max(image.size)
            image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
        if number in holders:
            pasted, query = next(waiting)
            box, share = _paste(image, pasted.cut(views), random)
            name = f"{len(truth):04d}.jpg"
            query.cut(views).save(place / "queries" / name, quality=90)
            truth.append(Pasted(name, f"{file.stem}.jpg", box, share, landmark(pasted.photo)))
        image.save(place / "photos" / f"{file.stem}.jpg", quality=int(random.integers(75, 95)))
    (place / "truth.json").write_text(json.dumps([asdict(entry) for entry in truth]), encoding="utf-8")


def _paste(image: Image.Image, part: Image.Image, random: np.random.Generator) -> tuple[Box, float]:
    """Paste a part at a random place; returns where, and its share of the area."""
    share = math.exp(random.uniform(math.log(SHARES[0]), math.log(SHARES[-1])))
    aspect = part.width / part.height * math.exp(random.uniform(-0.1, 0.1))
    area = share * image.width * image.height
    width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    width, height = min(width, image.width), min(height, image.height)
    left, top = int(random.integers(0, image.width - width + 1)), int(random.integers(0, image.height - height + 1))
    small = part.resize((width, height), Image.Resampling.LANCZOS)
    image.paste(small.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 0.8)))), (left, top))
    return Box(left, top, left + width, top + height), width * height / (image.width * image.height)


def _chosen(pairs: Sequence[list[View]], count: int, random: np.random.Generator) -> list[list[View]]:
    """At most `count` pairs, (pasted, query), of which no photo is in more than `USES`; landmarks take turns."""
    uses: Counter[str] = Counter()
    queues: dict[str, list[list[View]]] = {}
    for number in random.permutation(len(pairs)):
        pair = pairs[number] if random.random() < 0.5 else pairs[number][::-1]
        queues.setdefault(landmark(pair[0].photo), []).append(pair)
    chosen: list[list[View]] = []
    while len(chosen) < count and any(queues.values()):
        for queue in queues.values():
            while queue:
                pair = queue.pop()
                if max(uses[view.photo] for view in pair) < USES:
                    uses.update(view.photo for view in pair)
                    chosen.append(pair)
                    break
    order = random.permutation(len(chosen))
    return [chosen[number] for number in order][:count]


def _pairs(folder: Path, cache: Path) -> list[list[View]]:
    """All pairs of views, in the order of their names; from `cache` where it is there."""
    if cache.is_file():
        entries = json.loads(cache.read_text(encoding="utf-8"))
        return [[View(view["photo"], Box(**view["box"])) for view in pair] for pair in entries]
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".jpg")
    with ThreadPoolExecutor(cores()) as pool:
        keypoints = dict(zip(names, pool.map(lambda name: _keypoints(folder / name), names), strict=True))
        together = [pair for pair in combinations(names, 2) if landmark(pair[0]) == landmark(pair[1])]
        found = pool.map(lambda pair: _views(pair, keypoints), together)
        pairs = [pair for pair in found if pair]
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps([[asdict(view) for view in pair] for pair in pairs]), encoding="utf-8")
    return pairs


def _keypoints(path: Path) -> Keypoints:
    with Image.open(path) as image:
        return detect(image.convert("RGB"), FEATURES)


def _views(names: tuple[str, str], keypoints: dict[str, Keypoints]) -> list[View]:
    """The same part in both photos; none where they do not match, or a part is small, cut off or badly distorted."""
    first, second = (keypoints[name] for name in names)
    verified = verify(first, second, 0.8, "homography", 8.0)
    if verified.matrix is None or len(verified) < INLIERS:
        return []
    points = first.points[verified.pairs[:, 0]]
    low, high = np.quantile(points, 0.02, axis=0), np.quantile(points, 0.98, axis=0)
    margin = 0.08 * (high - low)
    box = _inside(np.concatenate([low - margin, high + margin]), first)
    corners = np.array([(x, y, 1) for x in (box.left, box.right) for y in (box.top, box.bottom)]) @ verified.matrix.T
    mapped = corners[:, :2] / corners[:, 2:]
    whole = np.concatenate([mapped.min(axis=0), mapped.max(axis=0)])
    other = _inside(whole, second)
    views = [View(names[0], box), View(names[1], other)]
    return views if _is_good(views) and _area(other) > 0.85 * _area(Box(*whole.tolist())) else []


def _inside(corners: NDArray[np.floating], picture: Keypoints) -> Box:
    """left, top, right, bottom (4,) cut to the picture."""
    sides = np.array([picture.width, picture.height] * 2)
    return Box(*np.clip(corners, 0, sides).astype(float).tolist())


def _is_good(views: Sequence[View]) -> bool:
    aspects = [(view.box.right - view.box.left) / max(1.0, view.box.bottom - view.box.top) for view in views]
    sides = [min(view.box.right - view.box.left, view.box.bottom - view.box.top) for view in views]
    return (
        min(sides) >= SMALLEST_PART and 0.4 < min(aspects) <= max(aspects) < 2.5 and max(aspects) < 1.5 * min(aspects)
    )


def _area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)
