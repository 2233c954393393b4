"""`lookalike` and `python -m lookalike`: load the command line and run it."""

import os
import signal
from types import FrameType
from typing import NoReturn

from lookalike.utils.statuses import INTERRUPTED


def main() -> NoReturn:
    """Run the command line; Ctrl-C while it is loaded, which takes a quarter of a second, ends the process quietly."""
    # An exception in the middle of an import would be a traceback, or be caught there.
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, _end)
    from lookalike.cli import main as run

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end(_: int, __: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
