"""Time and memory of `duplicates` over many vectors: a file of them is made, with copies planted, and searched.

    python benchmarks/duplicates_scale.py [--rows 1000000] [--dim 768] [--threshold 0.95] [--decay 0.5]

The vectors are Gaussian with the k-th direction's deviation k ** -decay, which real descriptors resemble more or less
(0: no direction is special, and no pair can be dismissed early); the time depends on it, the memory does not.
"""

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from lookalike.index.self_join import stars

PLANTED = 1000


def write(path: Path, rows: int, dim: int, decay: float) -> None:
    rng = np.random.default_rng(0)
    deviations = np.arange(1, dim + 1, dtype=np.float32) ** -decay
    vectors = np.memmap(path, np.float32, "w+", shape=(rows, dim))
    for start in range(0, rows, 10_000):
        block = rng.standard_normal((min(10_000, rows - start), dim), np.float32) * deviations
        vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    # The last thousand are copies of the first, at a cosine of some 0.98.
    noise = rng.standard_normal((PLANTED, dim), np.float32) * deviations
    noise *= 0.2 / np.linalg.norm(noise, axis=1, keepdims=True)
    copies = vectors[:PLANTED] + noise
    vectors[-PLANTED:] = copies / np.linalg.norm(copies, axis=1, keepdims=True)
    vectors.flush()


def own_memory() -> int:
    """Bytes of this process that the system could not simply drop and read again from a file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--decay", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.f32"
        write(path, options.rows, options.dim, options.decay)
        vectors = np.memmap(path, np.float32, "r", shape=(options.rows, options.dim))
        peak, done = [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                peak[0] = max(peak[0], own_memory())

        threading.Thread(target=watch, daemon=True).start()
        began = time.perf_counter()
        found = stars(lambda ids: np.array(vectors[ids]), options.rows, options.threshold)
        took = time.perf_counter() - began
        done.set()
    planted = sum(star.centre % (options.rows - PLANTED) < PLANTED and len(star.members) == 1 for star in found)
    everything = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{options.rows:,} x {options.dim}, threshold {options.threshold}: "
        f"{len(found)} groups, {planted} of {PLANTED} planted"
    )
    print(f"{took:.0f} s; memory of its own {peak[0] / 1e9:.2f} GB, with the mapped file {everything / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
