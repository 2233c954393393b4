from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.encoders.thumb import Thumbnail
from lookalike.images.decode import to_jpeg
from lookalike.types import Encoder


def blocks(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def test_it_is_an_encoder_of_unit_rows() -> None:
    encoder = Thumbnail()
    assert isinstance(encoder, Encoder)
    rows = encoder.encode([blocks(1), blocks(2)])
    assert rows.shape == (2, encoder.dim)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)


def test_copies_stay_near_and_other_pictures_far(tmp_path: Path) -> None:
    original = blocks(1)
    (tmp_path / "poor.jpg").write_bytes(to_jpeg(original, quality=30))
    rows = Thumbnail().encode([original, tmp_path / "poor.jpg", original.resize((107, 80)), blocks(2)])
    cosines = rows @ rows[0]
    assert cosines[1] > 0.99
    assert cosines[2] > 0.99
    assert cosines[3] < 0.5


def test_brightness_and_contrast_hardly_count() -> None:
    original = blocks(1)
    rows = Thumbnail().encode([original, original.point(lambda value: 60 + value * 0.5)])
    assert rows[0] @ rows[1] > 0.98


def test_even_pictures_have_vectors_that_tell_their_colours_apart() -> None:
    colours = ["black", "white", "red", "blue", "grey"]
    rows = Thumbnail().encode([Image.new("RGB", (20, 10), colour) for colour in colours])
    assert np.isfinite(rows).all()
    assert np.triu(rows @ rows.T, 1).max() < 0.95


def test_a_picture_of_one_pixel_is_enough() -> None:
    assert np.isfinite(Thumbnail().encode([Image.new("RGB", (1, 1), "red")])).all()
    assert Thumbnail().encode([]).shape == (0, Thumbnail().dim)


def test_the_fingerprint_is_the_same_every_time() -> None:
    assert Thumbnail().fingerprint == Thumbnail().fingerprint
    assert len(Thumbnail().fingerprint) == 64
