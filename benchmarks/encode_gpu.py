"""Images a second of DINOv2 in bf16 on a GPU, against the card's own matrix product, and from JPEG files to vectors.

    python benchmarks/encode_gpu.py PHOTOS [--models dinov2-base dinov2-large] [--device cuda] [--compile]

The weights are random: the same work, and vectors without meaning. Without a GPU, `--device cpu --models dinov2-small`
shows that everything runs. Each photo is read --repeat times, so that a small folder keeps the card busy for a while.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import fake_weights
from encode import operations

from lookalike.encoders.dinov2 import Dinov2, Identity
from lookalike.encoders.files import locate
from lookalike.encoders.pipeline import embed
from lookalike.encoders.preprocess import Preprocess
from lookalike.encoders.torch import TorchBackbone
from lookalike.images import decode as images
from lookalike.images.sources import SourceEntry, open_source
from lookalike.utils.cores import cores


def timed(run: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Seconds of one run: the mean over `seconds`, after one to warm up."""
    run()
    synchronize(device)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        count += 1
        synchronize(device)
    return (time.perf_counter() - start) / count


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_peak(device: torch.device, seconds: float) -> float:
    """10^12 operations a second of a bf16 matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / timed(lambda: left @ right, device, seconds) / 1e12


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def model_speed(backbone: TorchBackbone, batch: int, seconds: float) -> float:
    """Images a second on pixels that are on the device already."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
    sent = torch.from_numpy(pixels).to(backbone.device)
    with torch.inference_mode():
        return batch / timed(lambda: backbone._run(sent), backbone.device, seconds)


def decode_speed(encoder: Dinov2, entries: list[SourceEntry]) -> float:
    """Images a second of reading, decoding and preparing alone, in as many threads as there are cores."""

    def prepare(entry: SourceEntry) -> None:
        images.prepare(encoder, images.decode(entry.read(), size=encoder.decode_size))

    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(prepare, entries))
    return len(entries) / (time.perf_counter() - start)


def whole_speed(encoder: Dinov2, entries: list[SourceEntry]) -> float:
    """Images a second from files to vectors, as `lookalike index` makes them."""
    start = time.perf_counter()
    count = sum(found.vector is not None for found in embed(entries, encoder, lambda _: set()))
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--models", nargs="+", default=["dinov2-base", "dinov2-large"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    entries = list(open_source(args.photos).entries()) * args.repeat
    peak = matrix_peak(device, args.seconds)
    print(f"{device_name(device)}: a bf16 matrix product reaches {peak:.3g} TFLOP/s; {cores()} decoding threads")
    print("random weights (the same work, no meaning), 224 x 224, bf16\n")
    print(f"{'':16}{'images/s':>10}{'of peak':>9}{'decode/s':>10}{'files to vectors/s':>20}")
    for name in args.models:
        shape = fake_weights.architecture(name)
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["LOOKALIKE_CACHE"] = str(Path(scratch, "cache"))
            files = locate(fake_weights.write(shape, Path(scratch, name)))
            backbone = TorchBackbone(files, args.device, dtype="bfloat16", compiled=args.compile)
        encoder = Dinov2(Identity(name, Preprocess(), "cls", "fp32", "random"), backbone)
        speed = model_speed(backbone, args.batch, args.seconds)
        share = speed * operations(shape) / 1000 / peak
        decoding, whole = decode_speed(encoder, entries), whole_speed(encoder, entries)
        print(f"{name:16}{speed:10.1f}{share:9.0%}{decoding:10.1f}{whole:20.1f}")


if __name__ == "__main__":
    main()
