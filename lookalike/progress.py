"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lookalike.types import Progress

LINE_EVERY_SECONDS = 10.0


@contextmanager
def shown(unit: str) -> Iterator[Progress]:
    """A Progress callback that shows how many `unit` are done, how many a second, and the time left."""
    if sys.stderr.isatty():
        with _bar(unit) as callback:
            yield callback
    else:
        yield _lines(unit)


@contextmanager
def _bar(unit: str) -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn(f"{unit}  {{task.fields[rate]}}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, start = bar.add_task("", total=None, rate=""), time.monotonic()

        def callback(done: int, total: int | None) -> None:
            rate = f"{done / max(1e-9, time.monotonic() - start):,.1f}/s"
            bar.update(task, completed=done, total=total, rate=rate)

        yield callback


def _lines(unit: str) -> Progress:
    start = told = time.monotonic()

    def callback(done: int, total: int | None) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < LINE_EVERY_SECONDS:
            return
        told, rate = now, done / (now - start)
        left = f" of {total:,}, {(total - done) / rate:,.0f} s left" if total else ""
        print(f"{done:,} {unit}{left} ({rate:,.1f}/s)", file=sys.stderr, flush=True)

    return callback
