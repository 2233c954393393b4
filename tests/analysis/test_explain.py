"""Why two pictures look alike: on warps with a known map, and on real photos where these are available."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.analysis import explain as explaining
from lookalike.analysis.explain import (
    CONVINCING,
    HEIGHT,
    MARGIN,
    SHOWN,
    WIDEST,
    Explanation,
    draw,
    explain,
    overlap_region,
    spread,
)
from lookalike.evaluation.datasets.synthetic.buildings import build
from lookalike.evaluation.datasets.synthetic.styles import RECIPES, draw_style
from lookalike.evaluation.datasets.synthetic.views import Shot, photograph
from lookalike.types import Box
from tests.search.rerank.pictures import SIDEWAYS, errors, front, mapped, warped


@pytest.fixture(scope="module")
def pair() -> tuple[Image.Image, Image.Image]:
    return front(), warped(front(), SIDEWAYS)


@pytest.fixture(scope="module")
def explanation(pair: tuple[Image.Image, Image.Image]) -> Explanation:
    return explain(*pair)


def test_at_least_95_percent_of_the_inliers_lie_within_3_pixels_of_the_truth(explanation: Explanation) -> None:
    assert explanation.of == "keypoints"
    assert explanation.inliers == len(explanation.points_a) == len(explanation.points_b) >= 100
    assert (errors(explanation.points_a, explanation.points_b, SIDEWAYS) <= 3).mean() >= 0.95


def test_the_map_and_the_overlap_are_those_of_the_truth(
    explanation: Explanation, pair: tuple[Image.Image, Image.Image]
) -> None:
    width, height = pair[0].size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    assert explanation.matrix is not None
    assert errors(corners, mapped(corners, SIDEWAYS), explanation.matrix).max() < 3
    assert explanation.overlap is not None
    truth = overlap_region(SIDEWAYS, pair[0].size, pair[1].size)
    assert truth is not None
    assert area(explanation.overlap) == pytest.approx(area(truth), rel=0.02)


def area(polygon: NDArray[np.float64]) -> float:
    """Of a polygon (corners, 2), by the shoelace formula."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def test_json_holds_all_of_it(explanation: Explanation) -> None:
    document = json.loads(json.dumps(explanation.to_json()))
    assert (document["of"], document["model"], document["inliers"]) == ("keypoints", "homography", explanation.inliers)
    assert len(document["matches"]) == explanation.inliers
    first = document["matches"][0]
    assert errors(np.array([first["a"]]), np.array([first["b"]]), np.array(document["matrix"]))[0] < 10
    assert len(document["overlap"]) >= 3


def test_text_is_one_line(explanation: Explanation) -> None:
    assert explanation.text() == f"{explanation.inliers} matching points agree on one view."
    assert explanation.to_json()["verdict"] == "agree"
    nothing = Explanation(np.empty((0, 2)), np.empty((0, 2)), "keypoints")
    assert nothing.text().startswith("No points agree on one view")


def test_seven_points_are_no_proof_whoever_says_it() -> None:
    points = np.arange(14.0).reshape(7, 2)
    few = Explanation(points, points, "keypoints", "homography", np.eye(3))
    assert few.text().startswith("Only 7 matching points agree on one view; fewer than 15 may be chance")
    assert few.to_json()["verdict"] == "few"
    parts = Explanation(points, points, "patches")
    assert parts.text() == "7 parts match one by one, but agree on no one view."


@pytest.mark.parametrize("quarter", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180])
def test_a_turned_picture_is_recognised(quarter: Image.Transpose) -> None:
    assert explain(front(), front().transpose(quarter)).inliers > 100


def test_two_pictures_without_anything_in_common_have_no_map() -> None:
    blank = Image.new("RGB", (320, 200), (120, 130, 140))
    nothing = explain(front(), blank)
    assert (nothing.inliers, nothing.matrix, nothing.overlap, nothing.model) == (0, None, None, None)
    assert explain(front("church"), front("castle", 1)).inliers < CONVINCING


