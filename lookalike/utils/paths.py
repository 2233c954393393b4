"""The cache folder, by the XDG rules; everything in it can be made again."""

import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """`$LOOKALIKE_CACHE`, else `$XDG_CACHE_HOME/lookalike`, else `~/.cache/lookalike`, joined with `parts`."""
    root = os.environ.get("LOOKALIKE_CACHE")
    if root:
        return Path(root).joinpath(*parts)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).joinpath("lookalike", *parts)
