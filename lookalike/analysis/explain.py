"""Two pictures to the reason why they look alike: matching points, the map between them, and a drawing of both."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.errors import LookalikeError
from lookalike.search.rerank.keypoints import detect
from lookalike.search.rerank.matching import GeometricModel, Verified, agree, verify
from lookalike.search.rerank.patches import PatchEncoder, encode, mutual_pairs
from lookalike.types import Box

FEATURES = 2000
"""More than a re-ranker detects, since this is a single pair."""
RATIO, PIXELS = 0.8, 8.0
CONVINCING = 15
"""Inliers that unrelated photos hardly ever have; with fewer, rotated keypoints are tried, and patches."""
NOTEBOOK_SIDE = 900
"""The longer side of a drawing in a notebook: at most 200 kB."""
MARGIN, HEIGHT, WIDEST, SHOWN = 12, 640, 4 * 640, 60
Verdict = Literal["agree", "few", "parts", "none"]
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclass(frozen=True)
class Explanation:
    """Matches of two pictures a and b; points are x, y in pixels of the upright originals.

    `points_a` and `points_b` (n, 2) match row by row; `of` is "keypoints" or "patches". `matrix` (3, 3) maps points of
    a to b, and `overlap` (corners, 2) is the part of b that a covers by it; both are None where no map explains the
    matches. Patches without a map are mutual nearest neighbours that were not verified. `pictures` reads both pictures
    once more, for a drawing. `part` is the region of b that looks most like a; None where the
    whole b does.
    """

    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    of: str
    model: GeometricModel | None = None
    matrix: NDArray[np.float64] | None = None
    overlap: NDArray[np.float64] | None = None
    pictures: Callable[[], tuple[Image.Image, Image.Image]] | None = field(default=None, repr=False, compare=False)
    part: Box | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process has no way to the pictures.
        return {**vars(self), "pictures": None}

    def __repr__(self) -> str:
        return f"Explanation({self.text()!r})"

    def _repr_html_(self) -> str:
        from lookalike.images.html import fragment, whole

        if self.pictures is None:
            return fragment(self.text())
        try:
            return fragment(self.text(), whole(self.drawn(), self.text(), NOTEBOOK_SIDE))
        except LookalikeError as error:
            return fragment(f"{self.text()}; no drawing: {error}")

    def drawn(self) -> Image.Image:
        """Both pictures side by side with what matches, as `draw`; raises ValueError where there are none."""
        if self.pictures is None:
            raise ValueError("this explanation was made of two pictures that it does not have: use `draw`")
        return draw(self, *self.pictures())

    @property
    def inliers(self) -> int:
        """The number of matches that the map explains; 0 without a map."""
        return len(self.points_a) if self.matrix is not None else 0

    @property
    def verdict(self) -> Verdict:
        """What the matches say: enough agree, too few do, parts match one by one, or nothing does."""
        if self.matrix is not None:
            return "agree" if self.inliers >= CONVINCING else "few"
        return "parts" if len(self.points_a) else "none"

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "verdict": self.verdict,
            "of": self.of,
            "inliers": self.inliers,
            "model": self.model,
            "matrix": None if self.matrix is None else self.matrix.tolist(),
            "overlap": None if self.overlap is None else self.overlap.round(1).tolist(),
            "box": self.part and self.part.corners(),
            "matches": [
                {"a": a, "b": b}
                for a, b in zip(self.points_a.round(1).tolist(), self.points_b.round(1).tolist(), strict=True)
            ],
        }

    def text(self) -> str:
        """What the matches say, in one sentence; the command line, the service and its page have no other."""
        part = f" Nearest is the part {','.join(f'{side:g}' for side in self.part.corners())}." if self.part else ""
        return f"{self._sentence()}{part}"

    def _sentence(self) -> str:
        count = len(self.points_a)
        what = ("point" if self.of == "keypoints" else "part") + ("" if count == 1 else "s")
        match self.verdict:
            case "agree":
                return f"{count} matching {what} agree on one view."
            case "few":
                return (
                    f"Only {count} matching {what} agree on one view; fewer than {CONVINCING} may be chance: "
                    "the two are alike as a whole."
                )
            case "parts":
                return f"{count} {what} match one by one, but agree on no one view."
            case "none":
                return "No points agree on one view: the two are alike as a whole, not in a part."


def explain(
    image_a: Image.Image, image_b: Image.Image, encoder: object = None, model: GeometricModel = "homography"
) -> Explanation:
    """Match two upright pictures by keypoints, and where few agree, by the patches of an `encoder` that has patches.

    Keypoints are first matched as upright ones, then with their orientations.
    """
    keypoints = by_keypoints(image_a, image_b, model)
    if keypoints.inliers < CONVINCING:
        rotated = by_keypoints(image_a, image_b, model, upright=False)
        keypoints = rotated if rotated.inliers > keypoints.inliers else keypoints
    if keypoints.inliers < CONVINCING and isinstance(encoder, PatchEncoder):
        patches = by_patches(image_a, image_b, encoder, model)
        return patches if patches.inliers > keypoints.inliers or not keypoints.inliers else keypoints
    return keypoints


def by_keypoints(
    image_a: Image.Image, image_b: Image.Image, model: GeometricModel = "homography", upright: bool = True
) -> Explanation:
    """Matching RootSIFT keypoints that agree on a map; no points where there is no map."""
    a, b = detect(image_a, FEATURES, upright), detect(image_b, FEATURES, upright)
    verified = verify(a, b, RATIO, model, PIXELS)
    points = a.points[verified.pairs[:, 0]], b.points[verified.pairs[:, 1]]
    return _explanation(points[0], points[1], verified, "keypoints", model, image_a, image_b)


def by_patches(
    image_a: Image.Image, image_b: Image.Image, encoder: PatchEncoder, model: GeometricModel = "homography"
) -> Explanation:
    """Centres of patches that are mutual nearest neighbours: those that agree on a map, or all where there is no map.

    Patches cover the whole picture, unless the encoder has `patch_region(width, height) -> Box`, the region that they
    cover in pixels of the picture.
    """
    a, b = encode(encoder, image_a), encode(encoder, image_b)
    pairs = mutual_pairs(a.unit() @ b.unit().T)
    points_a = _centres(a.values.shape[:2], image_a, encoder)[pairs[:, 0]]
    points_b = _centres(b.values.shape[:2], image_b, encoder)[pairs[:, 1]]
    patch = max(image_b.width / b.values.shape[1], image_b.height / b.values.shape[0])
    verified = agree(points_a, points_b, model, patch)
    rows = verified.pairs if verified.matrix is not None else np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    return _explanation(points_a[rows[:, 0]], points_b[rows[:, 1]], verified, "patches", model, image_a, image_b)


def _centres(grid: tuple[int, ...], image: Image.Image, encoder: object) -> NDArray[np.float32]:
    """Centres of the patches (h * w, 2), in pixels of the picture."""
    region = getattr(encoder, "patch_region", None)
    covered: Box = region(image.width, image.height) if region else Box(0, 0, image.width, image.height)
    rows, columns = (np.arange(count) + 0.5 for count in grid)
    across = covered.left + columns * (covered.right - covered.left) / grid[1]
    down = covered.top + rows * (covered.bottom - covered.top) / grid[0]
    return np.stack(np.meshgrid(across - 0.5, down - 0.5), axis=-1).reshape(-1, 2).astype(np.float32)


def _explanation(
    points_a: NDArray[np.float32],
    points_b: NDArray[np.float32],
    verified: Verified,
    of: str,
    model: GeometricModel,
    image_a: Image.Image,
    image_b: Image.Image,
) -> Explanation:
    a, b = points_a.astype(np.float64), points_b.astype(np.float64)
    if verified.matrix is None:
        return Explanation(a, b, of)
    overlap = overlap_region(verified.matrix, image_a.size, image_b.size)
    return Explanation(a, b, of, model, verified.matrix, overlap)


def overlap_region(
    matrix: NDArray[np.float64], size_a: tuple[int, int], size_b: tuple[int, int]
) -> NDArray[np.float64] | None:
    """The part of b that a covers by `matrix`: a convex polygon (corners, 2), or None; sizes are (width, height)."""
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
    """The part of a polygon of homogeneous points where point · edge ≥ 0 (Sutherland and Hodgman, 1974)."""
    inside = polygon @ edge
    corners = []
    for at in range(len(polygon)):
        if (inside[at] < 0) != (inside[at - 1] < 0):
            share = inside[at - 1] / (inside[at - 1] - inside[at])
            corners.append(polygon[at - 1] + share * (polygon[at] - polygon[at - 1]))
        if inside[at] >= 0:
            corners.append(polygon[at])
    return np.array(corners).reshape(-1, 3)


def draw(explanation: Explanation, image_a: Image.Image, image_b: Image.Image) -> Image.Image:
    """Both pictures side by side at the same height, with lines between matches, the overlap in b and its part.

    The width is limited, as a long strip at full height would take gigabytes. Of more than `SHOWN` matches, `SHOWN` are
    drawn, spread over the picture.
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
    if explanation.part is not None:
        corners = np.array(explanation.part.corners()).reshape(2, 2) * scale_b + shift
        pen.rectangle([tuple(corner) for corner in corners], outline="#ff6f00", width=3)
    for number, row in enumerate(spread(explanation.points_a)):
        start = (explanation.points_a[row] + 0.5) * scale_a
        end = (explanation.points_b[row] + 0.5) * scale_b + shift
        colour = COLOURS[number % len(COLOURS)]
        pen.line([tuple(start), tuple(end)], fill=colour, width=1)
        for x, y in (start, end):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, width=2)
    return canvas


def _scaled(image: Image.Image) -> tuple[Image.Image, float]:
    """The picture at the height of a drawing, or at its largest width, and the scale."""
    scale = min(HEIGHT / image.height, WIDEST / image.width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS), scale


def spread(points: NDArray[np.float64]) -> list[int]:
    """At most `SHOWN` rows, each farthest from all before it."""
    if len(points) <= SHOWN:
        return list(range(len(points)))
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < SHOWN:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen
