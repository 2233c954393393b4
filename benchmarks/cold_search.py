"""Seconds of a cold `lookalike search`: a new process that loads the encoder, encodes a photo and searches.

    python benchmarks/cold_search.py [--images 100000] [--model dinov2-base] [--rounds 7]

The collection holds random unit vectors and the weights are random: the same work, and results without meaning. They
lie in a cache as the hub lays it out, with HF_HUB_OFFLINE set. The first search builds the encoder's graph; the others
find it. "Cold" is the process: the files are in the system's page cache, as after any recent use.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import fake_weights

from lookalike.encoders import dead_leaves, load_encoder, weights
from lookalike.encoders.checkpoint import Architecture
from lookalike.storage import store
from lookalike.storage.store import Header, Item

REVISION = "0" * 40
HEAVY = ("torch", "transformers", "huggingface_hub", "fastapi", "typer", "onnxruntime", "faiss", "cv2")
BLOCK = 4096
LISTING = """
import sys
from lookalike.cli import _run
status = _run(sys.argv[2:], False)
print(*[name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True)
class Place:
    """A collection, a photo to ask with, and the environment in which the weights are found."""

    collection: Path
    query: Path
    environment: dict[str, str]


def lay_out(shape: Architecture, name: str, cache: Path) -> None:
    """Random weights where the hub's own cache would have the real ones."""
    repository = cache / "hub" / f"models--{weights.model(name).repository.replace('/', '--')}"
    fake_weights.write(shape, repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)


def fill(folder: Path, header: Header, count: int) -> None:
    """A collection of `count` random unit vectors, as an index run would have left it."""
    random = np.random.default_rng(0)
    opened = store.create(folder, header)
    with opened.writing():
        source = opened.catalog.add_source(str(folder.parent / "photos"), "")
        for start in range(0, count, BLOCK):
            block = random.standard_normal((min(BLOCK, count - start), header.dim), np.float32)
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            items = [
                Item(-1, source, f"{number // 1000:04}/{number:07}.jpg", 1, 1, f"{number:064x}", 640, 480)
                for number in range(start, start + len(block))
            ]
            opened.add_many(items, block, new_keys=True)
    opened.close()


def prepare(scratch: Path, name: str, count: int, shape: Architecture | None = None) -> Place:
    """Everything that the searches need; `shape` for an encoder smaller than its name says."""
    lay_out(shape or fake_weights.architecture(name), name, scratch / "hf")
    settings = {"HF_HOME": str(scratch / "hf"), "HF_HUB_OFFLINE": "1", "LOOKALIKE_CACHE": str(scratch / "cache")}
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_CACHE"} | settings
    # A cache of its own, so that the first search finds the weights and no graph.
    os.environ.update(settings | {"LOOKALIKE_CACHE": str(scratch / "other cache")})
    encoder = load_encoder(name, device="onnx")
    (scratch / "photos").mkdir()
    fill(scratch / "collection", Header(name, encoder.fingerprint, encoder.dim), count)
    Image.fromarray(dead_leaves.pictures(1, 640)[0]).save(scratch / "query.jpg", quality=90)
    return Place(scratch / "collection", scratch / "query.jpg", environment)


def search(place: Place) -> tuple[float, float]:
    """One search in a process of its own: seconds by the clock, and the milliseconds that it says it took."""
    command = [sys.executable, "-m", "lookalike", "search", str(place.collection), str(place.query), "--json"]
    start = time.perf_counter()
    run = subprocess.run(command, env=place.environment, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - start
    return seconds, float(json.loads(run.stdout)["took_ms"])


def loaded(place: Place) -> list[str]:
    """Which heavy libraries such a search loads."""
    command = [sys.executable, "-c", LISTING, ",".join(HEAVY), "search", str(place.collection), str(place.query)]
    run = subprocess.run(command, env=place.environment, capture_output=True, text=True, check=True)
    return run.stderr.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--model", default="dinov2-base")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = prepare(Path(scratch), args.model, args.images)
        first, _ = search(place)
        times = [search(place) for _ in range(args.rounds)]
        libraries = ", ".join(loaded(place))
    walls, inside = ([one[at] for one in times] for at in (0, 1))
    print("| encoder | images | first, s | median, s | fastest, s | slowest, s | of which the search itself, s |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {args.model}, random weights | {args.images:,} | {first:.2f} | {statistics.median(walls):.2f} "
        f"| {min(walls):.2f} | {max(walls):.2f} | {statistics.median(inside) / 1000:.2f} |"
    )
    print(f"\nLibraries loaded: {libraries}.")


if __name__ == "__main__":
    main()
