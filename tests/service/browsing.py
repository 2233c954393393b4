"""The page in a browser: waiting for it, and giving it files. Its fixtures are in service_fixtures."""

import time
from typing import Any

import numpy as np
from PIL import Image

PATIENCE = 60
"""Seconds until a wait fails, however busy the machine is."""
HOSTILE = "<img src=x onerror=alert(1)> \u202e&quot;'`${7*7}.jpg"


def textured(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A picture in which points can be found again."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)


def begun(page: Any) -> Any:
    page.wait_for_selector("body[data-ready]")
    return page


def until(page: Any, true: str, argument: Any = None) -> None:
    """Wait for something to become true; Playwright's own way of waiting is forbidden by the page's policy."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(true, argument):
        assert time.monotonic() < end, f"{true} ({argument})"
        page.wait_for_timeout(25)


def keys(page: Any) -> list[str]:
    """The names of the results, once the page shows those of its address."""
    until(page, "document.body.dataset.shown === location.hash && !document.body.classList.contains('busy')")
    return [
        str(title)
        for title in page.locator("#grid .caption .name").evaluate_all(
            "elements => elements.map(element => element.title)"
        )
    ]


NEAR = """expected => {
    const box = (/b=([0-9,]+)/.exec(location.hash)?.[1] ?? "").split(",").map(Number);
    return box.length === 4 && box.every((number, place) => Math.abs(number - expected[place]) <= 1);
}"""
"""Whether the box in the address is this one, within a pixel."""


def upload(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def send(page: Any, kind: str, name: str, data: bytes) -> None:
    """Drop a file on the page or paste it, as a browser would hand it over."""
    page.evaluate(
        """([kind, name, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true })
                : new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
            document.getElementById("drop").dispatchEvent(event);
        }""",
        [kind, name, list(data)],
    )


def resting(page: Any, selector: str) -> Any:
    """Where something is, once it is in one place for two frames and the page does not scroll any more."""
    page.evaluate(
        """async selector => {
            const place = () => JSON.stringify(document.querySelector(selector).getBoundingClientRect());
            const frame = () => new Promise(requestAnimationFrame);
            for (let before = ""; before !== place();) { before = place(); await frame(); await frame(); }
        }""",
        selector,
    )
    return page.locator(selector).bounding_box()


def searched(page: Any, before: str = "") -> list[str]:
    until(page, "before => location.hash !== before", before)
    return keys(page)
