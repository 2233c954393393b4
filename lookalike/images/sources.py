"""A folder, tar, zip or list of paths and URLs to a stream of entries, each of which is read when it is needed."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from lookalike.errors import ImageError, SourceError
from lookalike.images import decode
from lookalike.images.decode import EXTENSIONS, sniff
from lookalike.utils.files import reason

# Folders of photo programs, package managers and file systems; these and hidden ones are skipped.
SYSTEM_FOLDERS = frozenset(
    {"node_modules", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
URL_TIMEOUT_SECONDS = 20.0
LONGEST_LINE = 8192
PACKING_ERRORS = (zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class SourceEntry:
    """One candidate image: `read()` returns its bytes or raises ImageError with the reason.

    `key` is the relative POSIX path in its source; names that are not UTF-8 carry surrogate escapes. `size` and
    `mtime_ns` tell a changed file from an unchanged one; -1 where they are unknown. A `sequential` entry can be read
    only until the stream moves on; any other can be read later and in any thread.
    """

    key: str
    size: int
    mtime_ns: int
    read: Callable[[], bytes]
    sequential: bool = False


class Source(Protocol):
    """Where images come from."""

    @property
    def location(self) -> Path:
        """The folder or file."""
        ...

    def entries(self) -> Iterator[SourceEntry]:
        """Every candidate, in an order that stays the same from run to run."""
        ...

    def count(self) -> int | None:
        """The number of entries; None where counting is not cheap."""
        ...

    def contains(self, key: str) -> bool:
        """Whether `key` is still there."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of one image; raises ImageError."""
        ...

    def path(self, key: str) -> Path | None:
        """The file behind `key`, where it is one."""
        ...


def open_source(location: str | Path) -> Source:
    """The source at `location`, recognised by its content and not by its name; raises SourceError."""
    path = Path(location).expanduser()
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise SourceError(f"{path}: no such folder, archive or list")
    try:
        if tarfile.is_tarfile(path):
            return Tar(path)
        if zipfile.is_zipfile(path):
            return Zip(path)
        with path.open("rb") as file:
            head = file.read(LONGEST_LINE)
    except OSError as error:
        raise SourceError(f"{path}: {reason(error)}") from error
    if sniff(head[:32]):
        raise SourceError(f"{path} is one image; index the folder that it is in, or search with it")
    if b"\0" in head:
        raise SourceError(f"{path} is neither a folder, a tar, a zip nor a text list of paths or URLs")
    return TextList(path)


def _refuse(message: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise ImageError(message)

    return read


def _within_limit(size: int) -> None:
    if size > decode.LIMITS.bytes:
        raise ImageError(f"{size:,} bytes, over the limit of {decode.LIMITS.bytes:,}")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


@dataclass(frozen=True)
class Folder:
    """All images under a folder; the names of one directory at a time are in memory."""

    location: Path

    def entries(self) -> Iterator[SourceEntry]:
        """Files with an image's extension or signature, depth first in the order of their names."""
        yield from map(_entry, self._walk(self.location, "", set(), True))

    def at(self, key: str) -> Iterator[SourceEntry]:
        """What `entries` gives for one relative path: the entry of a file, or all entries of a folder."""
        path = self.location / key
        if any(_is_hidden(part) for part in key.split("/")):
            return
        if path.is_dir():
            yield from map(_entry, self._walk(path, f"{key}/", set(), True))
        elif path.is_file() and (_has_extension(path.name) or _has_signature(path)):
            yield _entry((key, path))

    def count(self) -> int | None:
        """One pass over the names."""
        return sum(1 for _ in self._walk(self.location, "", set(), False))

    def contains(self, key: str) -> bool:
        """Whether a file of that name is there."""
        return (self.location / key).is_file()

    def read(self, key: str) -> bytes:
        """The bytes of one file."""
        return decode.read(self.location / key)

    def path(self, key: str) -> Path | None:
        """The file itself."""
        return self.location / key

    def _walk(self, folder: Path, prefix: str, visited: set[tuple[int, int]], sniffing: bool) -> Iterator["_Candidate"]:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in visited:
                return
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: item.name)
        except OSError as error:
            if not prefix:
                raise SourceError(f"{folder}: {reason(error)}") from error
            # The key ends in a slash: the images under it are kept, since their state is unknown.
            yield prefix, "folder cannot be read"
            return
        for item in items:
            if _is_hidden(item.name):
                continue
            if _is_folder(item):
                if _has_extension(item.name):
                    yield prefix + item.name, "is a directory"
                yield from self._walk(folder / item.name, f"{prefix}{item.name}/", visited, sniffing)
            elif _has_extension(item.name) or (sniffing and _has_signature(item)):
                yield prefix + item.name, item


