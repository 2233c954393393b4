"""Hostile and odd files, all made by code: for the tests of whatever takes files from strangers."""

import os
from pathlib import Path

from tests.hostile.bad import BAD
from tests.hostile.good import GOOD, Maker
from tests.hostile.places import PLACES, Expected

FILES: dict[str, tuple[Maker, Expected]] = {
    **{name: (make, "image") for name, make in GOOD.items()},
    **{name: (make, "reason") for name, make in BAD.items()},
}
"""File name to what makes its bytes, and what has to come of them: for what takes bytes, as an upload does."""


def write(folder: Path) -> dict[str, Expected]:
    """Write everything below `folder`; what the file system here cannot hold is left out.

    Returns the key of each (its path below the folder, as a collection names it) and what has to come of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, Expected] = {}
    for name, (make, outcome) in FILES.items():
        (folder / name).write_bytes(make())
        expected[name] = outcome
    for name, (place, outcome) in PLACES.items():
        try:
            place(folder / name)
        except (OSError, ValueError, AttributeError):
            continue
        expected[name] = outcome
    if os.access(folder / "unreadable.jpg", os.R_OK):  # nothing is unreadable to root
        expected["unreadable.jpg"] = "image"
    return expected


def write_all(folder: Path) -> dict[str, bool]:
    """`write`, told only whether each is to be found as a good image."""
    return {name: outcome == "image" for name, outcome in write(folder).items()}
