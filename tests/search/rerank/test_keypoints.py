import cv2
import numpy as np
import pytest
from PIL import Image

from lookalike.search.rerank.keypoints import SIDE, Keypoints, detect, unit
from tests.search.rerank.pictures import front


def test_points_lie_inside_the_picture_and_descriptors_are_their_roots() -> None:
    keypoints = detect(front(), 300)
    assert len(keypoints) == 300
    assert keypoints.descriptors.shape == (300, 128)
    assert (keypoints.points >= -0.5).all()
    assert (keypoints.points < (keypoints.width, keypoints.height)).all()
    assert np.allclose(np.linalg.norm(unit(keypoints.descriptors), axis=1), 1, atol=1e-6)
    # The L1 norm of SIFT is the squared L2 norm of its root; bytes are in steps of 1/512.
    lengths = np.linalg.norm(keypoints.descriptors / 512, axis=1)
    assert np.abs(lengths - 1).max() < 0.02


def test_descriptors_are_the_roots_of_what_opencv_computes() -> None:
    """The strongest keypoint of all, looked up by where it lies."""
    keypoints = detect(front(), 1, upright=False)
    detector = cv2.SIFT_create()  # type: ignore[attr-defined]
    points, sift = detector.detectAndCompute(np.asarray(front().convert("L")), None)
    there = [row for row, point in enumerate(points) if np.allclose(point.pt, keypoints.points[0], atol=1e-3)]
    roots = [np.sqrt(sift[row] / sift[row].sum()) for row in there]
    assert min(np.abs(keypoints.descriptors[0] / 512 - root).max() for root in roots) <= 0.5 / 512 + 1e-6


def test_fewer_are_the_strongest_of_many() -> None:
    many, few = detect(front(), 400), detect(front(), 40)
    assert (few.points == many.points[:40]).all()


def test_upright_keypoints_are_each_one_point() -> None:
    keypoints = detect(front(), 1000)
    turned = detect(front(), 1000, upright=False)
    assert len(np.unique(keypoints.points, axis=0)) > len(np.unique(turned.points, axis=0)) - 5
    assert len(turned) > len(np.unique(turned.points, axis=0)), "SIFT itself makes two of a point with two orientations"


def test_a_large_picture_is_looked_at_smaller_and_points_are_in_its_own_pixels() -> None:
    small = front()
    assert max(small.size) <= SIDE
    large = small.resize((small.width * 3, small.height * 3), Image.Resampling.BICUBIC)
    keypoints = detect(large, 200)
    assert keypoints.scale == pytest.approx(max(large.size) / SIDE)
    assert keypoints.points.max() > SIDE
    # The same places, but for what resizing did: most have a point of the small picture within a pixel of it.
    there = (detect(small, 1000).points + 0.5) * 3 - 0.5
    distances = np.linalg.norm(keypoints.points[:, None] - there[None], axis=2).min(axis=1)
    assert np.median(distances) < 3


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 1), (40, 40)])
def test_a_picture_of_nothing_has_no_keypoints(size: tuple[int, int]) -> None:
    keypoints = detect(Image.new("RGB", size, (90, 90, 90)), 100)
    assert len(keypoints) == 0
    assert keypoints.descriptors.shape == (0, 128)
    assert Keypoints.from_bytes(keypoints.to_bytes()) is not None


def test_bytes_are_read_back_as_they_were() -> None:
    keypoints = detect(front(), 60)
    again = Keypoints.from_bytes(keypoints.to_bytes())
    assert again is not None
    assert (again.width, again.height) == front().size
    assert (again.points == keypoints.points).all()
    assert (again.descriptors == keypoints.descriptors).all()


@pytest.mark.parametrize("damage", ["short", "flipped", "other", "nothing", "nan"])
def test_damaged_bytes_are_none(damage: str) -> None:
    keypoints = detect(front(), 20)
    data = keypoints.to_bytes()
    flipped = bytearray(data)
    flipped[100] ^= 1
    points = np.full_like(keypoints.points, np.nan)
    damaged = {
        "short": data[:-1],
        "flipped": bytes(flipped),
        "other": b"lkp0" + data[4:],
        "nothing": b"",
        "nan": Keypoints(keypoints.width, keypoints.height, points, keypoints.descriptors).to_bytes(),
    }
    assert Keypoints.from_bytes(damaged[damage]) is None
