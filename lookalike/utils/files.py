"""Files that are replaced whole or not at all, durable folders, and the SHA-256 of files."""

import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lookalike.errors import LookalikeError
from lookalike.utils.paths import cache_dir

DIGEST = re.compile("[0-9a-f]{64}")
# Errors of file systems without hard links, and of two places on different file systems.
NO_LINK = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}

PAGE = b"<!doctype html"
HEAD = 256
"""Bytes among which the mark of an output is."""

log = logging.getLogger(__name__)


def reason(error: OSError) -> str:
    """The system's text of an error, for the end of a message: "no space left on device"."""
    return (error.strerror or str(error)).lower()


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write in place of `path`, which has the old content or all of the new content at any moment.

    The draft lies beside `path` under a hidden name until the block ends; after a failure it is removed. With `durable`
    the content outlives a power cut; the name does only after `sync_folder`. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    # Exclusive: a file or a planted link that has this name already is neither written to nor removed.
    file = draft.open("xb")
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Replace `path` by `content`; see `replacing`. Text is UTF-8; surrogate escapes become bytes again."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    with replacing(path, durable) as file:
        file.write(data)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Does nothing on Windows, where a folder cannot be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_in(folder: Path) -> Path | None:
    """A symbolic link somewhere in a folder, or None; a link to the folder itself does not count.

    A folder from somewhere else may have links where this program writes, and they may lead to any file of the user's.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (Path(place) / name).is_symlink():
                return Path(place) / name
    return None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """As `sha256_of`, but the file is read again only where its path, size, times, inode or device changed.

    The digest is kept in the cache folder. A cache that cannot be written, or was damaged, only costs time.
    """
    path = path.resolve(strict=True)
    status = path.stat()
    stamp = f"{path} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    note = cache_dir("checksums", hashlib.sha256(stamp.encode("utf-8", "surrogateescape")).hexdigest()[:32])
    with suppress(OSError, ValueError):
        if DIGEST.fullmatch(stored := note.read_text(encoding="ascii")):
            return stored
    digest = sha256_of(path)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, digest, durable=False)
    except OSError:
        log.debug("%s cannot be written; %s is read through again next time", note, path)
    return digest


def move_file(source: Path, target: Path) -> None:
    """Rename a file, also to another device, where it is copied first; raises OSError where the name is taken."""
    try:
        # Unlike rename, this fails where the target exists.
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(source, target)
    source.unlink()


def _copy(source: Path, target: Path) -> None:
    """A complete, durable copy with the times of the original, or none."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
            if writer.tell() != os.fstat(reader.fileno()).st_size:
                raise OSError(errno.EIO, "the file changed while it was copied")
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    shutil.copystat(source, target, follow_symlinks=False)


def refuse_other(path: Path, mark: bytes) -> None:
    """Raise LookalikeError where a file is there that is not empty and does not have `mark` among its first bytes.

    An output replaces an earlier one of its kind, and never a photo whose name was given by mistake.
    """
    if not path.is_file():
        # Missing, a pipe, or nothing that could be written: whoever writes will say so.
        return
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return
    if head and mark not in head.lower():
        raise LookalikeError(f"{path} is there already, and not as an earlier output; name another file")
