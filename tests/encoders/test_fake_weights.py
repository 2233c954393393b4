import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lookalike.encoders.checkpoint import Architecture, open_checkpoint, read_architecture
from lookalike.encoders.dinov3 import RotaryArchitecture
from tests.encoders import checkpoints

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fake_weights.py"


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dinov2-small", 22.1), ("dinov2-base", 86.6), ("dinov2-large", 304.4), ("dinov2-giant", 1136.5)],
)
def test_architectures_have_as_many_parameters_as_the_published_ones(name: str, millions: float) -> None:
    """The model cards round them to 21 M (small), 86 M, 300 M and 1,100 M (giant)."""
    sizes = [np.prod(shape) for shape in checkpoints.real(name).shapes().values()]
    assert sum(sizes) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(("name", "millions"), [("small", 21.6), ("base", 85.7), ("large", 303.1)])
def test_dinov3_has_as_many_parameters_as_the_published_one(name: str, millions: float) -> None:
    """The model cards say 21 M, 86 M and 300 M."""
    sizes = [np.prod(shape) for shape in checkpoints.rotary(f"dinov3-{name}").shapes().values()]
    assert sum(sizes) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_script_writes_dinov3_too(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "dinov3-base", str(tmp_path), "--depth", "1"]
    subprocess.run(command, check=True, capture_output=True)
    assert read_architecture(tmp_path / "config.json") == RotaryArchitecture(768, 1, 12, 3072, False, 4)
    open_checkpoint(tmp_path / "model.safetensors", tmp_path / "config.json")


def test_the_script_writes_a_folder_as_the_hub_has_it(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "dinov2-small-reg", str(tmp_path), "--depth", "1", "--seed", "3"]
    subprocess.run(command, check=True, capture_output=True)
    shape = read_architecture(tmp_path / "config.json")
    assert isinstance(shape, Architecture)
    assert (shape.width, shape.depth, shape.heads, shape.registers, shape.grid) == (384, 1, 6, 4, 37)
    open_checkpoint(tmp_path / "model.safetensors", tmp_path / "config.json")


def test_a_seed_makes_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    shape = checkpoints.shrunken("dinov2-small")
    folders = [checkpoints.write(shape, tmp_path / str(number), seed) for number, seed in enumerate((4, 4, 5))]
    first, same, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert first == same != other
    assert json.loads((folders[0] / "config.json").read_text())["model_type"] == "dinov2"
