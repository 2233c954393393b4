"""Two pictures to why they look alike: the points that match, the map between them, and a picture of both."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.search.rerank.keypoints import detect
from lookalike.search.rerank.matching import GeometricModel, Verified, agree, verify
from lookalike.search.rerank.patches import PatchEncoder, encode, mutual_pairs
from lookalike.types import Box

FEATURES = 2000
"""More than a re-ranker looks for, since here it is one pair and a person who waits."""
RATIO, PIXELS = 0.8, 8.0
CONVINCING = 15
"""Inliers that unrelated photos hardly ever have; with fewer, turned pictures are tried, and patches."""
MARGIN, HEIGHT, WIDEST, SHOWN = 12, 640, 4 * 640, 60
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclass(frozen=True)
class Explanation:
    """What two pictures a and b have in common; points are x, y in pixels of the upright originals.

    `points_a` and `points_b` (n, 2) match each other row by row; `of` says what they are. `matrix` (3, 3) maps points
    of a to b, and `overlap` (corners, 2) is the part of b that a covers by it; None where no map explains the matches.
    Where `of` is "patches" and there is no map, the matches are patches that are each other's nearest, no more.
    """

    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    of: str
    model: GeometricModel | None = None
    matrix: NDArray[np.float64] | None = None
    overlap: NDArray[np.float64] | None = None

    @property
    def inliers(self) -> int:
        """How many matches the map explains; 0 without one."""
        return len(self.points_a) if self.matrix is not None else 0

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "of": self.of,
            "inliers": self.inliers,
            "model": self.model,
            "matrix": None if self.matrix is None else self.matrix.tolist(),
            "overlap": None if self.overlap is None else self.overlap.round(1).tolist(),
            "matches": [
                {"a": a, "b": b}
                for a, b in zip(self.points_a.round(1).tolist(), self.points_b.round(1).tolist(), strict=True)
            ],
        }

    def text(self) -> str:
        """One line for a terminal."""
        if self.matrix is None:
            return f"no common geometry; {len(self.points_a)} {self.of} match one by one"
        return f"{self.inliers} matching {self.of} agree on one {self.model}"


def explain(
    image_a: Image.Image, image_b: Image.Image, encoder: object = None, model: GeometricModel = "homography"
) -> Explanation:
    """Match two upright pictures by keypoints, and where these say little, by the patches of an `encoder` that has any.

    Keypoints are matched as if both were upright first, then whatever their orientations.
    """
    found = by_keypoints(image_a, image_b, model)
    if found.inliers < CONVINCING:
        found = max(found, by_keypoints(image_a, image_b, model, upright=False), key=lambda one: one.inliers)
    if found.inliers < CONVINCING and isinstance(encoder, PatchEncoder):
        patches = by_patches(image_a, image_b, encoder, model)
        return patches if patches.inliers > found.inliers or not found.inliers else found
    return found


def by_keypoints(
    image_a: Image.Image, image_b: Image.Image, model: GeometricModel = "homography", upright: bool = True
) -> Explanation:
    """RootSIFT keypoints that match and agree on one map; none where there is no map."""
    a, b = detect(image_a, FEATURES, upright), detect(image_b, FEATURES, upright)
    found = verify(a, b, RATIO, model, PIXELS)
    points = a.points[found.pairs[:, 0]], b.points[found.pairs[:, 1]]
    return _explanation(points[0], points[1], found, "keypoints", model, image_a, image_b)


def by_patches(
    image_a: Image.Image, image_b: Image.Image, encoder: PatchEncoder, model: GeometricModel = "homography"
) -> Explanation:
    """Centres of patches that are each other's nearest: those that agree on one map, or all where there is none.

    The patches are taken to cover the whole picture; an encoder that cuts or pads says what they cover by
    `patch_region(width, height) -> Box`, in pixels of the picture.
    """
    a, b = encode(encoder, image_a), encode(encoder, image_b)
    pairs = mutual_pairs(a.unit() @ b.unit().T)
    points_a = _centres(a.values.shape[:2], image_a, encoder)[pairs[:, 0]]
    points_b = _centres(b.values.shape[:2], image_b, encoder)[pairs[:, 1]]
    patch = max(image_b.width / b.values.shape[1], image_b.height / b.values.shape[0])
    found = agree(points_a, points_b, model, patch)
    kept = found.pairs if found.matrix is not None else np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    return _explanation(points_a[kept[:, 0]], points_b[kept[:, 1]], found, "patches", model, image_a, image_b)


def _centres(grid: tuple[int, ...], image: Image.Image, encoder: object) -> NDArray[np.float32]:
    """Where the patches lie (h * w, 2), in pixels of the picture."""
    region = getattr(encoder, "patch_region", None)
    covered: Box = region(image.width, image.height) if region else Box(0, 0, image.width, image.height)
    rows, columns = (np.arange(count) + 0.5 for count in grid)
    across = covered.left + columns * (covered.right - covered.left) / grid[1]
    down = covered.top + rows * (covered.bottom - covered.top) / grid[0]
    return np.stack(np.meshgrid(across - 0.5, down - 0.5), axis=-1).reshape(-1, 2).astype(np.float32)


def _explanation(
    points_a: NDArray[np.float32],
    points_b: NDArray[np.float32],
    found: Verified,
    of: str,
    model: GeometricModel,
    image_a: Image.Image,
    image_b: Image.Image,
) -> Explanation:
    a, b = points_a.astype(np.float64), points_b.astype(np.float64)
    if found.matrix is None:
        return Explanation(a, b, of)
    overlap = overlap_region(found.matrix, image_a.size, image_b.size)
    return Explanation(a, b, of, model, found.matrix, overlap)


def overlap_region(
    matrix: NDArray[np.float64], size_a: tuple[int, int], size_b: tuple[int, int]
) -> NDArray[np.float64] | None:
    """The part of b, of (width, height) `size_b`, that a covers by `matrix`: a convex polygon (corners, 2), or None."""
    width, height = size_a
    # Corners of the outermost pixels; in homogeneous coordinates, since some may lie behind the horizon.
    outline = np.array(
        [(-0.5, -0.5, 1), (width - 0.5, -0.5, 1), (width - 0.5, height - 0.5, 1), (-0.5, height - 0.5, 1)]
    )
    polygon = outline @ matrix.T
    centre = matrix @ (width / 2, height / 2, 1)
    polygon *= np.sign(centre[2]) or 1.0
    right, bottom = size_b[0] - 0.5, size_b[1] - 0.5
    before_the_horizon = (0, 0, 1)
    for edge in (before_the_horizon, (1, 0, 0.5), (-1, 0, right), (0, 1, 0.5), (0, -1, bottom)):
        polygon = _clip(polygon, np.array(edge, np.float64))
        if len(polygon) < 3:
            return None
    return np.asarray(polygon[:, :2] / polygon[:, 2:], np.float64)


def _clip(polygon: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sutherland and Hodgman, 1974, on homogeneous points: what is left of the polygon where point · edge ≥ 0."""
    inside = polygon @ edge
    kept = []
    for at in range(len(polygon)):
        if (inside[at] < 0) != (inside[at - 1] < 0):
            share = inside[at - 1] / (inside[at - 1] - inside[at])
            kept.append(polygon[at - 1] + share * (polygon[at] - polygon[at - 1]))
        if inside[at] >= 0:
            kept.append(polygon[at])
    return np.array(kept).reshape(-1, 3)


