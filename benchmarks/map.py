"""How long the map of a folder takes to make, how large it is, and how soon a browser shows it.

python benchmarks/map.py PHOTOS [--encoder thumbnail] [--chromium /usr/bin/chromium] [--screenshot FILE]
"""

import argparse
import tempfile
import time
from pathlib import Path

import lookalike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="thumbnail")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--screenshot", type=Path)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        page_file = Path(folder) / "map.html"
        with lookalike.open(options.folder, encoder=options.encoder, collection=Path(folder) / "collection") as photos:
            photos.index()
            began = time.perf_counter()
            count = photos.map(page_file)
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
