"""A program in a pseudo-terminal, and the terminal around it, which answers what it is asked."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

QUESTION = b"\x1b[c"
"""The end of what a program asks the terminal."""
PATIENCE = 10
"""Seconds without output after which keys are typed again."""


def typed(
    arguments: list[object],
    answer: bytes = b"",
    environment: Mapping[str, str] | None = None,
    keys: bytes = b"",
    prompt: bytes = b"]: ",
) -> tuple[int, bytes, bytes]:
    """Status, what the terminal got, and stderr where that is none, of `lookalike` in a terminal of 80 x 40.

    `answer` is what the terminal says when it is asked what it is; `keys` are typed after `prompt`, and then stderr is
    the terminal too.
    """
    terminal, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 640, 640))
    program = subprocess.Popen(
        [sys.executable, "-m", "lookalike", *map(str, arguments)],
        stdin=inner,
        stdout=inner,
        stderr=inner if keys else subprocess.PIPE,
        env={**without_names(), "TERM": "xterm-256color", **(environment or {})},
        preexec_fn=own_terminal,  # noqa: PLW1509 - two system calls, and no lock
    )
    os.close(inner)
    output = _output(terminal, answer, keys, prompt)
    errors = program.stderr.read() if program.stderr else b""
    if program.stderr:
        program.stderr.close()
    os.close(terminal)
    return program.wait(60), output, errors


def own_terminal() -> None:
    """Make stdin the terminal that controls this process."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def without_names() -> dict[str, str]:
    """The environment without what names the terminal of the tests, and without colours forbidden."""
    names = ("TMUX", "TERM_PROGRAM", "LC_TERMINAL", "NO_COLOR")
    own = {"PYTHONPATH": str(Path(__file__).parents[2])}
    return {**{name: value for name, value in os.environ.items() if name not in names}, **own}


def _output(terminal: int, answer: bytes, keys: bytes, prompt: bytes) -> bytes:
    """All that is written until the program ends."""
    output, is_answered, is_typed = b"", False, not keys
    while True:
        # Python does not see a Ctrl-C that comes after its prompt and before it waits for a line.
        if not select.select([terminal], [], [], PATIENCE)[0] and is_typed:
            os.write(terminal, keys)
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            return output
        if not part:
            return output
        output += part
        if QUESTION in output and not is_answered:
            os.write(terminal, answer)
            is_answered = True
        if not is_typed and prompt in output:
            os.write(terminal, keys)
            is_typed = True