def draw(explanation: Explanation, image_a: Image.Image, image_b: Image.Image) -> Image.Image:
    """Both pictures side by side at one height, with lines between matches and the overlap outlined in b.

    A picture that is much wider than high is lower than the other, or a strip would take gigabytes. Where there are
    more than `SHOWN` matches, these are spread over the picture: a thousand lines show nothing.
    """
    (a, scale_a), (b, scale_b) = _scaled(image_a), _scaled(image_b)
    canvas = Image.new("RGB", (a.width + MARGIN + b.width, max(a.height, b.height)), "white")
    canvas.paste(a, (0, 0))
    canvas.paste(b, (a.width + MARGIN, 0))
    pen = ImageDraw.Draw(canvas)
    shift = np.array([a.width + MARGIN, 0])
    if explanation.overlap is not None:
        outline = (explanation.overlap + 0.5) * scale_b + shift
        pen.line([*map(tuple, outline), tuple(outline[0])], fill="#ffd400", width=3, joint="curve")
    for number, row in enumerate(_spread(explanation.points_a)):
        start = (explanation.points_a[row] + 0.5) * scale_a
        end = (explanation.points_b[row] + 0.5) * scale_b + shift
        colour = COLOURS[number % len(COLOURS)]
        pen.line([tuple(start), tuple(end)], fill=colour, width=1)
        for x, y in (start, end):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, width=2)
    return canvas


def _scaled(image: Image.Image) -> tuple[Image.Image, float]:
    """At the height of a drawing, or at its greatest width; and by how much that is."""
    scale = min(HEIGHT / image.height, WIDEST / image.width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS), scale


def _spread(points: NDArray[np.float64]) -> list[int]:
    """At most `SHOWN` rows, each the farthest from those before it."""
    if len(points) <= SHOWN:
        return list(range(len(points)))
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < SHOWN:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen
