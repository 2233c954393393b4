import numpy as np
import pytest

from lookalike.encoders.rotary import frequencies, rotations


def test_frequencies_fall_from_one_to_the_base_by_hand() -> None:
    """Of 100 over four steps: 1, 100^-1/4, 100^-1/2, 100^-3/4."""
    assert frequencies(100.0, 16).tolist() == pytest.approx([1, 0.3162278, 0.1, 0.0316228], rel=1e-6)


def test_the_tokens_before_the_patches_are_not_turned() -> None:
    cosines, sines = rotations(frequencies(100.0, 8), 2, 3, prefix=5)
    assert cosines.shape == sines.shape == (5 + 6, 4)
    assert (cosines[:5] == 1).all()
    assert (sines[:5] == 0).all()


def test_a_patch_is_turned_by_its_centre_rows_first() -> None:
    """In a grid of 2 x 1 the centres lie at rows -1/2 and 1/2, column 0: half a turn back and forth, and none."""
    cosines, sines = rotations(np.array([1, 0.5], np.float32), 2, 1, prefix=0)
    assert cosines[0].tolist() == pytest.approx([np.cos(-np.pi), np.cos(-np.pi / 2), 1, 1], abs=1e-6)
    assert sines[0].tolist() == pytest.approx([0, -1, 0, 0], abs=1e-6)
    assert sines[1].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-6)
