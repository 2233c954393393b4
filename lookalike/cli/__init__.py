"""The command line: each command is parse, one call of the library, print. Results on stdout, all else on stderr.

Nothing that is imported here loads a heavy library: `lookalike --help` must not wait for FAISS.
"""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from lookalike.cli import (
    adapt,
    cluster,
    collections,
    encoders,
    evaluation,
    facts,
    maintenance,
    mcp,
    search,
    serve,
    whole,
)
from lookalike.cli.app import app
from lookalike.cli.log_lines import logged
from lookalike.cli.output import complain, note
from lookalike.cli.renamed import current
from lookalike.errors import LookalikeError
from lookalike.utils.files import reason
from lookalike.utils.statuses import INTERRUPTED
from lookalike.utils.verbosity import LEVEL
from lookalike.utils.wording import wording

ANYWHERE = ("-q", "--quiet", "-v", "--verbose", "--debug")
"""Options that may stand before a command and behind it."""
RESUMED = ("index", "embed", "facts", "evaluate", "grid")
"""Commands that keep what they have done, and go on from there when they are run again."""

__all__ = [
    "adapt",
    "app",
    "cluster",
    "collections",
    "encoders",
    "evaluation",
    "facts",
    "main",
    "maintenance",
    "mcp",
    "search",
    "serve",
    "whole",
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script: runs one command and exits with 0, 1 (error), 2 (usage), 3 (--strict) or 130 (Ctrl-C)."""
    _without_closed()
    words, said = _parted(list(sys.argv[1:] if arguments is None else arguments))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding shows what it has no letter for as an escape, as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _level(("-v" in said or "--verbose" in said) - ("-q" in said or "--quiet" in said)), logged():
        sys.exit(_run(words, "--debug" in said))


def _without_closed() -> None:
    """Let streams that the shell closed (`>&-`) lead nowhere; Python has None for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # For as long as the process lives, as the streams that it replaces.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _parted(words: list[str]) -> tuple[list[str], set[str]]:
    """The words of a command line without those that every command takes anywhere, and these."""
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word not in ANYWHERE] + words[end:], set(words[:end]) & set(ANYWHERE)


@contextmanager
def _level(level: int) -> Iterator[None]:
    token = LEVEL.set(level)
    try:
        yield
    finally:
        LEVEL.reset(token)


def _run(arguments: list[str], debug: bool) -> int:
    try:
        status = _status(evaluation.spread(current(arguments)))
        sys.stdout.flush()
        return status
    except LookalikeError as error:
        if debug:
            raise
        complain(f"error: {error}")
        return 1
    except BrokenPipeError:
        return _unread()
    except SystemExit as error:
        # What click makes of a broken pipe inside a command.
        if isinstance(error.__context__, BrokenPipeError):
            return _unread()
        raise
    except OSError as error:
        # A folder that cannot be written to, a full disk: the system's own reason says enough.
        if debug or not error.strerror:
            raise
        complain(f"error: {f'{error.filename}: ' if error.filename else ''}{reason(error)}")
        return 1
    except Exception as error:
        if debug or not hasattr(error, "exit_code"):
            raise
        return _usage(error)


def _status(arguments: list[str]) -> int:
    """Run the command; the status that it ends with."""
    try:
        status = typer.main.get_command(app).main(arguments, "lookalike", standalone_mode=False)
    except typer.Abort:
        # Ctrl-C or Ctrl-D at a question: what the shell prints next begins a line of its own.
        print(file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        # Before the command began: later ones typer turns into the status.
        status = INTERRUPTED
    if status == INTERRUPTED:
        goes_on = any(word in RESUMED for word in arguments[:1])
        note(f"interrupted{'; what was committed stays, and the same command goes on from there' if goes_on else ''}")
    return status if isinstance(status, int) else 0


def _unread() -> int:
    """The status where whoever read our output has ended (`| head`), however much of it had been written by then."""
    # Without this, Python complains about it at exit.
    sys.stdout = None
    return 0


def _usage(error: Any) -> int:
    """Show what typer says of a wrong argument; the exit status."""
    if hasattr(error.__cause__, "errors"):
        error.message = wording(error.__cause__.errors()[0])
    error.show()
    return int(error.exit_code)
