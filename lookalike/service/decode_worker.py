"""The process in which a doubtful image is tried: bytes on stdin, and on stdout a line with the reason against it."""

import json
import os
import signal
import struct
import sys

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.decode import Limits

HEAD = struct.Struct("<qqqq")
"""Bytes that follow, the most pixels, the wanted size (0: full), and the megabytes of memory that it may take."""
MIB = 1024 * 1024


def main() -> None:
    """Answer until stdin ends."""
    # Ctrl-C in the terminal is for the service, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    # Some decoder may print; only answers belong on that pipe.
    os.dup2(2, 1)
    while len(head := source.read(HEAD.size)) == HEAD.size:
        length, pixels, size, megabytes = HEAD.unpack(head)
        _limit_memory(megabytes * MIB)
        data = source.read(length)
        print(json.dumps(_reason(data, size or None, Limits(pixels, length))), file=answers, flush=True)


def _reason(data: bytes, size: int | None, limits: Limits) -> str:
    """Why the image cannot be used; empty where it can."""
    try:
        images.decode(data, size=size, limits=limits)
    except ImageError as error:
        return str(error)
    return ""


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # pragma: no cover - not on Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


if __name__ == "__main__":
    main()
