"""Where weights come from: a local path, the hub's cache on this machine, or the hub."""

import os
from pathlib import Path

HUB = {
    "dinov2-small": "facebook/dinov2-small",
    "dinov2-base": "facebook/dinov2-base",
    "dinov2-large": "facebook/dinov2-large",
    "dinov2-giant": "facebook/dinov2-giant",
    "dinov2-small-reg": "facebook/dinov2-with-registers-small",
    "dinov2-base-reg": "facebook/dinov2-with-registers-base",
    "dinov2-large-reg": "facebook/dinov2-with-registers-large",
    "dinov2-giant-reg": "facebook/dinov2-with-registers-giant",
}
FILES = ("config.json", "model.safetensors")


def hub_cache() -> Path:
    """The hub's own cache folder, by its own variables."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface")
    return Path(home) / "hub"


def find(name: str) -> Path | None:
    """The folder with a model's files in the hub's cache, or None; looks at the disk alone."""
    repository = hub_cache() / f"models--{HUB.get(name, name).replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    folder = repository / "snapshots" / Path(revision).name
    return folder if all((folder / file).is_file() for file in FILES) else None


def is_cached(name: str) -> bool:
    """Whether a name's weights are on this machine."""
    return find(name) is not None
