"""Progress on stderr: a bar on a terminal, elsewhere a line every ten seconds; in a notebook, a bar below the cell."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lookalike.types import Progress
from lookalike.utils import notebook
from lookalike.utils.verbosity import complain, is_quiet

LINE_EVERY_SECONDS = 10.0
DRAW_EVERY_SECONDS = 0.2
SHORTEST_SECONDS = 0.5
"""Of less time no rate is told."""


@contextmanager
def shown(unit: str) -> Iterator[Progress]:
    """A Progress callback that prints the number of `unit` done, the rate per second, and the time left."""
    if is_quiet():
        yield _silent
    elif sys.stderr.isatty():
        with _bar(unit) as callback:
            yield callback
    else:
        yield _lines(unit)


@contextmanager
def chosen(progress: Progress | bool | None, unit: str) -> Iterator[Progress | None]:
    """A given callback; without one, a bar on a terminal or in a notebook. False: none at all."""
    if progress is False or callable(progress):
        yield progress or None
    elif display := notebook.display():
        yield _in_notebook(display, unit)
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(unit) as callback:
            yield callback
    else:
        yield None


def _in_notebook(display: Any, unit: str) -> Progress:
    drawn = display.display(display.HTML(""), display_id=True)
    rate, last = _Rate(), 0.0

    def callback(done: int, total: int | None) -> None:
        nonlocal last
        speed, now = rate.of(done), time.monotonic()
        if now - last < DRAW_EVERY_SECONDS and done != total:
            return
        last = now
        bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
        of = f" of {total:,}" if total else ""
        drawn.update(display.HTML(f"{bar}{done:,}{of} {unit}{_told(speed)}"))

    return callback


@contextmanager
def _bar(unit: str) -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn(f"{unit}{{task.fields[rate]}}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, rate = bar.add_task("", total=None, rate=""), _Rate()

        def callback(done: int, total: int | None) -> None:
            if rate.begins_anew(done):
                bar.reset(task, total=total, rate="")
            bar.update(task, completed=done, total=total, rate=_told(rate.of(done)))

        yield callback


def _told(speed: float) -> str:
    return f"  {speed:,.1f}/s" if speed else ""


def _silent(done: int, total: int | None) -> None:
    """Progress that nobody wants to see."""


class _Rate:
    """The rate per second since the first call; the time before it was spent on other work.

    A count that falls starts another piece of work, such as the same gallery prepared with other options.
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last = 0

    def begins_anew(self, done: int) -> bool:
        return done < self._last

    def of(self, done: int) -> float:
        now = time.monotonic()
        start, already = self._first = (now, done) if self._first is None or self.begins_anew(done) else self._first
        self._last = done
        # Of a moment there is no rate: the first images may have been waiting for this call.
        return (done - already) / (now - start) if now - start >= SHORTEST_SECONDS else 0.0


def _lines(unit: str) -> Progress:
    last_line_at: float | None = None
    rate = _Rate()

    def callback(done: int, total: int | None) -> None:
        nonlocal last_line_at
        speed, now = rate.of(done), time.monotonic()
        last_line_at = now if last_line_at is None else last_line_at
        if now - last_line_at < LINE_EVERY_SECONDS or not speed:
            return
        last_line_at = now
        left = f" of {total:,}, {(total - done) / speed:,.0f} s left" if total else ""
        complain(f"{done:,} {unit}{left} ({speed:,.1f}/s)")

    return callback
