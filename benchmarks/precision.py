"""int8 compared with fp32 on photos: how near the vectors are, which neighbours change, and images a second.

    python benchmarks/precision.py PHOTOS [--images 200] [--rounds 3] [--model dinov2-small] [--checkpoint FOLDER]
    python benchmarks/precision.py PHOTOS --encoder efficientnet-lite0

Random weights have no outlying channels and are easy for int8, so a trained checkpoint (--checkpoint, a folder with
model.safetensors) says more. What is compared is arithmetic: figures of weights that were trained for something else
say nothing about retrieval. Both precisions run in turn on the same pixels, one image after another; the best round
counts.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import fake_weights

from lookalike.encoders import load_encoder
from lookalike.encoders.precision import nearest, overlap
from lookalike.images import decode
from lookalike.images.sources import open_source
from lookalike.types import Encoder, Vectors
from lookalike.utils.cores import cores

HEAD = [
    "weights",
    "precision",
    "smallest cosine",
    "median",
    "of ten neighbours",
    "first neighbour",
    "images/s",
    "x fp32",
]
TIMED = 16
"""Images of each round that is timed."""


def speeds(encoders: dict[str, Encoder], photos: list[Path], rounds: int) -> dict[str, float]:
    """Images a second on pixels that are ready, the best of some rounds in turn."""
    best = dict.fromkeys(encoders, np.inf)
    for _ in range(rounds):
        for name, encoder in encoders.items():
            prepared = [decode.prepare(encoder, decode.load(photo)) for photo in photos[:TIMED]]
            start = time.perf_counter()
            encoder.encode_batch(prepared)
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: min(TIMED, len(photos)) / seconds for name, seconds in best.items()}


def closeness(exact: Vectors, vectors: Vectors) -> list[str]:
    """The columns that compare with fp32."""
    cosines = (exact * vectors).sum(axis=1)
    first = np.mean(nearest(exact, 1) == nearest(vectors, 1))
    return [f"{cosines.min():.5f}", f"{np.median(cosines):.5f}", f"{overlap(exact, vectors):.1%}", f"{first:.1%}"]


def rows(label: str, source: str | Path, photos: list[Path], rounds: int) -> list[list[str]]:
    device = {"device": "onnx"} if isinstance(source, Path) else {}
    encoders = {name: load_encoder(source, precision=name, **device) for name in ("fp32", "int8")}
    vectors = {name: encoder.encode(photos) for name, encoder in encoders.items()}
    speed = speeds(encoders, photos, rounds)
    return [
        [
            label,
            name,
            *closeness(vectors["fp32"], vectors[name]),
            f"{speed[name]:.2f}",
            f"{speed[name] / speed['fp32']:.2f}",
        ]
        for name in encoders
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="dinov2-small", help="whose shape the random weights have")
    parser.add_argument("--checkpoint", type=Path, help="a folder with model.safetensors, of trained weights")
    parser.add_argument("--encoder", help="an encoder by its name, in place of these")
    args = parser.parse_args()
    keys = sorted(entry.key for entry in open_source(args.photos).entries())
    count = min(args.images, len(keys))
    photos = [args.photos / keys[number * len(keys) // count] for number in range(count)]
    squashed = "" if args.encoder else ", squashed to 224 x 224"
    print(f"{count} photos{squashed}, {cores()} threads; best of {args.rounds} rounds\n")
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LOOKALIKE_CACHE"] = str(Path(scratch, "cache"))
        sources: dict[str, str | Path] = {}
        if args.encoder:
            sources[args.encoder] = args.encoder
        else:
            random = fake_weights.write(fake_weights.architecture(args.model), Path(scratch, args.model))
            sources[f"{args.model}, random"] = random
        if args.checkpoint:
            sources[args.checkpoint.name] = args.checkpoint
        for label, source in sources.items():
            for row in rows(label, source, photos, args.rounds):
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
