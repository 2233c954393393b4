import sys
import time

import pytest

from lookalike.utils import progress


class Clock:
    """What `time.monotonic` says, moved by hand."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """With no terminal to draw a bar on."""
    moved = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: moved.now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return moved


def test_without_a_terminal_a_line_comes_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("images") as callback:
        clock.now += 50  # work of another kind before the first image does not count
        callback(1, 101)
        clock.now += 5
        callback(21, 101)
        clock.now += 5
        callback(41, 101)
        clock.now += 1
        callback(45, 101)
    assert capsys.readouterr().err == "41 images of 101, 15 s left (4.0/s)\n"


def test_a_count_that_falls_is_another_piece_of_work(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("images") as callback:
        callback(0, 10)
        clock.now += 100
        callback(10, 10)
        clock.now += 500  # queries are answered before the gallery is prepared in another way
        callback(0, 10)
        clock.now += 10
        callback(5, 10)
    assert capsys.readouterr().err.splitlines()[1] == "5 images of 10, 10 s left (0.5/s)"
