"""The rotated network computes what the checkpoint's does, in another basis."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoders.checkpoint import AnyCheckpoint, open_checkpoint
from lookalike.encoders.rotation import Rotated, stream_rotation, value_rotation
from tests.encoders import checkpoints

Rows = NDArray[np.float64]


@pytest.fixture(params=["dinov2-small", "dinov2-giant-reg", "dinov3-small"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> AnyCheckpoint:
    rotary = request.param.startswith("dinov3")
    little = {"width": 128, "depth": 3, "heads": 2, "hidden": 512}
    shape = checkpoints.rotary(request.param, **little) if rotary else checkpoints.shrunken(request.param)
    folder = checkpoints.write(shape, tmp_path)
    return open_checkpoint(folder / "model.safetensors", folder / "config.json")


def norm(rows: Rows) -> Rows:
    return np.asarray((rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True))


def rows(width: int) -> Rows:
    return np.random.default_rng(0).standard_normal((5, width))


def test_the_rotation_keeps_lengths_and_means(checkpoint: AnyCheckpoint) -> None:
    stream = stream_rotation(checkpoint.architecture)
    assert np.allclose(stream @ stream.T, np.eye(128))
    assert np.allclose(stream.sum(axis=1), 1)
    assert np.abs(stream).max() < 0.5, "every channel is spread over many"
    assert np.array_equal(stream, stream_rotation(checkpoint.architecture))


def test_a_channel_that_stands_out_is_spread_over_all(checkpoint: AnyCheckpoint) -> None:
    """A row of one large channel is 11.3 there, the root of 127, and needs all of int8's range for it."""
    stream = rows(128)
    stream[:, 5] += 300
    assert norm(stream).max() > 11
    assert np.abs(norm(stream @ stream_rotation(checkpoint.architecture))).max() < 5


def test_values_stay_within_their_head(checkpoint: AnyCheckpoint) -> None:
    values = value_rotation(checkpoint.architecture)
    assert np.allclose(values @ values.T, np.eye(128))
    assert not values[:64, 64:].any()
    assert np.array_equal(values[:64, :64], values[64:, 64:])


def test_a_projection_after_a_norm_reads_the_same_from_the_rotated_stream(checkpoint: AnyCheckpoint) -> None:
    stream, plain, rotated = rows(128), checkpoint.block(1), Rotated(checkpoint).block(1)
    first = "mlp.weights_in" if checkpoint.architecture.swiglu else "mlp.fc1"
    for name, own in {"attention.attention.key": "norm1", first: "norm2"}.items():
        normal = norm(stream) * plain(f"{own}.weight") + plain(f"{own}.bias")
        expected = normal @ plain(f"{name}.weight").T + plain(f"{name}.bias")
        turned = norm(stream @ stream_rotation(checkpoint.architecture))
        assert np.abs(turned @ rotated(f"{name}.weight").T + rotated(f"{name}.bias") - expected).max() < 1e-5
        assert (rotated(f"{own}.weight") == 1).all()
        assert not rotated(f"{own}.bias").any()


def test_a_projection_writes_the_same_to_the_rotated_stream(checkpoint: AnyCheckpoint) -> None:
    shape, plain, rotated = checkpoint.architecture, checkpoint.block(1), Rotated(checkpoint).block(1)
    hidden, last = rows(shape.hidden), "mlp.weights_out" if shape.swiglu else "mlp.fc2"
    added = (hidden @ plain(f"{last}.weight").T + plain(f"{last}.bias")) * plain("layer_scale2.lambda1")
    turned = hidden @ rotated(f"{last}.weight").T + rotated(f"{last}.bias")
    assert np.abs(turned - added @ stream_rotation(shape)).max() < 1e-5
    assert (rotated("layer_scale2.lambda1") == 1).all()


def test_values_are_turned_and_turned_back(checkpoint: AnyCheckpoint) -> None:
    shape, plain, rotated = checkpoint.architecture, checkpoint.block(1), Rotated(checkpoint).block(1)
    name, values = "attention.output.dense", rows(128)
    added = (values @ plain(f"{name}.weight").T + plain(f"{name}.bias")) * plain("layer_scale1.lambda1")
    turned = values @ value_rotation(shape) @ rotated(f"{name}.weight").T + rotated(f"{name}.bias")
    assert np.abs(turned - added @ stream_rotation(shape)).max() < 1e-5


def test_the_readout_leaves_the_basis(checkpoint: AnyCheckpoint) -> None:
    stream, rotated = rows(128), Rotated(checkpoint)
    weight, bias = rotated.readout
    expected = norm(stream) * checkpoint.tensor("layernorm.weight") + checkpoint.tensor("layernorm.bias")
    assert np.abs(norm(stream @ stream_rotation(checkpoint.architecture)) @ weight + bias - expected).max() < 1e-5
