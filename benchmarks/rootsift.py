"""What the encoder `rootsift` finds on a set in the VGG layout, and what an image costs.

    python benchmarks/rootsift.py FOLDER [--images 60]

FOLDER holds `images/` and `groundtruth/`. mAP is the original protocol's: cropped queries, junk taken out, trapezoid.
Decoding and describing are timed apart, each in as many threads as `lookalike index` uses. The processor's own time is
printed beside the clock's, as it is the steadier of the two on a machine with other work.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

from lookalike.encoders import load_encoder
from lookalike.encoders.rootsift import VOCABULARY
from lookalike.evaluation import evaluate
from lookalike.images import decode as images
from lookalike.images.sources import Folder
from lookalike.utils.cores import cores

Given = TypeVar("Given")
Made = TypeVar("Made")


def timed(job: Callable[[Given], Made], given: Iterable[Given]) -> tuple[list[Made], float, float]:
    """What `job` made of each, and the milliseconds an item by the clock and by the processor."""
    # As `lookalike index` does it: threads inside each matrix product would only wait for one another.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        clock, processor = time.perf_counter(), time.process_time()
        made = list(pool.map(job, given))
        spent = time.perf_counter() - clock, time.process_time() - processor
    return made, 1000 * spent[0] / len(made), 1000 * spent[1] / len(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=60, help="how many are timed")
    args = parser.parse_args()
    encoder = load_encoder("rootsift")
    files = [entry.read() for entry in islice(Folder(args.folder / "images").entries(), args.images)]
    encoder.encode_batch([images.prepare(encoder, images.decode(files[0], size=encoder.decode_size))])  # warm-up
    decoded, *decoding = timed(lambda data: images.decode(data, size=encoder.decode_size), files)
    _, *describing = timed(lambda picture: images.prepare(encoder, picture), decoded)
    with tempfile.TemporaryDirectory() as cache:
        report = evaluate("vgg", root=args.folder, encoder=encoder, protocol="original", cache=Path(cache))
    print("| mAP | queries | dim | file, bytes | decode, ms (CPU ms) | describe, ms (CPU ms) | threads |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {report.map:.3f} | {len(report.queries)} | {encoder.dim} | {VOCABULARY.stat().st_size:,} "
        f"| {decoding[0]:.0f} ({decoding[1]:.0f}) | {describing[0]:.0f} ({describing[1]:.0f}) | {cores()} |"
    )


if __name__ == "__main__":
    main()
