"""A FAISS index beside the vectors: what is read of `<collection>/index`, a cache that may be deleted at any time."""

from pathlib import Path


def damage(path: Path, repair: bool = False) -> list[str]:
    """What is wrong with the index; with `repair` it is thrown away."""
    return []
