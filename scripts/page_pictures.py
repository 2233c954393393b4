"""Take docs/page-light.jpg, page-dark.jpg and page-phone.jpg: the page over a made-up town, in Debian's Chromium.

python scripts/page_pictures.py [--out docs]
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "benchmarks")]

LOADED = """Promise.all([...document.images]
    .filter(one => one.hasAttribute('src') && one.getBoundingClientRect().top < innerHeight)
    .map(one => one.decode()))"""
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def shoot(browser: Any, address: str, out: Path, **options: Any) -> None:
    """One picture of what an address shows, once all that is in sight has been loaded."""
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.evaluate(LOADED)
    page.screenshot(path=out, type="jpeg", quality=88)
    context.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    from lookalike.encoders import load_encoder
    from lookalike.evaluation.datasets import synthetic as scenes
    from tests.service.running import running

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    out = parser.parse_args().out
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as started:
        scenes.render(Path(place) / "made")
        town = (Path(place) / "made" / "images").rename(Path(place) / "Town")
        with running(town, load_encoder("rootsift")) as service:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            ids = service.ids()
            facade, other = ids["church_000002.jpg"], ids["library_000001.jpg"]
            item = service.client.get(f"/v1/items/{facade}").json()
            box = ",".join(str(round(item[side] * share)) for side, share in zip(SIDES, SHARES, strict=True))
            shoot(browser, f"{service.url}/#q=i.{facade}&b={box}", out / "page-light.jpg", viewport=DESK)
            dark = {"viewport": DESK, "color_scheme": "dark", "locale": "vi-VN"}
            shoot(browser, f"{service.url}/#q=i.{facade},i.{other}&r=k-reciprocal", out / "page-dark.jpg", **dark)
            shoot(browser, f"{service.url}/#q=i.{other}", out / "page-phone.jpg", viewport=PHONE, has_touch=True)
            browser.close()


SIDES = ("width", "height", "width", "height")
SHARES = (0.25, 0.2, 0.75, 0.7)
"""Of the picture, within which is searched."""

if __name__ == "__main__":
    main()
