"""The record of first downloads: later ones must have the same revision and checksums (trust on first use)."""

import json
from pathlib import Path
from typing import Any

from lookalike.utils.files import write_whole
from lookalike.utils.paths import cache_dir


def recorded(source: str) -> dict[str, Any] | None:
    """`revision` and `sha256` by file of the first download; None where there is none, or it cannot be read."""
    try:
        entry = json.loads(_file().read_text("utf-8"))[source]
        return entry if isinstance(entry["revision"], str) and isinstance(entry["sha256"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record(source: str, entry: dict[str, Any]) -> None:
    """Keep the record of a repository or URL."""
    ledger = _file()
    ledger.parent.mkdir(parents=True, exist_ok=True)
    try:
        entries = json.loads(ledger.read_text("utf-8"))
    except (OSError, ValueError):
        entries = {}
    write_whole(ledger, json.dumps({**entries, source: entry}, indent=1) + "\n", durable=False)


def _file() -> Path:
    return cache_dir("weights.json")
