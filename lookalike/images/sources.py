"""A folder, tar, zip or list of paths and URLs to a stream of entries, each of which is read when it is needed."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from lookalike.errors import ImageError, SourceError
from lookalike.images import decode, sidecars, xmp
from lookalike.images.decode import Limits, sniff
from lookalike.images.ignore import FILE, Rules
from lookalike.images.kinds import is_image, unread
from lookalike.images.sidecars import Sidecar
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
    reason: str | None = None
    """Why it is not even tried."""
    sidecar: Sidecar | None = None
    """The file beside it that says something of it."""


class Source(Protocol):
    """Where images come from."""

    @property
    def location(self) -> Path:
        """The folder or file."""
        ...

    @property
    def ignore(self) -> tuple[str, ...]:
        """The user's patterns of what to pass over, as in a .gitignore."""
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


def open_source(location: str | Path, ignore: Sequence[str] = ()) -> Source:
    """The source at `location`, recognised by its content and not by its name; raises SourceError.

    `ignore` are patterns of what to pass over, in the syntax of .gitignore.
    """
    check_patterns(ignore)
    return replace(_recognised(location), ignore=tuple(ignore))


def check_patterns(ignore: Sequence[str]) -> None:
    """Raise SourceError where a pattern of what to pass over is a mistake, before anything is done."""
    Rules.of(ignore).ignores("")


def _recognised(location: str | Path) -> "Folder | Tar | Zip | TextList":
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


def unreadable(key: str, why: str) -> SourceEntry:
    """The entry of a file that is not tried, as its name says that it cannot be read."""
    return SourceEntry(key, -1, -1, _refuse(why), reason=why)


def _within_limit(size: int, most: int | None = None) -> None:
    most = decode.LIMITS.bytes if most is None else most
    if size > most:
        raise ImageError(f"{size:,} bytes, over the limit of {most:,}")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


@dataclass(frozen=True)
class Folder:
    """All images under a folder; the names of one directory at a time are in memory.

    What a `.lookalikeignore` in it or below names is passed over, and what the patterns of `ignore` do.
    """

    location: Path
    ignore: tuple[str, ...] = ()

    def entries(self) -> Iterator[SourceEntry]:
        """Files with an image's extension or signature, depth first in the order of their names; others named like
        pictures, such as videos, are entries that say why they are not read."""
        yield from map(_entry, self._walk(self.location, "", set(), True))

    def at(self, key: str) -> Iterator[SourceEntry]:
        """What `entries` gives for one relative path: the entry of a file, or all entries of a folder."""
        path = self.location / key
        if any(_is_hidden(part) for part in key.split("/")):
            return
        if path.is_dir():
            yield from map(_entry, self._walk(path, f"{key}/", set(), True))
        elif sidecars.is_sidecar(path.name):
            yield from self._beside(path, key.removesuffix(path.name))
        elif path.is_file() and self._is_wanted(key) and (candidate := _candidate(path, path.name, key, True)):
            yield _entry((*candidate, _beside(path)))

    def _beside(self, sidecar: Path, prefix: str) -> Iterator[SourceEntry]:
        """The images that a sidecar may belong to, whether or not it is still there."""
        try:
            names = sorted(item.name for item in os.scandir(sidecar.parent))
        except OSError:
            return
        for name in names:
            if sidecars.may_belong(sidecar.name, name) and not sidecars.is_sidecar(name):
                yield from self.at(prefix + name)

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

    def _is_wanted(self, key: str) -> bool:
        parent, slash, _ = key.rpartition("/")
        rules = self._rules_above(parent + slash)
        return rules is not None and not rules.within(self.location / parent, parent + slash).ignores(key)

    def looks_into(self, folder: str) -> bool:
        """Whether the images of a folder, by its relative path with a slash at the end, are not passed over."""
        return not any(_is_hidden(part) for part in folder.split("/")) and self._rules_above(folder) is not None

    def _rules_above(self, prefix: str) -> Rules | None:
        """The rules of a folder without its own file; None where it, or one that it lies in, is ignored."""
        rules, above = Rules.of(self.ignore), ""
        for part in prefix.split("/")[:-1]:
            rules = rules.within(self.location / above, above)
            above += f"{part}/"
            if rules.ignores(above):
                return None
        return rules

    def _walk(self, folder: Path, prefix: str, visited: set[tuple[int, int]], sniffing: bool) -> Iterator["_Candidate"]:
        rules = self._rules_above(prefix)
        if rules is not None:
            yield from self._below(folder, prefix, visited, sniffing, rules)

    def _below(
        self, folder: Path, prefix: str, visited: set[tuple[int, int]], sniffing: bool, rules: Rules
    ) -> Iterator["_Candidate"]:
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
            yield prefix, "folder cannot be read", None
            return
        if any(item.name == FILE for item in items):
            rules = rules.within(folder, prefix)
        beside = sidecars.by_image((item.name, item) for item in items)
        for item in items:
            is_folder = _is_folder(item)
            if _is_hidden(item.name) or rules.ignores(prefix + item.name + ("/" if is_folder else "")):
                continue
            if is_folder:
                if is_image(item.name):
                    yield prefix + item.name, "is a directory", None
                yield from self._below(folder / item.name, f"{prefix}{item.name}/", visited, sniffing, rules)
            elif candidate := _candidate(item, item.name, prefix + item.name, sniffing):
                yield *candidate, sidecars.of(item.name, beside) if beside else None


