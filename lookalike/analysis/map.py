"""A gallery to one self-contained web page that shows all images at once: similar ones together, zoomable."""

import base64
import hashlib
import html
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lookalike.analysis.projection import Islands, islands
from lookalike.errors import CollectionError, ImageError, LookalikeError, SourceError
from lookalike.images import decode as images
from lookalike.search.searched import SearchedGallery
from lookalike.storage.store import Item
from lookalike.types import Ids, Progress
from lookalike.utils.files import PAGE, reason, refuse_other
from lookalike.utils.text import counted
from lookalike.utils.threads import Threads

# 64 pixels look sharp at the size of a group on most screens, and take about 2 kB an image in the file.
SIDE = 64
COLUMNS = 32
MOST = 20_000
QUALITY = 76

log = logging.getLogger(__name__)


def make(
    gallery: SearchedGallery,
    out: str | Path,
    groups: int | None = None,
    title: str = "Pictures",
    link: Callable[[Item], str] | None = None,
    most: int = MOST,
    progress: Progress | None = None,
) -> int:
    """Write the page to `out`, overwriting it; returns the number of images on it.

    Of more than `most` images a random sample is shown. `groups` defaults to about the square root of half their
    number. `link` gives the address of an image, for pages from which images can be reached. An unreadable image is a
    grey patch. Raises CollectionError for an empty collection, LookalikeError where `out` cannot be written.
    """
    path = Path(out)
    refuse_other(path, PAGE)
    page, count = render(gallery, groups, title, link, most, progress)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LookalikeError(f"{path} cannot be written ({reason(error)})") from error
    return count


def render(
    gallery: SearchedGallery,
    groups: int | None = None,
    title: str = "Pictures",
    link: Callable[[Item], str] | None = None,
    most: int = MOST,
    progress: Progress | None = None,
    link_text: str = "Open the picture",
) -> tuple[str, int]:
    """The page as text, and the number of images on it; see `make`. `link_text` is the text of the links."""
    drawing = draw(gallery, groups, most, progress)
    data = {**drawing.data, "links": [link(item) for item in drawing.items] if link else None}
    part = "" if drawing.total == len(drawing.items) else f"{len(drawing.items):,} of "
    summary = f"{part}{counted(drawing.total, 'picture')} in {counted(drawing.groups, 'group')} of like ones"
    page = _page(title, summary, len(drawing.items), drawing.groups, data, drawing.sheets, link_text)
    return page, len(drawing.items)


@dataclass(frozen=True)
class Drawing:
    """A map as the script of the page takes it: `data`, and JPEG `sheets` of thumbnails; `items` in their order.

    `total` counts the images that are not on it too.
    """

    data: dict[str, Any]
    sheets: tuple[bytes, ...]
    items: tuple[Item, ...]
    groups: int
    total: int


def draw(
    gallery: SearchedGallery, groups: int | None = None, most: int = MOST, progress: Progress | None = None
) -> Drawing:
    """What is on the map and where; see `make`."""
    items, total = _choose(gallery, most)
    if not items:
        raise CollectionError("there are no images to show; index a folder first")
    laid = islands(gallery.vectors(np.array([item.row for item in items], np.int64)), groups)
    # By group, so that the pictures of an island are on one or two sheets.
    order = np.argsort(laid.groups, kind="stable")
    items = [items[number] for number in order.tolist()]
    tiles, missing = _tiles(gallery, items, progress)
    if missing:
        log.warning("%s could not be read: a grey patch on the map", counted(missing, "image"))
    sheets = [_sheet(tiles[at : at + COLUMNS**2]) for at in range(0, len(tiles), COLUMNS**2)]
    return Drawing(_data(laid, order, items, tiles), tuple(sheets), tuple(items), len(laid.centres), total)


def _choose(gallery: SearchedGallery, most: int) -> tuple[list[Item], int]:
    """At most `most` images in the order of their rows, and the number of all; never all of millions in memory."""
    total = sum(1 for _ in gallery.live_items())
    chosen = np.ones(total, np.bool_)
    if total > most:
        chosen[:] = False
        chosen[np.random.default_rng(0).choice(total, most, replace=False)] = True
    return list(itertools.compress(gallery.live_items(), chosen)), total


def _tiles(gallery: SearchedGallery, items: Sequence[Item], progress: Progress | None) -> tuple[NDArray[np.uint8], int]:
    """Square thumbnails (n, 64, 64, 3), and the number of unreadable images."""
    tiles = np.full((len(items), SIDE, SIDE, 3), 128, np.uint8)

    def tile(row: int) -> NDArray[np.uint8] | None:
        try:
            image = images.decode(gallery.read(row), size=SIDE).image
        except (ImageError, SourceError):
            return None
        return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS), np.uint8)

    missing = 0
    with Threads(thread_name_prefix="lookalike-map") as pool:
        for number, pixels in enumerate(pool.map(tile, [item.row for item in items])):
            missing += pixels is None
            if pixels is not None:
                tiles[number] = pixels
            if progress and (number % 50 == 49 or number + 1 == len(items)):
                progress(number + 1, len(items))
    return tiles, missing


def _sheet(tiles: NDArray[np.uint8]) -> bytes:
    """Up to 32 x 32 thumbnails as one JPEG, in rows."""
    rows = -(-len(tiles) // COLUMNS)
    padded = np.zeros((rows * COLUMNS, SIDE, SIDE, 3), np.uint8)
    padded[: len(tiles)] = tiles
    grid = padded.reshape(rows, COLUMNS, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return images.to_jpeg(Image.fromarray(grid.reshape(rows * SIDE, COLUMNS * SIDE, 3)), QUALITY)


def _data(
    laid: Islands,
    order: Ids,
    items: Sequence[Item],
    tiles: NDArray[np.uint8],
) -> dict[str, Any]:
    """Data of the script; `items` and `tiles` are already in this `order`."""
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    centres = zip(laid.centres.tolist(), laid.radii.tolist(), position[laid.representatives].tolist(), strict=True)
    return {
        "cell": SIDE,
        "columns": COLUMNS,
        "places": laid.places[order].astype(int).ravel().tolist(),
        "groups": laid.groups[order].tolist(),
        "colours": base64.b64encode(tiles.mean(axis=(1, 2)).astype(np.uint8).tobytes()).decode("ascii"),
        "keys": [item.key for item in items],
        "islands": [[*map(int, centre), round(radius, 2), number] for centre, radius, number in centres],
    }


def _page(
    title: str, summary: str, count: int, groups: int, data: dict[str, Any], sheets: Sequence[bytes], link: str
) -> str:
    parts = {name: part(name) for name in ("page.html", "map.css", "map.js")}
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(parts['map.css'])}; "
        f"script-src {_digest(parts['map.js'])}; base-uri 'none'; form-action 'none'"
    )
    urls = [f"data:image/jpeg;base64,{base64.b64encode(sheet).decode('ascii')}" for sheet in sheets]
    return Template(parts["page.html"]).substitute(
        policy=policy,
        title=html.escape(title.encode("utf-8", "replace").decode()),
        summary=summary,
        link=html.escape(link),
        count=f"{count:,}",
        groups=f"{groups:,}",
        style=parts["map.css"],
        script=parts["map.js"],
        # Without "<" the data can neither end the script element nor begin another.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        sheets="\n".join(f'<img class="sheet" alt="" src="{url}">' for url in urls),
    )


def part(name: str) -> str:
    """A file of the page: page.html, map.css or map.js, which the service serves too."""
    return (resources.files("lookalike.analysis") / "map_page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
