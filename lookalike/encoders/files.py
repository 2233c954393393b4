"""A local folder or file to the files of a checkpoint, and their checksums."""

from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import EncoderError
from lookalike.utils.files import known_sha256

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"


@dataclass(frozen=True)
class Files:
    """A safetensors file with its config.json, or a .pth file of Meta's, which has no config."""

    weights: Path
    config: Path | None


def locate(path: Path) -> Files:
    """The checkpoint at a path; raises EncoderError where there is none."""
    if path.is_dir():
        if (path / WEIGHTS).is_file():
            return Files(path / WEIGHTS, path / CONFIG)
        candidates = sorted(path.glob("*.pth"))
        if len(candidates) != 1:
            raise EncoderError(f"{path} holds no {WEIGHTS}, nor one .pth file; it is no checkpoint of DINOv2 or DINOv3")
        return Files(candidates[0], None)
    if path.suffix == ".safetensors":
        return Files(path, path.with_name(CONFIG))
    if path.suffix == ".pth":
        return Files(path, None)
    raise EncoderError(f"{path}: a checkpoint is a .safetensors file with its config.json, or a .pth file of Meta's")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, read again only where it changed (see `known_sha256`); raises EncoderError."""
    try:
        return known_sha256(path)
    except FileNotFoundError as error:
        raise EncoderError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error})") from error
