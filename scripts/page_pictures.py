"""Take the pictures docs/page-*.jpg: the page with its tabs over a made-up town, in Debian's Chromium.

python scripts/page_pictures.py [--out docs]
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "benchmarks")]

LOADED = """Promise.all([...document.images]
    .filter(one => one.hasAttribute('src') && one.getBoundingClientRect().top < innerHeight)
    .map(one => one.decode()))"""
PATIENCE = 600_000  # milliseconds: a busy machine takes minutes to compare all pictures
SETTLED = 500  # milliseconds: pictures of the map arrive after it is ready
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def shoot(browser: Any, address: str, out: Path, then: Callable[[Any], None] | None = None, **options: Any) -> None:
    """One picture of what an address shows, once all that is in sight has been loaded."""
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    if then:
        then(page)
    page.evaluate(LOADED)
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=out, type="jpeg", quality=88)
    context.close()


def copy_some(town: Path) -> None:
    """Smaller and re-encoded copies of some pictures, for the tab of duplicates."""
    (town / "copies").mkdir()
    for number, path in enumerate(sorted(town.glob("*.jpg"))[::9]):
        image, part = Image.open(path), 1 + number % 2
        image.resize((image.width // part, image.height // part)).save(town / "copies" / path.name, quality=60)


def why(page: Any) -> None:
    """The larger view of the best result, with what matches drawn in it."""
    page.locator("#grid button.open").first.click()
    page.keyboard.press("?")
    page.wait_for_selector("#viewer-body svg")


def groups(page: Any) -> None:
    """Duplicates, looked for."""
    page.locator("#find").click()
    page.wait_for_selector(".group .pick")


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
        copy_some(town)
        with running(town, load_encoder("rootsift"), writable=True) as service:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            ids = service.ids()
            facade, other = ids["church_000001.jpg"], ids["library_000001.jpg"]
            item = service.client.get(f"/v1/items/{facade}").json()
            box = ",".join(str(round(item[side] * share)) for side, share in zip(SIDES, SHARES, strict=True))
            shoot(browser, f"{service.url}/#q=i.{facade}&b={box}", out / "page-light.jpg", viewport=DESK)
            dark: dict[str, Any] = {"viewport": DESK, "color_scheme": "dark", "locale": "vi-VN"}
            shoot(browser, f"{service.url}/#q=i.{facade},i.{other}&r=k-reciprocal", out / "page-dark.jpg", **dark)
            phone: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
            shoot(browser, f"{service.url}/#q=i.{other}", out / "page-phone.jpg", **phone)
            shoot(browser, f"{service.url}/#q=i.{facade}", out / "page-viewer.jpg", why, viewport=DESK)
            shoot(browser, f"{service.url}/duplicates", out / "page-duplicates.jpg", groups, viewport=DESK)
            shoot(browser, f"{service.url}/map", out / "page-map.jpg", viewport=DESK, color_scheme="dark")
            browser.close()


SIDES = ("width", "height", "width", "height")
SHARES = (0.2, 0.2, 0.7, 0.95)
"""Of the picture, within which is searched."""

if __name__ == "__main__":
    main()
