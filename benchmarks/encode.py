"""Images a second from JPEG files to vectors on this processor: the report's pipeline, ours, and PyTorch bf16.

    python benchmarks/encode.py PHOTOS --report report_pipeline.py [--images 24] [--rounds 5] [--model dinov2-base]
    python benchmarks/encode.py PHOTOS --operators      where the time of the graphs goes
    python benchmarks/encode.py PHOTOS --openvino       our graphs beside OpenVINO's

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
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import fake_weights
import openvino_model
import operators

from lookalike.encoders.build import build, identify
from lookalike.encoders.checkpoint import Architecture
from lookalike.encoders.dinov2 import Dinov2, Identity
from lookalike.encoders.files import Files, locate
from lookalike.encoders.graph import MEAN, STD
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.pipeline import embed
from lookalike.encoders.pooling import unit
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


def pixels(encoder: Dinov2, entries: list[SourceEntry]) -> list[NDArray[Any]]:
    return [images.prepare(encoder, images.decode(entry.read(), size=encoder.decode_size)) for entry in entries]


def bare(encoder: Dinov2, entries: list[SourceEntry]) -> Contender:
    """The model on pixels that are ready."""
    prepared = pixels(encoder, entries)

    def run() -> None:
        for at in range(0, len(prepared), encoder.batch_size):
            encoder.encode_batch(prepared[at : at + encoder.batch_size])

    return run


def load(files: Files, name: str, model: str) -> Dinov2:
    """fp32 or int8 on ONNX Runtime, or torch bf16."""
    torch = name == "torch bf16"
    backbone = TorchBackbone(files, "cpu", dtype="bfloat16") if torch else OnnxBackbone(build(files, name), name)
    return Dinov2(Identity(model, Preprocess(), "cls", name, identify(files)), backbone)


def contenders(files: Files, entries: list[SourceEntry], args: argparse.Namespace) -> dict[str, Contender]:
    photos = [args.photos / entry.key for entry in entries]
    found = {"the report's pipeline": report(args.report, files.weights.parent, photos)}
    for name in ("fp32", "int8", "torch bf16"):
        encoder = load(files, name, args.model)
        found[f"ours, {name}, bare"] = bare(encoder, entries)
        found[f"ours, {name}"] = from_files(encoder, entries)
    return found


def beside_openvino(files: Files, entries: list[SourceEntry], args: argparse.Namespace) -> dict[str, Contender]:
    """Our fp32 graph, and OpenVINO on the same pixels; both must give the same vectors."""
    compiled = openvino_model.compiled(files.weights.parent)
    encoder = load(files, "fp32", args.model)
    found, prepared = {"ours, fp32, bare": bare(encoder, entries)}, pixels(encoder, entries)
    exact = encoder.encode_batch(prepared)
    normal = (np.stack(prepared) / 255 - MEAN) / STD
    planes = np.ascontiguousarray(normal.transpose(0, 3, 1, 2), np.float32)
    for hint, model in compiled.items():
        run = openvino_model.runner(model, hint, planes)
        assert np.abs(unit(run()) - exact).max() < 1e-4
        found[f"OpenVINO, fp32, {hint.lower()}"] = discarding(run)
    return found


def discarding(run: Callable[[], object]) -> Contender:
    def discard() -> None:
        run()

    return discard


def by_operator(files: Files, entries: list[SourceEntry], args: argparse.Namespace) -> list[list[str]]:
    """Rows of the table of operators: fp32 on a batch and int8 on one image, as they are run."""
    table = []
    for precision, together in {"fp32": 8, "int8": 1}.items():
        batch = np.stack(pixels(load(files, precision, args.model), entries[:together]))
        before = matrix_peak()
        kinds = operators.profile(build(files, precision), precision, batch, args.rounds)
        table += operators.rows(precision, kinds, len(batch), max(before, matrix_peak()))
    return table


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
    parser.add_argument("--report", type=Path, help="the report's own code: load(model), pixels(path)")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="dinov2-base")
    parser.add_argument("--checkpoint", type=Path, help="a folder with model.safetensors; random weights without it")
    parser.add_argument("--operators", action="store_true", help="a table of the graphs' operators instead")
    parser.add_argument("--openvino", action="store_true", help="our fp32 graph beside OpenVINO's instead")
    args = parser.parse_args()
    if not (args.report or args.operators or args.openvino):
        parser.error("--report, --operators or --openvino: say what to measure")
    entries = sorted(open_source(args.photos).entries(), key=lambda entry: entry.key)[: args.images]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LOOKALIKE_CACHE"] = str(Path(scratch, "cache"))
        shape = fake_weights.architecture(args.model)
        folder = args.checkpoint or fake_weights.write(shape, Path(scratch, args.model))
        if args.operators:
            show_operators(by_operator(locate(folder), entries, args), args)
        else:
            compare(locate(folder), shape, entries, args)


def compare(files: Files, shape: Architecture, entries: list[SourceEntry], args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(cores())
    runs = beside_openvino(files, entries, args) if args.openvino else contenders(files, entries, args)
    before, seconds = matrix_peak(), measure(runs, args.rounds)
    show(seconds, len(entries), operations(shape), max(before, matrix_peak()), args)


def show_operators(table: list[list[str]], args: argparse.Namespace) -> None:
    print(f"{args.model}, {weights(args)}, 224 x 224, {cores()} threads; the fastest of {args.rounds} runs")
    print('fp32 on 8 images at once, int8 on one; "peak" is an fp32 matrix product on this machine, before and after\n')
    print(f"| {' | '.join(operators.HEAD)} |\n|{'---|' * len(operators.HEAD)}")
    for row in table:
        print(f"| {' | '.join(row)} |")
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


def weights(args: argparse.Namespace) -> str:
    return "random weights (the same work, no meaning)" if args.checkpoint is None else str(args.checkpoint.name)


def show(seconds: dict[str, list[float]], count: int, work: float, peak: float, args: argparse.Namespace) -> None:
    speeds = {name: count / min(times) for name, times in seconds.items()}
    first = next(iter(speeds))
    print(
        f"{args.model}, {weights(args)}, 224 x 224, {count} photos, {cores()} threads; best of {args.rounds} rounds\n"
    )
    print(f"one image is {work:.1f} GFLOP; a matrix product in fp32 reaches {peak:.0f} GFLOP/s here\n")
    print(f"| | images/s | x {'ours' if args.openvino else 'report'} | of peak | of bare |\n|---|---|---|---|---|")
    for name, speed in speeds.items():
        whole = speeds.get(f"{name}, bare")
        share = f"{speed / whole:.0%}" if whole else ""
        print(f"| {name} | {speed:.2f} | {speed / speeds[first]:.2f} | {speed * work / peak:.0%} | {share} |")
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
