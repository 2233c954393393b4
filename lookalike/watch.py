"""A collection kept in step with its folders while they change: the file system says what, and only that is read."""

import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lookalike.collection import Collection
from lookalike.errors import CollectionLocked, LookalikeError
from lookalike.sources import SYSTEM_FOLDERS
from lookalike.sync import IndexReport

DEBOUNCE_MS = 1600
"""How long a burst of changes is gathered at most: a copy of many photos becomes a few runs, not thousands."""
STEP_MS = 400
"""How long nothing must happen before a burst counts as over: a file is then written to its end."""
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


def watch(
    collection: Collection,
    folders: Sequence[Path],
    told: Callable[[IndexReport], None],
    stop: threading.Event | None = None,
) -> None:
    """Bring `collection` into step with every change below `folders`, until `stop` or Ctrl-C, which is no error.

    `told` is called after each burst that changed something. A change that comes while another process writes is
    taken up when that is done. Raises LookalikeError naming the extra where watchfiles is not installed.
    """
    try:
        library: Any = importlib.import_module("watchfiles")
    except ImportError as error:
        raise LookalikeError("--watch needs watchfiles: pip install lookalike[watch]") from error
    roots = [folder.resolve() for folder in folders]
    ended = stop or threading.Event()

    def wanted(_: object, path: str) -> bool:
        return is_visible(Path(path), roots)

    bursts = library.watch(
        *roots, watch_filter=wanted, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=ended, ignore_permission_denied=True
    )
    try:
        for burst in bursts:
            report = _refreshed(collection, sorted({path for _, path in burst}), ended)
            if any((report.added, report.changed, report.renamed, report.removed, report.skipped)):
                told(report)
    except KeyboardInterrupt:
        log.debug("interrupted")


def is_visible(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a change is of something that is indexed: our own files below `.lookalike` are not."""
    for root in roots:
        if path.is_relative_to(root):
            parts = path.relative_to(root).parts
            return not any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts)
    return False


def _refreshed(collection: Collection, paths: Sequence[str], ended: threading.Event) -> IndexReport:
    while True:
        try:
            return collection.refresh(paths)
        except CollectionLocked:
            if ended.wait(RETRY_SECONDS):
                return IndexReport()
