"""The map of a collection for the page, drawn in a thread once for each state of the collection."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from lookalike.analysis import map as maps
from lookalike.search.searched import SearchedGallery
from lookalike.service.ids import key_text, to_id
from lookalike.utils.threads import Threads

MOST = 10_000
"""The most images on one map: more are over 20 MB, which a phone does not show."""


@dataclass(frozen=True)
class Drawn:
    """A map that is ready: `data` is JSON for the script, `sheets` are JPEG files of thumbnails."""

    number: int
    data: bytes
    sheets: tuple[bytes, ...]
    facts: dict[str, int]


class Maps:
    """Draws in a thread of its own, so that searches do not wait; keeps the newest."""

    def __init__(self, gallery: Callable[[], SearchedGallery]) -> None:
        """`gallery()` gives the last committed state."""
        self._gallery = gallery
        self._pool = Threads(1, thread_name_prefix="lookalike-maps")
        self._lock = threading.Lock()
        self._version: tuple[object, ...] | None = None
        self._drawing: Future[Drawn] | None = None
        self._progress = 0, 0
        self._newest: Drawn | None = None

    def state(self) -> dict[str, Any]:
        """What is there, and how far a new map is; an old one is given until the new one is ready."""
        version = self._gallery().version
        with self._lock:
            drawing = self._drawing
            if drawing and drawing.done():
                if not drawing.exception():
                    self._newest = drawing.result()
                elif version == self._version:
                    drawing.result()  # raises
            if drawing is None or (drawing.done() and version != self._version):
                number = self._newest.number + 1 if self._newest else 1
                self._version, self._progress = version, (0, 0)
                drawing = self._drawing = self._pool.submit(self._draw, number)
            is_running = not drawing.done()
            newest = self._newest
        done, total = self._progress
        facts = {"version": newest.number, "sheets": len(newest.sheets), **newest.facts} if newest else {"version": 0}
        return {"is_running": is_running, "done": done, "total": total, **facts}

    def drawn(self, number: int) -> Drawn | None:
        """The newest map, if it is that of this number."""
        newest = self._newest
        return newest if newest and newest.number == number else None

    def _draw(self, number: int) -> Drawn:
        def progress(done: int, total: int | None) -> None:
            self._progress = done, total or 0

        drawing = maps.draw(self._gallery(), most=MOST, progress=progress)
        keys = {
            "keys": [key_text(item.key) for item in drawing.items],
            "ids": [to_id(item.key) for item in drawing.items],
        }
        data = json.dumps({**drawing.data, **keys, "links": None}, separators=(",", ":")).encode("ascii")
        facts = {"images": len(drawing.items), "of": drawing.total, "groups": drawing.groups}
        return Drawn(number, data, drawing.sheets, facts)

    def close(self) -> None:
        """Wait for the map that is being drawn; drop the next one."""
        self._pool.shutdown(wait=True, cancel_futures=True)
