"""How long a person waits for the page: first paint, results after their answer, the map, groups of duplicates.

    python benchmarks/page.py [--images 5000] [--rounds 5] [--width 1440]

Serves made-up pictures in a process of its own and opens them in Debian's Chromium, whose cache is empty every time.
`results` is the time from the last byte of the answer to a search until the frame that shows its rows; `shift` is the
layout shift that browsers report, 0 where nothing moves. Medians of the rounds, in milliseconds.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from serving import command, wait_ready

from lookalike.collection.collection import Collection

SHAPES = ((400, 300), (300, 400), (480, 270), (320, 320))
WATCH = """
window.shifts = 0;
new PerformanceObserver(list => list.getEntries().forEach(entry => { window.shifts += entry.value; }))
    .observe({ type: "layout-shift", buffered: true });
new MutationObserver(() => {
    if (document.body?.dataset.shown && !window.seen) requestAnimationFrame(() => { window.seen = performance.now(); });
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-shown"] });
"""
TIMES = """() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
    const answer = performance.getEntriesByType("resource").filter(one => one.name.endsWith("v1/search")).at(-1);
    return { paint, results: window.seen - answer.responseEnd, shift: window.shifts };
}"""


def write(folder: Path, count: int) -> None:
    """Pictures of coarse blocks in several shapes; every tenth has a smaller copy."""
    folder.mkdir()
    for number in range(count):
        blocks = np.random.default_rng(number if number % 10 else number + 1).integers(0, 256, (6, 8, 3), np.uint8)
        size = SHAPES[number % 10 % len(SHAPES)]
        image = Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{number:05}.jpg", quality=80)


def opened(browser: Any, url: str, width: int) -> Any:
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    return page


def until(page: Any, true: str) -> None:
    """Wait for something to become true; the page's policy forbids Playwright's own way of waiting."""
    while not page.evaluate(true):
        page.wait_for_timeout(5)


def search_times(browser: Any, url: str, id_: str, width: int) -> dict[str, float]:
    """Of one search, from an empty cache."""
    page = opened(browser, f"{url}/#q=i.{id_}", width)
    until(page, "Boolean(window.seen)")
    page.wait_for_timeout(500)
    times: dict[str, float] = page.evaluate(TIMES)
    page.context.close()
    return times


def wait(browser: Any, url: str, width: int, ready: str) -> dict[str, float]:
    """Until something is there, in milliseconds since the page was asked for."""
    page = opened(browser, url, width)
    until(page, f"Boolean({ready})")
    times = {"ready": float(page.evaluate("performance.now()"))}
    page.context.close()
    return times


def report(name: str, rounds: int, measure: Callable[[], dict[str, float]]) -> None:
    measured = [measure() for _ in range(rounds)]
    medians = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
    print(
        f"{name:12}",
        "  ".join(
            f"{key} {value:.3f}" if key == "shift" else f"{key} {value:.0f} ms" for key, value in medians.items()
        ),
    )


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=1440)
    args = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as started:
        folder = Path(place) / "Pictures"
        write(folder, args.images)
        with Collection(folder / ".lookalike", "thumbnail", [folder]) as collection:
            collection.index(progress=None)
        with command(folder) as (_, url):
            wait_ready(url)
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            id_ = httpx.get(f"{url}/v1/items?count=1").json()["items"][0]["id"]
            report("search", args.rounds, lambda: search_times(browser, url, id_, args.width))
            drawn = "document.getElementById('map')?.dataset.drawn"
            report("map, made", 1, lambda: wait(browser, f"{url}/map", args.width, drawn))
            report("map, again", args.rounds, lambda: wait(browser, f"{url}/map", args.width, drawn))
            httpx.post(f"{url}/v1/duplicates", json={"level": "exact"})
            groups = "document.querySelector('.group .pick, #empty:not([hidden])')"
            report("duplicates", args.rounds, lambda: wait(browser, f"{url}/duplicates", args.width, groups))
            browser.close()


if __name__ == "__main__":
    main()
