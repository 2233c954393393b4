"""How fast FAISS multiplies matrices with the kernels that its OpenBLAS takes by itself, and with those we name.

    python benchmarks/kernels.py [--rounds 5]

By turns, each time in a new process, since the kernels are chosen when FAISS is loaded.
"""

import argparse
import os
import statistics
import subprocess
import sys

from lookalike.index.library import CORE_TYPE, instructions, kernels

ROWS, LISTS, DIM = 65_536, 4096, 768
ONE = f"""
import time
import numpy as np
import faiss
rng = np.random.default_rng(0)
index = faiss.IndexFlatIP({DIM})
index.add(rng.standard_normal(({LISTS}, {DIM}), np.float32))
rows = rng.standard_normal(({ROWS}, {DIM}), np.float32)
index.search(rows[:4096], 1)
began = time.perf_counter()
index.search(rows, 1)
print({2 * ROWS * LISTS * DIM} / (time.perf_counter() - began) / 1e9)
"""


def speed(name: str | None) -> float:
    """GFLOP/s of assigning rows to the nearest of some lists, as building an inverted file does."""
    own = {key: value for key, value in os.environ.items() if key != CORE_TYPE}
    chosen = own if name is None else {**own, CORE_TYPE: name}
    return float(subprocess.run([sys.executable, "-c", ONE], env=chosen, capture_output=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    name, before = kernels(instructions()), os.getloadavg()[0]
    plain, ours = zip(*[(speed(None), speed(name)) for _ in range(options.rounds)], strict=True)
    ratio = statistics.median(b / a for a, b in zip(plain, ours, strict=True))
    print(f"{ROWS:,} rows to the nearest of {LISTS:,}, {DIM} numbers\n")
    print("| | GFLOP/s | x |\n|---|---|---|")
    print(f"| FAISS by itself | {statistics.median(plain):.1f} | 1.00 |")
    print(f"| with {name} | {statistics.median(ours):.1f} | {ratio:.2f} |")
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
