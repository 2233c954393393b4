"""The process that decodes expensive images: bytes on stdin, and on stdout a line with the reason against each."""

import json
import os
import signal
import struct
import sys

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.decode import Limits
from lookalike.images.killable import limit_memory

HEAD = struct.Struct("<qqqq")
"""Bytes that follow, the most pixels, the size to decode for (0: full), and the most memory in MiB."""
MIB = 1024 * 1024


def main() -> None:
    """Answer until the end of stdin."""
    # Ctrl-C in a terminal reaches this process too; the service ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    images.SECONDS.set(None)  # this very process is the one that may be killed
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    # A decoder may print; the pipe is for answers alone.
    os.dup2(2, 1)
    while len(head := source.read(HEAD.size)) == HEAD.size:
        length, pixels, size, megabytes = HEAD.unpack(head)
        limit_memory(megabytes * MIB)
        data = source.read(length)
        print(json.dumps(_reason(data, size or None, Limits(pixels, length))), file=answers, flush=True)


def _reason(data: bytes, size: int | None, limits: Limits) -> str:
    """Why the image cannot be used; empty where it can."""
    try:
        images.decode(data, size=size, limits=limits)
    except ImageError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
