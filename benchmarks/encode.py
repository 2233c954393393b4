"""Images a second from JPEG files to vectors on this processor: the report's pipeline, ours, and PyTorch bf16.

    python benchmarks/encode.py PHOTOS --report report_pipeline.py [--images 24] [--rounds 5] [--model dinov2-base]

All are run in turn, round after round, so that whatever else the machine does falls on all of them alike; the best
round counts. "Bare" is the model alone on pixels that are ready; the others begin with the files. The weights are
random unless --checkpoint names others: the same work, and vectors without meaning.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import fake_weights

from lookalike.encoders.build import build, identify
from lookalike.encoders.checkpoint import Architecture
from lookalike.encoders.dinov2 import Dinov2, Identity
from lookalike.encoders.files import Files, locate
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.pipeline import embed
from lookalike.encoders.preprocess import Preprocess
from lookalike.encoders.torch import TorchBackbone
from lookalike.images import decode as images
from lookalike.images.sources import SourceEntry, open_source
from lookalike.utils.cores import cores

Contender = Callable[[], None]


def operations(shape: Architecture, side: int = 224) -> float:
    """Multiplications and additions of one image, in 10^9: projections, attention and the patch convolution."""
    patches = (side // shape.patch) ** 2
    tokens = 1 + shape.registers + patches
    feed_forward = (3 if shape.swiglu else 2) * shape.width * shape.hidden
    block = tokens * (4 * shape.width**2 + feed_forward) + 2 * tokens**2 * shape.width
    return 2 * (shape.depth * block + patches * 3 * shape.patch**2 * shape.width) / 1e9


def matrix_peak(seconds: float = 1.0) -> float:
    """10^9 operations a second of the fp32 matrix product of numpy's library: the best of a few."""
    left, right = (np.random.default_rng(0).standard_normal((2048, 2048), np.float32) for _ in range(2))
    best, until = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return float(2 * 2048**3 / best / 1e9)


def report(path: Path, checkpoint: Path, photos: list[Path]) -> Contender:
    """The report's own code on the same weights: one photo at a time."""
    import torch

    spec = importlib.util.spec_from_file_location("report_pipeline", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"{path}: the report's pipeline is not here; name it with --report")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load(str(checkpoint))

    def run() -> None:
        with torch.inference_mode():
            for photo in photos:
                model(pixel_values=module.pixels(photo)).pooler_output.numpy()

    return run


def from_files(encoder: Dinov2, entries: list[SourceEntry]) -> Contender:
    """What `lookalike index` does for new photos, less writing them down."""

    def run() -> None:
        vectors = [found.vector for found in embed(entries, encoder, lambda _: set())]
        assert all(vector is not None for vector in vectors)

    return run


def bare(encoder: Dinov2, entries: list[SourceEntry]) -> Contender:
    """The model on pixels that are ready."""
    prepared = [images.prepare(encoder, images.decode(entry.read(), size=encoder.decode_size)) for entry in entries]

    def run() -> None:
        for at in range(0, len(prepared), encoder.batch_size):
            encoder.encode_batch(prepared[at : at + encoder.batch_size])

    return run


def contenders(files: Files, entries: list[SourceEntry], args: argparse.Namespace) -> dict[str, Contender]:
    photos = [args.photos / entry.key for entry in entries]
    found = {"the report's pipeline": report(args.report, files.weights.parent, photos)}
    digest = identify(files)
    backbones: dict[str, Any] = {
        "fp32": OnnxBackbone(build(files, "fp32"), "fp32"),
        "int8": OnnxBackbone(build(files, "int8"), "int8"),
        "torch bf16": TorchBackbone(files, "cpu", dtype="bfloat16"),
    }
    for name, backbone in backbones.items():
        encoder = Dinov2(Identity(args.model, Preprocess(), "cls", name, digest), backbone)
        found[f"ours, {name}, bare"] = bare(encoder, entries)
        found[f"ours, {name}"] = from_files(encoder, entries)
    return found


def measure(runs: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round but the first, which warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--report", type=Path, required=True, help="the report's own code: load(model), pixels(path)")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="dinov2-base")
    parser.add_argument("--checkpoint", type=Path, help="a folder with model.safetensors; random weights without it")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(cores())
    entries = sorted(open_source(args.photos).entries(), key=lambda entry: entry.key)[: args.images]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LOOKALIKE_CACHE"] = str(Path(scratch, "cache"))
        shape = fake_weights.architecture(args.model)
        folder = args.checkpoint or fake_weights.write(shape, Path(scratch, args.model))
        runs = contenders(locate(folder), entries, args)
        before, seconds = matrix_peak(), measure(runs, args.rounds)
        show(seconds, len(entries), operations(shape), max(before, matrix_peak()), args)


def show(seconds: dict[str, list[float]], count: int, work: float, peak: float, args: argparse.Namespace) -> None:
    speeds = {name: count / min(times) for name, times in seconds.items()}
    first = next(iter(speeds))
    weights = "random weights (the same work, no meaning)" if args.checkpoint is None else args.checkpoint.name
    print(f"{args.model}, {weights}, 224 x 224, {count} photos, {cores()} threads; best of {args.rounds} rounds\n")
    print(f"one image is {work:.1f} GFLOP; a matrix product in fp32 reaches {peak:.0f} GFLOP/s here\n")
    print("| | images/s | x report | of peak | of bare |\n|---|---|---|---|---|")
    for name, speed in speeds.items():
        whole = speeds.get(f"{name}, bare")
        share = f"{speed / whole:.0%}" if whole else ""
        print(f"| {name} | {speed:.2f} | {speed / speeds[first]:.2f} | {speed * work / peak:.0%} | {share} |")


if __name__ == "__main__":
    main()
