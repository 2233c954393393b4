"""A requested device, or none, to a runtime and device; PyTorch is imported only where the system shows a GPU."""

import importlib.util
import platform
from pathlib import Path

from lookalike.errors import EncoderError
from lookalike.utils.extras import install_hint

DEVICES = ("cuda", "mps", "cpu", "onnx")


def choose(device: str | None, precision: str) -> str:
    """`onnx`, or a PyTorch device. `device` None: a GPU that an installed PyTorch can use, else `onnx`.

    Raises EncoderError for a device that is unknown or not there, and for int8 on PyTorch.
    """
    if device is None:
        return _gpu() or "onnx" if precision == "fp32" else "onnx"
    kind = device.partition(":")[0]
    if kind not in DEVICES:
        raise EncoderError(f"device {device!r} is none of {', '.join(DEVICES)}")
    if kind == "onnx":
        return kind
    if precision != "fp32":
        raise EncoderError(f"precision {precision} runs on ONNX Runtime alone; leave out device {device}")
    if not _has_torch():
        raise EncoderError(f"device {device} needs `{install_hint('torch')}`")
    if kind != "cpu" and not _is_usable(device):
        raise EncoderError(f"device {device}: PyTorch finds no such device here; give cpu, or leave it out")
    return device


def _gpu() -> str | None:
    # Importing PyTorch takes two seconds, so the system is checked for a GPU first.
    if _shows_nvidia() and _has_torch() and _is_usable("cuda"):
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64" and _has_torch() and _is_usable("mps"):
        return "mps"
    return None


def _shows_nvidia() -> bool:
    """Whether there is a driver: its device on Linux and in WSL, its library on Windows."""
    paths = ("/dev/nvidiactl", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
    return any(Path(path).exists() for path in paths)


def _has_torch() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def _is_usable(device: str) -> bool:
    import torch

    kind, _, number = device.partition(":")
    if kind == "mps":
        return torch.backends.mps.is_available()
    if not torch.cuda.is_available():
        return False
    return not number or (number.isdecimal() and int(number) < torch.cuda.device_count())
