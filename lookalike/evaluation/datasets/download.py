"""A published benchmark from its home page to the folder layout that the other modules here read."""

import gzip
import shutil
import tarfile
import urllib.error
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import load
from lookalike.types import Progress
from lookalike.utils import download as fetching
from lookalike.utils.files import reason, replacing

CHUNK = 1 << 20
LARGEST_UNPACKED = 8 * 1024**3
"""Oxford5k unpacks to 2 GB, Paris6k to 2.6 GB."""
MOST_FILES = 20_000


@dataclass(frozen=True)
class RemoteFile:
    """A file at a data set's home, and the folder under the root to unpack it into (".": the root, not unpacked).

    The homes publish no checksums of these files, so `md5` is None. Checked are the length that the server announces,
    the checksums inside the gzip stream, and the counts of images and queries.
    """

    url: str
    into: str
    md5: str | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(urlsplit(self.url).path).name


_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/oxbuildings"
_PARIS = "https://www.robots.ox.ac.uk/~vgg/data/parisbuildings"
_REVISITED = "http://cmp.felk.cvut.cz/revisitop/data/datasets"
_OXFORD_IMAGES = (RemoteFile(f"{_OXFORD}/oxbuild_images-v1.tgz", "images"),)
_PARIS_IMAGES = (RemoteFile(f"{_PARIS}/paris_1-v1.tgz", "images"), RemoteFile(f"{_PARIS}/paris_2-v1.tgz", "images"))
HOMES = {
    "oxford5k": (*_OXFORD_IMAGES, RemoteFile(f"{_OXFORD}/gt_files_170407.tgz", "groundtruth")),
    "paris6k": (*_PARIS_IMAGES, RemoteFile(f"{_PARIS}/paris_120310.tgz", "groundtruth")),
    "roxford5k": (*_OXFORD_IMAGES, RemoteFile(f"{_REVISITED}/roxford5k/gnd_roxford5k.pkl", ".")),
    "rparis6k": (*_PARIS_IMAGES, RemoteFile(f"{_REVISITED}/rparis6k/gnd_rparis6k.pkl", ".")),
}
"""Data set to its files. The original and the revisited set of a city may share a root and its images."""
SUFFIXES = {"images": (".jpg", ".jpeg"), "groundtruth": (".txt",)}


def download(
    dataset: str, root: str | Path | None, progress: Progress | None = None, remotes: Sequence[RemoteFile] | None = None
) -> Path:
    """Fetch the missing files of `dataset` into `root`, check its counts, and return `root`.

    May be interrupted and run again: a download continues where it stopped, and a file that was unpacked is not fetched
    again. `progress` is given the bytes of the current file. Raises EvaluationError with instructions for a download by
    hand.
    """
    if remotes is None and dataset not in HOMES:
        raise EvaluationError(f"{dataset} has no home to download from; there are {', '.join(HOMES)}")
    if root is None:
        raise EvaluationError(f"--download {dataset} needs --root DIR, the folder to put it in")
    root = Path(root).expanduser()
    chosen = HOMES[dataset] if remotes is None else remotes
    if remotes is None and _is_complete(dataset, root):
        return root
    work = root / ".downloads"
    try:
        work.mkdir(parents=True, exist_ok=True)
        for remote in chosen:
            done = work / f"{remote.name}.done"
            if done.exists() and (root / (remote.name if remote.into == "." else remote.into)).exists():
                continue
            file = fetch(remote, work, progress)
            _settle(remote, file, root)
            done.touch()
            file.unlink(missing_ok=True)
    except fetching.Failed as error:
        raise EvaluationError(_by_hand(chosen, root, error)) from error
    except OSError as error:
        raise EvaluationError(f"{root}: {reason(error)}") from error
    if remotes is None:
        load(dataset, root)
    return root


def _is_complete(dataset: str, root: Path) -> bool:
    try:
        load(dataset, root)
    except EvaluationError:
        return False
    return True


def fetch(remote: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """`remote` into `folder`, continuing an interrupted run; raises EvaluationError for wrong contents."""
    file = folder / remote.name
    fetching.fetch(remote.url, file, progress, most=LARGEST_UNPACKED)
    if remote.md5 and (md5 := fetching.digest(file, "md5")) != remote.md5:
        file.unlink()
        raise EvaluationError(f"{remote.url}: md5 {md5}, expected {remote.md5}; it was removed, run again")
    return file


def _settle(remote: RemoteFile, file: Path, root: Path) -> None:
    """Copy or unpack a fetched file to its place under `root`."""
    if remote.into == ".":
        with file.open("rb") as source, replacing(root / remote.name, durable=False) as target:
            shutil.copyfileobj(source, target, CHUNK)
        return
    try:
        unpack(file, root / remote.into, SUFFIXES[remote.into])
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        file.unlink()
        raise EvaluationError(
            f"{remote.url}: damaged ({' '.join(str(error).split())}); it was removed, run again"
        ) from error


def unpack(archive: Path, folder: Path, suffixes: tuple[str, ...]) -> int:
    """Extract regular files with one of `suffixes`, all of them directly into `folder`; returns their number.

    Links, devices and paths outside the archive are refused, as are more files or bytes than any of these sets has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = size = count = 0
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as entries:
        for member in entries:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                raise EvaluationError(f"{archive.name} holds {member.name!r}, which is no plain file inside; refused")
            members, size = members + 1, size + member.size
            if members > MOST_FILES or size > LARGEST_UNPACKED:
                raise EvaluationError(f"{archive.name} holds more than this dataset has; refused at {member.name!r}")
            if member.isfile() and path.suffix.lower() in suffixes:
                _write(entries, member, folder / path.name)
                count += 1
        # The checksum of the gzip stream follows the end of the tar, where tarfile stops reading.
        while size < LARGEST_UNPACKED and (rest := stream.read(CHUNK)):
            size += len(rest)
    return count


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> None:
    """Extract a member to `file`, whole or not at all."""
    source = archive.extractfile(member)
    assert source is not None
    with source, replacing(file, durable=False) as target:
        shutil.copyfileobj(source, target, CHUNK)


def _by_hand(remotes: Sequence[RemoteFile], root: Path, error: Exception) -> str:
    cause = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", None) or str(error)
    hosts = " and ".join(dict.fromkeys(urlsplit(remote.url).netloc for remote in remotes))
    places = "; ".join(
        f"{remote.url} {'to' if remote.into == '.' else 'unpacked into'} {root / remote.into}" for remote in remotes
    )
    return f"cannot download from {hosts} ({cause or type(error).__name__}); fetch by hand: {places}"
