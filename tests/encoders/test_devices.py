import subprocess
import sys

import pytest

from lookalike.encoders import devices
from lookalike.errors import EncoderError


def test_without_a_gpu_it_is_onnx_runtime_and_torch_is_not_imported() -> None:
    code = """
import sys
from lookalike.encoders import devices
devices._shows_nvidia = lambda: False
devices.platform.system = lambda: "Linux"
assert devices.choose(None, "fp32") == "onnx"
assert "torch" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_gpu_that_torch_can_use_is_taken_for_fp32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_shows_nvidia", lambda: True)
    monkeypatch.setattr(devices, "_is_usable", lambda device: device == "cuda")
    assert devices.choose(None, "fp32") == "cuda"
    assert devices.choose(None, "int8") == "onnx"
    assert devices.choose("onnx", "fp32") == "onnx"


def test_a_gpu_without_torch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_shows_nvidia", lambda: True)
    monkeypatch.setattr(devices, "_has_torch", lambda: False)
    assert devices.choose(None, "fp32") == "onnx"
    with pytest.raises(EncoderError, match=r'device cuda needs `pip install "lookalike\[torch\]"`'):
        devices.choose("cuda", "fp32")


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_usable", lambda device: False)
    for device in ("cuda", "cuda:3", "mps"):
        with pytest.raises(EncoderError, match=f"device {device}: PyTorch finds no such device here"):
            devices.choose(device, "fp32")
