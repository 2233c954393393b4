"""Changes in folders, as the file system reports them, to updates of a collection that read only what changed."""

import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.errors import CollectionLocked, LookalikeError
from lookalike.images import ignore
from lookalike.images.sources import SYSTEM_FOLDERS
from lookalike.utils.extras import install_hint

DEBOUNCE_MS = 1600
"""The longest time that a burst of changes is gathered: a copy of many photos becomes a few runs, not thousands."""
STEP_MS = 400
"""A burst ends after so long without a change: files are then written completely."""
WAIT_MS = 2000
"""How long a call waits for changes before it checks whether to stop."""
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


def watch(
    collection: Collection,
    folders: Sequence[Path],
    on_report: Callable[[IndexReport], None],
    stop: threading.Event | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Update `collection` at every change below `folders`, until `stop` or Ctrl-C, which is no error.

    `on_report` is called after each burst that changed something. `ready` is called once when no further change can be
    missed, after an update for changes since the last run. While another process writes, changes wait for it. Raises
    LookalikeError naming the extra where watchfiles is not installed.
    """
    try:
        library: Any = importlib.import_module("watchfiles")
    except ImportError as error:
        raise LookalikeError(f"--watch needs watchfiles: `{install_hint('watch')}`") from error
    roots = [folder.resolve() for folder in folders]
    own = collection.path.resolve()
    ended = stop or threading.Event()

    def is_watched(_: object, path: str) -> bool:
        return is_visible(Path(path), roots) and not Path(path).is_relative_to(own)

    bursts = library.watch(
        *roots,
        watch_filter=is_watched,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=ended,
        rust_timeout=WAIT_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    begun = False
    try:
        for burst in bursts:
            paths = sorted({path for _, path in burst})
            if not begun:
                # With the first answer, whatever it is, the watch is active.
                update = _retried(collection.index, ended)
                _report(replace(update, skipped=0, unreachable={}), on_report)
                ready()
                begun = True
            elif any(Path(path).name == ignore.FILE for path in paths):
                _report(_retried(collection.index, ended), on_report)
            elif paths:
                _report(_retried(partial(collection.refresh, paths), ended), on_report)
    except KeyboardInterrupt:
        log.debug("interrupted")


def _report(report: IndexReport, on_report: Callable[[IndexReport], None]) -> None:
    if report.unreachable or any(count for name, count in report.to_json().items() if name != "unchanged"):
        on_report(report)


def is_visible(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path below `roots` is one that counts: hidden files do not, but for `.lookalikeignore`."""
    for root in roots:
        if path.is_relative_to(root):
            parts = path.relative_to(root).parts
            parts = parts[:-1] if path.name == ignore.FILE else parts
            return not any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts)
    return False


def _retried(job: Callable[[], IndexReport], ended: threading.Event) -> IndexReport:
    """The result of `job`, which is repeated while another process writes, or until `ended`."""
    while True:
        try:
            return job()
        except CollectionLocked:
            if ended.wait(RETRY_SECONDS):
                return IndexReport()