_File = os.DirEntry[str] | Path
_Candidate = tuple[str, str | _File, _File | None]
"""A key, the file, or why it is not read, and the file's sidecar."""


def _candidate(item: _File, name: str, key: str, sniffing: bool) -> tuple[str, str | _File] | None:
    """The entry of a file that is an image or that a person takes for one; None for any other."""
    if is_image(name) or (sniffing and _has_signature(item)):
        return key, item
    why = unread(name)
    return (key, why) if why and _is_file(item) else None


def _entry(candidate: _Candidate) -> SourceEntry:
    key, item, beside = candidate
    if isinstance(item, str):
        return unreadable(key, item)
    read = partial(decode.read, os.fspath(item))
    try:
        status = item.stat()
    except OSError:
        return SourceEntry(key, -1, -1, read)
    return SourceEntry(key, status.st_size, status.st_mtime_ns, read, sidecar=_sidecar(beside) if beside else None)


def _sidecar(item: _File) -> Sidecar | None:
    """A file as a sidecar; None where it is none."""
    try:
        status = item.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    read = partial(decode.read, os.fspath(item), Limits(bytes=xmp.MOST))
    return Sidecar(item.name, status.st_size, status.st_mtime_ns, read)


def _beside(image: Path) -> Path | None:
    """The sidecar of a file that is looked at by itself."""
    places = (image.with_name(name) for name in sidecars.spellings(image.name))
    return next((place for place in places if place.is_file()), None)


