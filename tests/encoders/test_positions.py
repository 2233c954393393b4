import numpy as np
import pytest

from lookalike.encoders.positions import positions


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("grid", [(16, 16), (37, 37), (37, 20), (9, 23), (50, 40), (1, 1), (74, 5)])
def test_grids_are_resized_as_torch_does(grid: tuple[int, int], antialias: bool) -> None:
    import torch

    stored = np.random.default_rng(0).standard_normal((1, 1 + 37 * 37, 4)).astype(np.float32)
    square = torch.from_numpy(stored[:, 1:].reshape(1, 37, 37, 4).transpose(0, 3, 1, 2).copy())
    resized = torch.nn.functional.interpolate(
        square, size=grid, mode="bicubic", align_corners=False, antialias=antialias
    )
    expected = resized.numpy().transpose(0, 2, 3, 1).reshape(1, -1, 4)
    actual = positions(stored, *grid, antialias)
    assert np.array_equal(actual[:, 0], stored[:, 0])
    assert np.abs(actual[:, 1:] - expected).max() < 3e-5
