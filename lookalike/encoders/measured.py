"""What was measured of encoders beside their vectors: a row for each in `data/confidence.json`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "data" / "confidence.json"


@cache
def confidence_rows() -> dict[str, dict[str, Any]]:
    """Encoder names to rows: `fingerprint`, `model` (see `search.confidence.Model`), and what it was fitted on."""
    rows: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))
    return rows


def confidence_row(fingerprint: str) -> dict[str, Any] | None:
    """The row of exactly these vectors: another precision, preprocessing or whitening has other cosines."""
    return next((row for row in confidence_rows().values() if row["fingerprint"] == fingerprint), None)
