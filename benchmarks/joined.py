"""Two encoders joined into one: the cosine is a weighted mean of theirs. Its mAP on a data set, and its speed.

    python benchmarks/joined.py PARIS_250 [--encoders efficientnet-lite0 rootsift] [--shares 0 .25 .5 .75 1]

A share is the weight of the second encoder. The data set is a folder in the VGG layout. Vectors of both encoders are
made once a photo, so the shares cost nothing; the speed is of both encoders in turn on photos in memory.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike import evaluate, load_encoder
from lookalike.images import decode
from lookalike.images.decode import Decoded
from lookalike.types import Encoder, Picture, Vectors
from lookalike.utils.cores import cores

TIMED = 32
"""Photos that are timed."""
ROUNDS = 3
"""Of each encoder in turn; the best counts."""


class Remembering:
    """The vectors of an encoder, each made once however many shares are tried."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self._made = encoder, dict[bytes, Vectors]()

    def vector(self, image: Image.Image, full_size: tuple[int, int] | None) -> Vectors:
        """Of one picture (dim,)."""
        key = hashlib.sha256(repr((image.size, full_size)).encode() + image.tobytes()).digest()
        if key not in self._made:
            self._made[key] = self.encoder.encode_batch([self.encoder.prepare(image, full_size)])[0]
        return self._made[key]


@dataclass(frozen=True)
class Joined:
    """Two encoders with the weight `share` of the second one."""

    parts: tuple[Remembering, Remembering]
    share: float

    @property
    def encoders(self) -> tuple[Encoder, Encoder]:
        """Those that are joined."""
        return self.parts[0].encoder, self.parts[1].encoder

    @property
    def name(self) -> str:
        """Both names and the weight."""
        return f" + {self.share:g} x ".join(encoder.name for encoder in self.encoders)

    @property
    def fingerprint(self) -> str:
        """Both fingerprints and the weight."""
        return f"+{self.share:g}x".join(encoder.fingerprint for encoder in self.encoders)

    @property
    def dim(self) -> int:
        """The lengths of both vectors."""
        return sum(encoder.dim for encoder in self.encoders)

    @property
    def decode_size(self) -> int | None:
        """The larger one; None where one of them needs the full size."""
        sizes = [encoder.decode_size for encoder in self.encoders]
        return None if None in sizes else max(size or 0 for size in sizes)

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """The joined vector: there is nothing left to do for a batch."""
        weights = np.sqrt([1 - self.share, self.share])
        vectors = [part.vector(image, full_size) for part in self.parts]
        return np.concatenate([weight * vector for weight, vector in zip(weights, vectors, strict=True)])

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Unit rows."""
        return np.stack(prepared).astype(np.float32)

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """As every encoder does."""
        return decode.encode_images(self, images)


def seconds(encoder: Encoder, photos: Sequence[Decoded]) -> float:
    """For these photos, prepared by as many threads as an index run has."""
    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        encoder.encode_batch(list(pool.map(partial(decode.prepare, encoder), photos)))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--encoders", nargs=2, default=["efficientnet-lite0", "rootsift"])
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75, 1])
    args = parser.parse_args()
    first, second = (Remembering(load_encoder(name)) for name in args.encoders)
    print(f"{' and '.join(args.encoders)}, {cores()} threads\n")
    print(f"| share of {args.encoders[1]} | mAP |\n|---|---|")
    for share in args.shares:
        report = evaluate("vgg", args.root, Joined((first, second), share))
        print(f"| {share:g} | {report.map:.4f} |", flush=True)
    photos = [decode.load(path) for path in sorted((args.root / "images").iterdir())[:TIMED]]
    rounds = [(seconds(first.encoder, photos), seconds(second.encoder, photos)) for _ in range(ROUNDS)]
    alone, other = (min(times) for times in zip(*rounds, strict=True))
    print(f"\n{len(photos) / alone:.1f} photos/s alone, {len(photos) / (alone + other):.1f} joined")


if __name__ == "__main__":
    main()