_Candidate = tuple[str, "str | os.DirEntry[str] | Path"]
"""A key, and the file, or why there is none."""


def _entry(candidate: _Candidate) -> SourceEntry:
    key, item = candidate
    if isinstance(item, str):
        return SourceEntry(key, -1, -1, _refuse(item))
    read = partial(decode.read, os.fspath(item))
    try:
        status = item.stat()
    except OSError:
        return SourceEntry(key, -1, -1, read)
    return SourceEntry(key, status.st_size, status.st_mtime_ns, read)


def _has_extension(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    # A Path of every file would take longer than its entry in the catalog.
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def _is_folder(item: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; a circle of links is none."""
    try:
        return item.is_dir()
    except OSError:
        return False


def _has_signature(item: "os.DirEntry[str] | Path") -> bool:
    """Whether a regular file without an image's extension begins like an image."""
    try:
        if not item.is_file():
            return False
        with Path(item).open("rb") as file:
            return sniff(file.read(32))
    except OSError:
        return False


def is_candidate(name: str) -> bool:
    """Whether an archive's member is worth reading: an image's extension, and in no hidden folder."""
    parts = name.split("/")
    return Path(name).suffix.lower() in EXTENSIONS and not any(_is_hidden(part) for part in parts if part)


def nanoseconds(seconds: float) -> int:
    """The time of a member as the catalog stores it; -1 where it is out of range, as a tar may claim infinity."""
    exact = seconds * 1e9
    return int(exact) if abs(exact) < 2**63 else -1


@dataclass(frozen=True)
class Tar:
    """A tar, compressed or not (also a webdataset shard); only its images are read, nothing is unpacked to disk."""

    location: Path

    def entries(self) -> Iterator[SourceEntry]:
        """Members in the order of the archive. A compressed tar cannot seek back, so the entries are sequential."""
        with self._open() as archive:
            for member in self._members(archive):
                mtime = nanoseconds(member.mtime)
                yield SourceEntry(
                    member.name, member.size, mtime, partial(self._bytes, archive, member), sequential=True
                )

    def count(self) -> int | None:
        """None: it would take reading the whole archive."""
        return None

    def contains(self, key: str) -> bool:
        """True: the members of an archive are compared at the end of the stream."""
        return bool(key)

    def read(self, key: str) -> bytes:
        """One member's bytes."""
        with self._open() as archive:
            try:
                member = archive.getmember(key)
            except (KeyError, tarfile.TarError, OSError, EOFError) as error:
                raise ImageError(f"not in {self.location.name}") from error
            return self._bytes(archive, member)

    def path(self, key: str) -> Path | None:
        """None: a member is no file."""
        return None

    def _open(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self.location)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise SourceError(f"{self.location}: cannot be read as a tar ({error})") from error

    def _members(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        try:
            while member := archive.next():
                # tarfile keeps a list of all members, which would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                if member.isfile() and is_candidate(member.name):
                    yield member
            self._check_end(archive)
        except (tarfile.TarError, OSError, EOFError, ValueError, *PACKING_ERRORS) as error:
            raise SourceError(f"{self.location}: damaged after what was read so far ({error})") from error

    @staticmethod
    def _check_end(archive: tarfile.TarFile) -> None:
        """`next` takes a damaged header for the end; the members after it would then count as removed."""
        if archive.fileobj is None:
            return
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("invalid header")

    @staticmethod
    def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        _within_limit(member.size)
        try:
            file = archive.extractfile(member)
            data = file.read() if file else b""
        except (tarfile.TarError, OSError, EOFError, KeyError, *PACKING_ERRORS) as error:
            raise ImageError("damaged tar member") from error
        return data


@dataclass(frozen=True)
class Zip:
    """A zip; its members are read one by one and not unpacked to disk."""

    location: Path

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.location)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SourceError(f"{self.location}: cannot be read as a zip ({error})") from error

    def _members(self) -> Iterator[zipfile.ZipInfo]:
        return (info for info in self._archive.infolist() if not info.is_dir() and is_candidate(info.filename))

    def entries(self) -> Iterator[SourceEntry]:
        """Members in the order of the archive's directory."""
        for info in self._members():
            stamp = int("".join(f"{part:02d}" for part in info.date_time))
            yield SourceEntry(info.filename, info.file_size, stamp, partial(self._bytes, info))

    def count(self) -> int | None:
        """The number of images in the archive's directory."""
        return sum(1 for _ in self._members())

    def contains(self, key: str) -> bool:
        """Whether the archive's directory has this name."""
        return key in self._archive.NameToInfo

    def read(self, key: str) -> bytes:
        """One member's bytes."""
        if not self.contains(key):
            raise ImageError(f"not in {self.location.name}")
        return self._bytes(self._archive.NameToInfo[key])

    def path(self, key: str) -> Path | None:
        """None: a member is no file."""
        return None

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        _within_limit(info.file_size)
        try:
            with self._archive.open(info) as file:
                # The size in the directory may be wrong, so reading is bounded too.
                data = file.read(decode.LIMITS.bytes + 1)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, *PACKING_ERRORS) as error:
            raise ImageError("damaged zip member") from error
        except RuntimeError as error:
            raise ImageError("encrypted zip member") from error
        _within_limit(len(data))
        return data


@dataclass(frozen=True)
class TextList:
    """A UTF-8 text file with one path (relative to the file) or http(s) URL per line; `#` begins a comment."""

    location: Path

    def _lines(self) -> Iterator[str]:
        with self.location.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            while line := file.readline(LONGEST_LINE):
                line = line.rstrip("\r\n")
                if line.strip() and not line.startswith("#"):
                    yield line

    def entries(self) -> Iterator[SourceEntry]:
        """Lines in their order; a URL is fetched once and counts as unchanged from then on."""
        for line in self._lines():
            path = self.path(line)
            try:
                status = path.stat() if path else None
            except (OSError, ValueError):
                status = None
            size, mtime = (status.st_size, status.st_mtime_ns) if status else (-1, -1)
            yield SourceEntry(line, size, mtime, partial(self.read, line))

    def count(self) -> int | None:
        """The number of lines."""
        return sum(1 for _ in self._lines())

    def contains(self, key: str) -> bool:
        """Whether the file of that line exists; a URL counts as existing."""
        path = self.path(key)
        return path is None or path.is_file()

    def read(self, key: str) -> bytes:
        """The bytes behind one line."""
        path = self.path(key)
        return decode.read(path) if path else fetch(key)

    def path(self, key: str) -> Path | None:
        """The file of a line; None for a URL."""
        return None if is_url(key) else self.location.parent / key


def is_url(text: str) -> bool:
    """Whether `text` is a URL that `fetch` takes."""
    return text.startswith(("http://", "https://"))


def fetch(url: str) -> bytes:
    """The body of an http(s) URL within the byte limit; raises ImageError with the reason.

    For URLs from the user of this machine. The service checks URLs from the network itself, and more strictly.
    """
    import http.client
    import urllib.error

    from lookalike.utils.download import open_url

    try:
        with open_url(url, URL_TIMEOUT_SECONDS) as response:
            data = response.read(decode.LIMITS.bytes + 1)
    except urllib.error.HTTPError as error:
        raise ImageError(f"the server answered {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ImageError(f"cannot be fetched ({getattr(error, 'reason', error)})") from error
    _within_limit(len(data))
    return data
