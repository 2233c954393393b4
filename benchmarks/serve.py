"""Requests a second and their times at several numbers of clients, beside what the bare encoder can do.

    python benchmarks/serve.py [--encoder rootsift] [--photos FOLDER] [--clients 1,8,64,256] [--seconds 60]

Serves a collection in a process of its own on loopback and asks it over real connections: with photos that the
collection does not have, with ids, and with vectors. A client that is told to come back later (429) waits as long as it
was told or half as long again, and asks again. All clients are one thread on plain sockets, and share the machine's
cores with the service; what they take of one core is in the table. The bare encoder is timed on the same files,
decoded and encoded in batches by as many threads, with nobody else asking. Without --photos a made-up town is rendered.
`--encoder dinov2-small@fake` writes random weights of that size first, which run as fast as the published ones.
"""

import argparse
import asyncio
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
from load import Tally, file_request, json_request, load
from serving import command, wait_ready

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.pipeline import BATCH
from lookalike.evaluation.datasets import synthetic as scenes
from lookalike.images import decode as images
from lookalike.images.sources import Folder
from lookalike.utils.cores import cores

HELD, ASKED = 400, 200
"""At most so many photos in the collection, and so many to ask with."""


def photos(args: argparse.Namespace, place: Path) -> tuple[Path, list[bytes]]:
    """A folder to index, and photos to ask with: others, each cut a little, so that none is known by its bytes."""
    source = args.photos
    if source is None:
        source = place / "town"
        scenes.render(source)
    files = [entry.read() for entry in islice(Folder(source).entries(), HELD + ASKED)]
    folder = place / "photos"
    folder.mkdir()
    for number, data in enumerate(files[:HELD]):
        (folder / f"{number:04}.jpg").write_bytes(data)
    return folder, [_cut(data) for data in (files[HELD:] or files)[:ASKED]]


def _cut(data: bytes) -> bytes:
    buffer, image = io.BytesIO(), images.decode(data).image
    image.crop((3, 3, image.width - 3, image.height - 3)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def encoder_of(args: argparse.Namespace, place: Path) -> str:
    """The name to load, after fake weights were written where these are asked for."""
    name, _, kind = str(args.encoder).partition("@")
    if kind != "fake":
        return str(args.encoder)
    script = Path(__file__).parents[1] / "scripts" / "fake_weights.py"
    subprocess.run([sys.executable, script, name, place / name], check=True, stdout=subprocess.DEVNULL)
    return str(place / name)


def bare(name: str, asked: list[bytes], seconds: float) -> float:
    """Images a second from files to vectors by the encoder alone."""
    from threadpoolctl import threadpool_limits

    encoder = load_encoder(name)
    batch = max(getattr(encoder, "batch_size", BATCH), 2 * cores())

    def prepared(data: bytes) -> np.ndarray:
        return images.prepare(encoder, images.decode(data, size=encoder.decode_size))

    count, at = 0, 0
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        encoder.encode_batch(list(pool.map(prepared, asked[:batch])))
        start = time.perf_counter()
        ahead: Iterator[np.ndarray] = iter(())
        while time.perf_counter() - start < seconds:
            # One batch is prepared while the one before it is encoded, as the service does it.
            following = pool.map(prepared, [asked[(at + number) % len(asked)] for number in range(batch)])
            at += batch
            if arrays := list(ahead):
                encoder.encode_batch(arrays)
                count += len(arrays)
            ahead = following
        if arrays := list(ahead):
            encoder.encode_batch(arrays)
            count += len(arrays)
        return count / (time.perf_counter() - start)


def requests(kind: str, asked: list[bytes], ids: list[str], dim: int) -> Iterator[bytes]:
    """Endless requests of one kind; each was put together before, so that asking costs next to nothing."""
    if kind == "photo":
        bodies = [file_request("/v1/search", data) for data in asked]
    elif kind == "id":
        bodies = [json_request("/v1/search", json.dumps({"query": {"id": one}}).encode()) for one in ids]
    else:
        rows = np.random.default_rng(0).standard_normal((64, dim)).astype(np.float32).round(5).tolist()
        bodies = [json_request("/v1/search", json.dumps({"query": {"vector": row}}).encode()) for row in rows]
    return cycle(random.Random(0).sample(bodies, len(bodies)))


def megabytes(pid: int) -> float:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def row(kind: str, clients: int, tally: Tally, best: float | None, memory: tuple[float, float]) -> str:
    rate = len(tally.times) / tally.took
    times = [f"{1000 * tally.quantile(share):.0f}" for share in (0.5, 0.95, 0.99)]
    ratio = f"{rate / best:.0%}" if kind == "photo" and best else ""
    cells = [kind, str(clients), f"{rate:.1f}", ratio, *times, str(tally.refused), str(tally.errors)]
    return "| " + " | ".join([*cells, f"{tally.cpu / tally.took:.0%}", *(f"{size:.0f}" for size in memory)]) + " |"


HEAD = """
| query | clients | answers/s | of bare | p50 ms | p95 | p99 | 429 | other errors | clients' CPU | MiB before | after |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="rootsift")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--clients", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kinds", default="photo,id,vector")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    with tempfile.TemporaryDirectory() as place:
        name = encoder_of(args, Path(place))
        folder, asked = photos(args, Path(place))
        with Collection(folder / ".lookalike", name, [folder]) as collection:
            collection.index()
            dim, held = collection.store.header.dim, len(collection)
        best = bare(name, asked, min(args.seconds, 30)) if "photo" in kinds else None
        print(f"{args.encoder}, {held} images, {cores()} cores", end="")
        print(f"; the bare encoder does {best:.1f} images/s" if best else "")
        print(HEAD)
        with command(folder) as (service, url):
            wait_ready(url)
            ids = [item["id"] for item in httpx.get(f"{url}/v1/items?count=200").json()["items"]]
            for kind in kinds:
                stream = requests(kind, asked, ids, dim)
                asyncio.run(load(url, stream, 4, min(args.seconds, 5)))
                for clients in map(int, args.clients.split(",")):
                    before = megabytes(service.pid)
                    tally = asyncio.run(load(url, stream, clients, args.seconds))
                    print(row(kind, clients, tally, best, (before, megabytes(service.pid))), flush=True)


if __name__ == "__main__":
    main()
