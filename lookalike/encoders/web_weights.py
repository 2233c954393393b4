"""Weights that are published as a file at a URL, not on the hub: fetched into the cache, and known by their SHA-256."""

import os
from dataclasses import dataclass
from pathlib import Path

from lookalike.encoders import ledger
from lookalike.errors import EncoderError
from lookalike.types import Progress
from lookalike.utils.files import sha256_of
from lookalike.utils.paths import cache_dir

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class PublishedFile:
    """A file at a URL; a longer one than `most` bytes is refused."""

    url: str
    most: int
    license: str
    megabytes: int

    @property
    def path(self) -> Path:
        """Its place in the cache."""
        return cache_dir("weights", self.url.rpartition("/")[2])


FILES = {
    "sscd": PublishedFile(
        "https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchvision.pt",
        200 * MEGABYTE,
        license="MIT",
        megabytes=98,
    ),
}


def resolve(name: str) -> Path:
    """The local file of a name in `FILES`, fetched where needed; raises EncoderError."""
    return find(name) or pull(name)


def find(name: str) -> Path | None:
    """The file in the cache, or None; does not use the network."""
    return FILES[name].path if FILES[name].path.is_file() else None


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch the file into the cache; an interrupted download is resumed, and a later one must have the same SHA-256.

    Raises EncoderError.
    """
    from lookalike.utils.download import fetch

    file = FILES[name]
    try:
        if not file.path.exists() and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise OSError("HF_HUB_OFFLINE is set")
        fetch(file.url, file.path, progress, most=file.most)
        actual = sha256_of(file.path)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:80]
        raise EncoderError(
            f"the weights of {name} are not on this machine and cannot be fetched ({why}): fetch {file.url} elsewhere "
            f"and give its path as the encoder, or copy it to {file.path}"
        ) from error
    expected = ((ledger.recorded(file.url) or {}).get("sha256") or {}).get(file.path.name, actual)
    if actual != expected:
        file.path.unlink()
        raise EncoderError(
            f"{file.url} has SHA-256 {actual[:12]}…, not {expected[:12]}… as recorded at the first download; "
            "it was deleted, fetch it again"
        )
    ledger.record(file.url, {"revision": file.url, "sha256": {file.path.name: actual}})
    return file.path
