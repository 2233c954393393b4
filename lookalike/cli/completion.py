"""What the shell completes: collections, encoders and re-rankers. Nothing is opened, and no weights are looked for."""

import os
from pathlib import Path


def collections(incomplete: str) -> list[str]:
    """Folders whose path begins so: those that are indexed, and where there are none, all."""
    typed, _, begun = incomplete.rpartition("/")
    before = f"{typed}/" if "/" in incomplete else ""
    try:
        names = sorted(entry.name for entry in os.scandir(Path(before or ".").expanduser()) if entry.is_dir())
    except OSError:
        return []
    folders = [f"{before}{name}" for name in names if name.startswith(begun) and (begun or not name.startswith("."))]
    indexed = [folder for folder in folders if _is_indexed(Path(folder).expanduser())]
    return indexed or [f"{folder}/" for folder in folders]


def _is_indexed(folder: Path) -> bool:
    return (folder / ".lookalike" / "collection.json").is_file() or (folder / "collection.json").is_file()


def encoders(incomplete: str) -> list[str]:
    """Names of encoders that begin so; options follow an @."""
    from lookalike.encoders import ENCODERS

    return [name for name in ENCODERS if name.startswith(incomplete)]


def rerankers(incomplete: str) -> list[str]:
    """Names of re-ranking methods that begin so; parameters follow a comma."""
    from lookalike.search.rerank import RERANKERS

    return [name for name in RERANKERS if name.startswith(incomplete)]