class Grid:
    """An encoder whose patch tokens are the mean colours of squares of 20 pixels, but for the border it cuts off."""

    fingerprint = "grid"
    border = 20

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[np.float32]:
        inner = image.crop((self.border, self.border, image.width - self.border, image.height - self.border))
        small = inner.resize((inner.width // 20, inner.height // 20), Image.Resampling.BOX)
        return np.asarray(small, np.float32)

    def encode_patches(self, prepared: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [one - 127.5 for one in prepared]

    def patch_region(self, width: int, height: int) -> Box:
        return Box(self.border, self.border, width - self.border, height - self.border)


def squares(shift: int = 0) -> Image.Image:
    """Squares of 20 pixels in colours that occur once, which SIFT finds nothing in when they are this soft."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(np.roll(colours, shift, axis=1)).resize((320, 240), Image.Resampling.NEAREST)


def test_where_keypoints_say_little_patches_are_matched_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "FEATURES", 0)
    by_patches = explain(squares(), squares(shift=3), Grid())
    assert (by_patches.of, by_patches.model) == ("patches", "homography")
    assert by_patches.inliers > 60
    right = np.array([[1, 0, 60.0], [0, 1, 0], [0, 0, 1]])
    assert (errors(by_patches.points_a, by_patches.points_b, right) < 1).mean() > 0.95
    # Centres of squares, in pixels of the whole picture: 20 are cut off, and the first centre is 10 further.
    assert set(by_patches.points_a[:, 0] % 20) == {9.5}


def test_patches_that_agree_on_no_map_are_shown_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "FEATURES", 0)
    noise = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    scattered = explain(squares(), Image.fromarray(noise).resize((320, 240), Image.Resampling.NEAREST), Grid())
    assert scattered.of == "patches"
    assert scattered.inliers == 0 or scattered.matrix is not None
    assert len(scattered.points_a) > 0


def test_an_encoder_without_patches_is_no_matter(
    pair: tuple[Image.Image, Image.Image], explanation: Explanation
) -> None:
    assert explain(*pair, encoder=object()).inliers == explanation.inliers


def test_the_overlap_by_hand() -> None:
    """Moved by (30, 10), a picture of 100 x 80 covers another from there to its border; corners are of pixels."""
    moved = np.array([[1, 0, 30.0], [0, 1, 10.0], [0, 0, 1]])
    polygon = overlap_region(moved, (100, 80), (100, 80))
    assert polygon is not None
    assert {tuple(corner) for corner in polygon.tolist()} == {(29.5, 9.5), (99.5, 9.5), (99.5, 79.5), (29.5, 79.5)}
    assert overlap_region(np.array([[1, 0, 200.0], [0, 1, 0], [0, 0, 1]]), (100, 80), (100, 80)) is None


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_an_overlap_that_reaches_the_horizon_is_cut_there(factor: float) -> None:
    """x' = x / (1 - x / 50): what lies beyond x = 50 is behind the camera, and covers nothing."""
    horizon = np.array([[1, 0, 0], [0, 1, 0], [-1 / 50, 0, 1.0]]) * factor
    polygon = overlap_region(horizon, (80, 40), (100, 80))
    assert polygon is not None
    assert np.isfinite(polygon).all()
    assert (polygon >= -0.5 - 1e-9).all()
    assert (polygon <= (99.5 + 1e-9, 79.5 + 1e-9)).all()


def test_the_drawing_has_both_pictures_the_matches_and_the_overlap(
    explanation: Explanation, pair: tuple[Image.Image, Image.Image]
) -> None:
    drawing = draw(explanation, *pair)
    a, b = (round(image.width * HEIGHT / image.height) for image in pair)
    assert drawing.size == (a + MARGIN + b, HEIGHT)
    pixels = np.asarray(drawing).reshape(-1, 3)
    for colour in [*explaining.COLOURS, "#ffd400"]:
        rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels == rgb).all(axis=1).sum() > 20, colour


def test_many_matches_are_spread_over_the_picture() -> None:
    """Two hundred in one place and a point far away, which is among the rows."""
    points = np.concatenate([np.random.default_rng(0).uniform(0, 10, (200, 2)), [[500, 500]]])
    rows = spread(points)
    assert len(rows) == SHOWN
    assert 200 in rows
    assert len(set(rows)) == SHOWN


def test_pictures_of_any_shape_are_drawn() -> None:
    nothing = Explanation(np.empty((0, 2)), np.empty((0, 2)), "keypoints")
    assert draw(nothing, Image.new("L", (1, 900)), Image.new("RGB", (40, 20))).height == HEIGHT


def test_a_strip_is_drawn_no_wider_than_four_times_the_height() -> None:
    nothing = Explanation(np.empty((0, 2)), np.empty((0, 2)), "keypoints")
    drawn = draw(nothing, Image.new("L", (30_000, 1)), Image.new("RGB", (40, 20)))
    assert drawn.size == (WIDEST + MARGIN + 2 * HEIGHT, HEIGHT)


@pytest.mark.parametrize("kind", ["church", "palace", "mill", "townhall"])
def test_matches_of_two_views_lie_on_the_facade(kind: str) -> None:
    """The front takes a fifth to half of each picture; the rest is sky, ground, and the building's side."""
    rng = np.random.default_rng(3)
    building = build(draw_style(RECIPES[kind], rng), rng)
    afar = photograph(building, "paving", Shot(0.25, 0.6), np.random.default_rng(1))
    near = photograph(building, "grass", Shot(-0.05, 0.8, roll=0.04), np.random.default_rng(2))
    explanation = explain(Image.fromarray(afar.rgb), Image.fromarray(near.rgb))
    assert explanation.inliers >= CONVINCING
    for points, view in ((explanation.points_a, afar), (explanation.points_b, near)):
        box = view.box
        assert (box.right - box.left) * (box.bottom - box.top) < 0.65 * view.rgb.shape[0] * view.rgb.shape[1]
        assert inside(points, (box.left, box.top, box.right, box.bottom)) >= 0.95


FACADE = ("paris_invalides_000072", (95, 30, 620, 730)), ("paris_invalides_000360", (235, 230, 695, 800))
"""Two photos of one church, and where it stands in them between sky and trees, read off the pictures."""


@pytest.mark.photos
def test_matches_of_two_real_photos_lie_on_the_facade(shared_data: Path) -> None:
    folder = shared_data / "paris250" / "images"
    (name_a, box_a), (name_b, box_b) = FACADE
    a, b = (Image.open(folder / f"{name}.jpg").convert("RGB") for name in (name_a, name_b))
    explanation = explain(a, b)
    assert explanation.inliers >= CONVINCING
    assert inside(explanation.points_a, box_a) >= 0.95
    assert inside(explanation.points_b, box_b) >= 0.95


def inside(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> float:
    """The share of points in a box."""
    return float(((points >= box[:2]) & (points < box[2:])).all(axis=1).mean())
