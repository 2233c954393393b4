"""The map of a collection as a page of the service: made off the event loop, once for each state of the collection."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from html import unescape

from lookalike.analysis import map as maps
from lookalike.search.gallery import StoredGallery
from lookalike.service.ids import to_id

MOST = 10_000
"""Images on one map: more make a page of over 20 MB, which a phone does not show."""
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


class Maps:
    """Makes the page in a thread of its own, so that searches are not kept waiting; keeps the newest."""

    def __init__(self, gallery: Callable[[], StoredGallery], title: str) -> None:
        """`gallery()` gives the state that was committed last."""
        self._gallery, self._title = gallery, title
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lookalike-maps")
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._made: Future[str] | None = None
        self._newest: str | None = None

    def page(self) -> str | None:
        """The page; None while the first one is being made. An old one serves until the new one is there."""
        version = self._gallery().version
        with self._lock:
            made = self._made
            if made and made.done():
                if not made.exception():
                    self._newest = made.result()
                elif version == self._version:
                    made.result()  # raises
            if self._made is None or (self._made.done() and version != self._version):
                self._version, self._made = version, self._pool.submit(self._make)
            return self._newest

    def _make(self) -> str:
        page, _ = maps.render(
            self._gallery(),
            title=self._title,
            link=lambda item: f"/#q=i.{to_id(item.key)}",
            most=MOST,
            link_text="Search with this picture",
        )
        return page

    def close(self) -> None:
        """Drop what was not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def policy(page: str) -> str:
    """The page's own policy, to be sent as a header with what only a header can say."""
    found = _POLICY.search(page)
    assert found, "the map has a policy of its own"
    return unescape(found[1]) + "; frame-ancestors 'none'"
