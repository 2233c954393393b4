import numpy as np
import pytest

from lookalike.encoders.pooling import check, gem, pool, unit, width
from lookalike.errors import EncoderError

CLS = np.array([[3.0, 4.0]], np.float32)
PATCHES = np.array([[[1.0, 0.0], [3.0, -4.0]]], np.float32)


def test_cls_is_the_class_token_at_unit_length() -> None:
    assert np.allclose(pool("cls", CLS, PATCHES), [[0.6, 0.8]])


def test_mean_is_of_the_patches() -> None:
    """(1 + 3) / 2 = 2 and (0 - 4) / 2 = -2."""
    assert np.allclose(pool("mean", CLS, PATCHES), [[0.5**0.5, -(0.5**0.5)]])


def test_gem_is_the_signed_cube_root_of_the_mean_cube() -> None:
    """(1 + 27) / 2 = 14 and (0 - 64) / 2 = -32."""
    assert np.allclose(gem(PATCHES), [[14 ** (1 / 3), -(32 ** (1 / 3))]])


def test_two_poolings_weigh_the_same() -> None:
    row = pool("cls+gem", CLS, PATCHES)[0]
    assert np.allclose(row[:2], np.array([0.6, 0.8]) / 2**0.5)
    assert np.allclose([np.linalg.norm(row[2:]), np.linalg.norm(row)], [0.5**0.5, 1])
    assert (width("cls", 768), width("cls+gem", 768)) == (768, 1536)


def test_what_has_no_direction_is_an_error() -> None:
    for value in (0.0, np.nan, np.inf):
        with pytest.raises(EncoderError, match="not finite or zero"):
            unit(np.array([[1.0, 0.0], [value, 0.0]], np.float32))


def test_an_unknown_pooling_is_named_with_those_there_are() -> None:
    with pytest.raises(EncoderError, match="'avg' is none of cls, mean, gem, cls\\+gem"):
        check("avg")
