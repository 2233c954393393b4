"""How long the map of a folder takes to make, how large it is, and how soon a browser shows it.

python benchmarks/map.py PHOTOS [--encoder thumbnail] [--chromium /usr/bin/chromium] [--screenshot FILE]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lookalike.analysis.map import make
from lookalike.encoders import load_encoder
from lookalike.encoders.pipeline import embed
from lookalike.images.sources import open_source
from lookalike.storage.store import Item
from lookalike.types import Ids, Vectors


class Photos:
    """A folder as the map wants to see it, without a collection on disk."""

    def __init__(self, folder: Path, encoder: str) -> None:
        self._source = open_source(folder)
        found = embed(self._source.entries(), load_encoder(encoder), lambda _: False)
        embedded = [(one.entry.key, one.vector) for one in found if one.vector is not None]
        self._keys = [key for key, _ in embedded]
        self._vectors = np.stack([vector for _, vector in embedded])

    def live_items(self) -> Iterator[Item]:
        for row, key in enumerate(self._keys):
            yield Item(row, 1, key, 0, 0, "00", 0, 0)

    def vectors(self, ids: Ids) -> Vectors:
        return np.asarray(self._vectors[ids], np.float32)

    def read(self, row: int) -> bytes:
        return self._source.read(self._keys[row])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="thumbnail")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--screenshot", type=Path)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    photos = Photos(options.folder, options.encoder)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        page_file = Path(folder) / "map.html"
        began = time.perf_counter()
        count = make(photos, page_file, title=options.folder.name)
        print(
            f"{count:,} pictures: made in {time.perf_counter() - began:.1f} s, {page_file.stat().st_size / 1e6:.1f} MB"
        )
        browser = running.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_file.as_uri())
        page.wait_for_selector("body[data-ready]")
        paint, ready = page.evaluate(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"
        )
        print(f"first paint after {paint:.0f} ms, all thumbnails after at most {ready:.0f} ms")
        if options.screenshot:
            page.screenshot(path=options.screenshot)
        browser.close()


if __name__ == "__main__":
    main()
