import sys
import time

import pytest

from lookalike.utils import notebook, progress


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
    assert capsys.readouterr().err == "lookalike: 41 images of 101, 15 s left (4.0/s)\n"


def test_a_count_that_falls_is_another_piece_of_work(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("images") as callback:
        callback(0, 10)
        clock.now += 100
        callback(10, 10)
        clock.now += 500  # queries are answered before the gallery is prepared in another way
        callback(0, 10)
        clock.now += 10
        callback(5, 10)
    assert capsys.readouterr().err.splitlines()[1] == "lookalike: 5 images of 10, 10 s left (0.5/s)"


class Display:
    """IPython's module `display`, as far as it is used: what is drawn is remembered."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def HTML(self, text: str) -> str:  # noqa: N802 - IPython's name
        return text

    def display(self, text: str, display_id: bool) -> "Display":
        self.update(text)
        return self

    def update(self, text: str) -> None:
        self.drawn.append(text)


def test_a_notebook_has_a_bar_without_being_asked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display()
    monkeypatch.setattr(notebook, "display", lambda: display)
    with progress.chosen(None, "images") as callback:
        assert callback
        callback(0, 10)
        clock.now += 2
        callback(4, 10)
        callback(5, 10)  # too soon to be drawn
        callback(10, 10)
    assert display.drawn[2:] == [
        '<progress value="4" max="10"></progress> 4 of 10 images  2.0/s',
        '<progress value="10" max="10"></progress> 10 of 10 images  5.0/s',
    ]


def test_a_terminal_has_one_too_and_elsewhere_there_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int | None]] = []
    for is_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        with progress.chosen(None, "images") as callback:
            assert (callback is not None) == is_terminal
        with progress.chosen(False, "images") as callback:
            assert callback is None
        with progress.chosen(lambda done, total: given.append((done, total)), "images") as callback:
            assert callback
            callback(1, 2)
    assert given == [(1, 2), (1, 2)]


def test_of_a_moment_no_rate_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display()
    monkeypatch.setattr(notebook, "display", lambda: display)
    with progress.chosen(None, "images") as callback:
        assert callback
        callback(0, 10)
        clock.now += 0.25
        callback(10, 10)
    assert display.drawn[-1] == '<progress value="10" max="10"></progress> 10 of 10 images'
