"""A collection kept in step with its folders while they change: the file system says what, and only that is read."""

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
from lookalike.images.sources import SYSTEM_FOLDERS

DEBOUNCE_MS = 1600
"""How long a burst of changes is gathered at most: a copy of many photos becomes a few runs, not thousands."""
STEP_MS = 400
"""How long nothing must happen before a burst counts as over: a file is then written to its end."""
WAIT_MS = 2000
"""How long one call waits for changes before it looks whether it is to stop."""
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


def watch(
    collection: Collection,
    folders: Sequence[Path],
    told: Callable[[IndexReport], None],
    stop: threading.Event | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Bring `collection` into step with every change below `folders`, until `stop` or Ctrl-C, which is no error.

    `told` is called after each burst that changed something, `ready` once from when on no change is missed: what came
    between the run before and that moment is looked for. A change that comes while another process writes is taken up
    when that is done. Raises LookalikeError naming the extra where watchfiles is not installed.
    """
    try:
        library: Any = importlib.import_module("watchfiles")
    except ImportError as error:
        raise LookalikeError("--watch needs watchfiles: pip install lookalike[watch]") from error
    roots = [folder.resolve() for folder in folders]
    own = collection.path.resolve()
    ended = stop or threading.Event()

    def wanted(_: object, path: str) -> bool:
        return is_visible(Path(path), roots) and not Path(path).is_relative_to(own)

    bursts = library.watch(
        *roots,
        watch_filter=wanted,
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
                # Whatever this first answer is, the watch stands now.
                caught_up = _retried(collection.index, ended)
                _tell(replace(caught_up, skipped=0), told)
                ready()
                begun = True
            elif paths:
                _tell(_retried(partial(collection.refresh, paths), ended), told)
    except KeyboardInterrupt:
        log.debug("interrupted")


def _tell(report: IndexReport, told: Callable[[IndexReport], None]) -> None:
    if any((report.added, report.changed, report.renamed, report.removed, report.skipped)):
        told(report)


def is_visible(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a change is of something that is indexed: our own files below `.lookalike` are not."""
    for root in roots:
        if path.is_relative_to(root):
            parts = path.relative_to(root).parts
            return not any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts)
    return False


def _retried(job: Callable[[], IndexReport], ended: threading.Event) -> IndexReport:
    """Again where another process is writing, until that is done or all is to end."""
    while True:
        try:
            return job()
        except CollectionLocked:
            if ended.wait(RETRY_SECONDS):
                return IndexReport()
