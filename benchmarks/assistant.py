"""How long an assistant waits for each tool of `lookalike mcp`, by the protocol's own client over stdin and stdout.

    python benchmarks/assistant.py [--photos FOLDER] [--encoder efficientnet-lite0] [--calls 40]

The command is a process of its own. The first call loads the encoder; the others are warm. Paths are of photos in the
folder that the collection does not have, so each is encoded. Without --photos a made-up town is rendered.
"""

import argparse
import asyncio
import io
import shutil
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client

from lookalike.collection.collection import Collection
from lookalike.evaluation.datasets import synthetic as scenes
from lookalike.images import decode as images
from lookalike.images.sources import Folder

MOST = 1000


def photos(source: Path | None, place: Path, calls: int) -> tuple[Path, list[str]]:
    """A folder to index, and the bytes of photos to be put there afterwards, each cut a little."""
    if source is None:
        source = place / "made"
        scenes.render(source)
    folder = place / "photos"
    folder.mkdir()
    for number, entry in enumerate(islice(Folder(source).entries(), MOST)):
        shutil.copy(source / entry.key, folder / f"{number:04}{Path(entry.key).suffix}")
    return folder, [path.name for path in sorted(folder.iterdir())[:calls]]


def cut(folder: Path, names: list[str]) -> list[str]:
    """New photos in the folder, a little smaller than those of these names."""
    for name in names:
        image, buffer = images.decode((folder / name).read_bytes()).image, io.BytesIO()
        image.crop((3, 3, image.width - 3, image.height - 3)).save(buffer, "JPEG", quality=90)
        (folder / f"new-{Path(name).stem}.jpg").write_bytes(buffer.getvalue())
    return [f"new-{Path(name).stem}.jpg" for name in names]


async def timed(client: Client, tool: str, arguments: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for each in arguments:
        start = time.perf_counter()
        result = await client.call_tool(tool, each)
        times.append(1000 * (time.perf_counter() - start))
        assert not result.is_error, result.structured_content
    return times


async def measure(folder: Path, names: list[str], fresh: list[str]) -> None:
    command = StdioServerParameters(command=sys.executable, args=["-m", "lookalike", "mcp", str(folder)])
    start = time.perf_counter()
    async with Client(stdio_client(command, errlog=sys.__stderr__ or sys.stderr)) as client:
        started = time.perf_counter() - start
        (first,) = await timed(client, "search", [{"query": {"path": fresh[0]}}])
        print(f"Started in {started:.1f} s, first search {first / 1000:.1f} s.\n")
        print("| tool | calls | median, ms | p95, ms |\n|---|---|---|---|")
        pairs = list(zip(names, names[1:] + names[:1], strict=True))
        rows: list[tuple[str, str, list[dict[str, Any]]]] = [
            ("search", "by path", [{"query": {"path": name}} for name in fresh]),
            (
                "search",
                "by path, 24 pictures",
                [{"query": {"path": name}, "k": 24, "thumbnails": 24} for name in fresh],
            ),
            ("search", "by key", [{"query": {"key": name}} for name in names]),
            ("similar", "", [{"image": {"key": name}} for name in names]),
            ("facts", "", [{"image": {"key": name}} for name in names]),
            ("explain", "", [{"query": {"key": a}, "item": {"key": b}} for a, b in pairs]),
        ]
        for tool, how, arguments in rows:
            times = await timed(client, tool, arguments)
            high = statistics.quantiles(times, n=20)[-1]
            print(f"| {tool} {how} | {len(times)} | {statistics.median(times):.0f} | {high:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--calls", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, names = photos(args.photos, Path(place), args.calls)
        with Collection(folder / ".lookalike", args.encoder, [folder]) as collection:
            collection.index()
            print(f"{len(collection)} images, {collection.store.header.encoder}.", end=" ")
        sys.stdout.flush()
        asyncio.run(measure(folder, names, cut(folder, names)))


if __name__ == "__main__":
    main()