def _is_folder(item: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; a circle of links is none."""
    try:
        return item.is_dir()
    except OSError:
        return False


def _is_file(item: "os.DirEntry[str] | Path") -> bool:
    try:
        return item.is_file()
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
    return is_image(name) and not is_hidden(name)


def is_listed(name: str) -> bool:
    """Whether an archive's member is an entry: an image, or something that a person would take for a picture."""
    return is_candidate(name) or (unread(name) is not None and not is_hidden(name))


def is_hidden(key: str) -> bool:
    """Whether a path has a part that is passed over."""
    return any(_is_hidden(part) for part in key.split("/") if part)


def nanoseconds(seconds: float) -> int:
    """The time of a member as the catalog stores it; -1 where it is out of range, as a tar may claim infinity."""
    exact = seconds * 1e9
    return int(exact) if abs(exact) < 2**63 else -1


@dataclass(frozen=True)
class Tar:
    """A tar, compressed or not (also a webdataset shard); only its images are read, nothing is unpacked to disk.

    A `.lookalikeignore` in it is not read: it may come after the files that it names.
    """

    location: Path
    ignore: tuple[str, ...] = ()

    def entries(self) -> Iterator[SourceEntry]:
        """Members in the order of the archive. A compressed tar cannot seek back, so the entries are sequential."""
        with self._open() as archive:
            for member in self._members(archive):
                if not is_image(member.name):
                    yield unreadable(member.name, str(unread(member.name)))
                    continue
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
        rules = Rules.of(self.ignore)
        try:
            while member := archive.next():
                # tarfile keeps a list of all members, which would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                if member.isfile() and is_listed(member.name) and not rules.ignores(member.name):
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
    """A zip; its members are read one by one and not unpacked to disk. A `.lookalikeignore` in it is not read."""

    location: Path
    ignore: tuple[str, ...] = ()

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.location)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SourceError(f"{self.location}: cannot be read as a zip ({error})") from error

    def _members(self) -> Iterator[zipfile.ZipInfo]:
        rules, members = Rules.of(self.ignore), (info for info in self._archive.infolist() if not info.is_dir())
        return (info for info in members if is_listed(info.filename) and not rules.ignores(info.filename))

    def entries(self) -> Iterator[SourceEntry]:
        """Members in the order of the archive's directory."""
        beside = sidecars.by_image((info.filename, info) for info in self._archive.infolist())
        for info in self._members():
            if not is_image(info.filename):
                yield unreadable(info.filename, str(unread(info.filename)))
                continue
            told = sidecars.of(info.filename, beside) if beside else None
            yield SourceEntry(
                info.filename, info.file_size, _stamp(info), partial(self._bytes, info),
                sidecar=self._sidecar(told) if told else None,
            )  # fmt: skip

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

    def _sidecar(self, info: zipfile.ZipInfo) -> Sidecar:
        return Sidecar(info.filename, info.file_size, _stamp(info), partial(self._bytes, info, xmp.MOST))

    def _bytes(self, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
        most = decode.LIMITS.bytes if most is None else most
        _within_limit(info.file_size, most)
        try:
            with self._archive.open(info) as file:
                # The size in the directory may be wrong, so reading is bounded too.
                data = file.read(most + 1)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, *PACKING_ERRORS) as error:
            raise ImageError("damaged zip member") from error
        except RuntimeError as error:
            raise ImageError("encrypted zip member") from error
        _within_limit(len(data), most)
        return data


def _stamp(info: zipfile.ZipInfo) -> int:
    return int("".join(f"{part:02d}" for part in info.date_time))


@dataclass(frozen=True)
class TextList:
    """A UTF-8 text file with one path (relative to the file) or http(s) URL per line; `#` begins a comment."""

    location: Path
    ignore: tuple[str, ...] = ()

    def _lines(self) -> Iterator[str]:
        rules = Rules.of(self.ignore)
        with self.location.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            while line := file.readline(LONGEST_LINE):
                line = line.rstrip("\r\n")
                if line.strip() and not line.startswith("#") and not rules.ignores(line):
                    yield line

    def entries(self) -> Iterator[SourceEntry]:
        """Lines in their order; a URL is fetched once and counts as unchanged from then on."""
        for line in self._lines():
            path = self.path(line)
            if path and (why := unread(line)) and path.is_file() and not _has_signature(path):
                yield unreadable(line, why)
                continue
            try:
                status = path.stat() if path else None
            except (OSError, ValueError):
                status = None
            size, mtime = (status.st_size, status.st_mtime_ns) if status else (-1, -1)
            beside = _beside(path) if path and status else None
            told = _sidecar(beside) if beside else None
            yield SourceEntry(line, size, mtime, partial(self.read, line), sidecar=told)

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
