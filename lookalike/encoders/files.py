"""A local folder or file to the files of a checkpoint in it, and to their checksums."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import EncoderError
from lookalike.utils.paths import cache_dir

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Files:
    """A safetensors file with its config.json, or a .pth file of Meta's, which has none."""

    weights: Path
    config: Path | None


def locate(path: Path) -> Files:
    """The checkpoint at a path; raises EncoderError where there is none."""
    if path.is_dir():
        if (path / WEIGHTS).is_file():
            return Files(path / WEIGHTS, path / CONFIG)
        found = sorted(path.glob("*.pth"))
        if len(found) != 1:
            raise EncoderError(f"{path} holds no {WEIGHTS}, nor one .pth file; it is no checkpoint of DINOv2")
        return Files(found[0], None)
    if path.suffix == ".safetensors":
        return Files(path, path.with_name(CONFIG))
    if path.suffix == ".pth":
        return Files(path, None)
    raise EncoderError(f"{path}: a checkpoint is a .safetensors file with its config.json, or a .pth file of Meta's")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, read again only where its size, times or inode changed since; raises EncoderError."""
    try:
        path = path.resolve(strict=True)
        status = path.stat()
        stamp = f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        note = cache_dir("checksums", hashlib.sha256(stamp.encode("utf-8", "surrogateescape")).hexdigest()[:32])
        if note.is_file() and len(known := note.read_text(encoding="ascii").strip()) == 64:
            return known
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error})") from error
    _remember(note, found)
    return found


def _remember(note: Path, text: str) -> None:
    """At once or not at all; where the cache cannot be written to, it only costs time."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, prefix=".", delete=False, encoding="ascii") as file:
            file.write(text)
        Path(file.name).replace(note)
    except OSError:
        return
