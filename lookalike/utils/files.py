"""Files that are written whole or not at all, folders that are made durable, and files known by their content."""

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lookalike.utils.paths import cache_dir

log = logging.getLogger(__name__)


def reason(error: OSError) -> str:
    """What the system says of an error, for the end of a message: "no space left on device"."""
    return (error.strerror or str(error)).lower()


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write in place of `path`, which has the old content or all of the new one at any moment.

    It lies beside `path` under a hidden name until the block ends; what fails leaves nothing of it. With `durable` the
    content outlives a power cut; the name does only after `sync_folder`. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        # Exclusively: what lies there already, a link of somebody's perhaps, is not written to.
        with draft.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Put `content` (text as UTF-8, with the bytes of file names that are none) in place of `path`; see `replacing`."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    with replacing(path, durable) as file:
        file.write(data)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; a file system without that (Windows) does it by itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """As `sha256_of`; read again only where the file's size, times or inode changed since this user last asked.

    The answer is kept in the cache folder; where that cannot be written to, it only costs time.
    """
    path = path.resolve(strict=True)
    status = path.stat()
    stamp = f"{path} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    note = cache_dir("checksums", hashlib.sha256(stamp.encode("utf-8", "surrogateescape")).hexdigest()[:32])
    with suppress(OSError, ValueError):
        if len(known := note.read_text(encoding="ascii").strip()) == 64:
            return known
    digest = sha256_of(path)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, digest, durable=False)
    except OSError:
        log.debug("%s cannot be written; %s is read through once more next time", note, path)
    return digest
