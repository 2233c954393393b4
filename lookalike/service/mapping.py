"""The map of a collection as a page of the service, rendered in a thread once for each state of the collection."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from html import unescape

from lookalike.analysis import map as maps
from lookalike.search.gallery import StoredGallery
from lookalike.service.ids import to_id
from lookalike.utils.threads import Threads

MOST = 10_000
"""The most images on one map: more make a page of over 20 MB, which a phone does not show."""
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


class Maps:
    """Renders the page in a thread of its own, so that searches do not wait; keeps the newest."""

    def __init__(self, gallery: Callable[[], StoredGallery], title: str) -> None:
        """`gallery()` gives the last committed state."""
        self._gallery, self._title = gallery, title
        self._pool = Threads(1, thread_name_prefix="lookalike-maps")
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._rendering: Future[str] | None = None
        self._newest: str | None = None

    def page(self) -> str | None:
        """The page; None while the first one is rendered. An old page is given until the new one is ready."""
        version = self._gallery().version
        with self._lock:
            rendering = self._rendering
            if rendering and rendering.done():
                if not rendering.exception():
                    self._newest = rendering.result()
                elif version == self._version:
                    rendering.result()  # raises
            if rendering is None or (rendering.done() and version != self._version):
                self._version, self._rendering = version, self._pool.submit(self._render)
            return self._newest

    def _render(self) -> str:
        page, _ = maps.render(
            self._gallery(),
            title=self._title,
            link=lambda item: f"./#q=i.{to_id(item.key)}",
            most=MOST,
            link_text="Search with this picture",
        )
        return page

    def close(self) -> None:
        """Wait for the page that is being rendered; drop the next one."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def policy(page: str) -> str:
    """The Content-Security-Policy of the page, with what only a header can forbid: framing."""
    match = _POLICY.search(page)
    assert match, "the map has a policy of its own"
    return unescape(match[1]) + "; frame-ancestors 'none'"
