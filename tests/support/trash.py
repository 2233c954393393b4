"""A trash of a test's own."""

import os
from pathlib import Path

import pytest


def trash_in(patch: pytest.MonkeyPatch, data: Path) -> Path:
    """The trash in the folder `data`, also where `send2trash` was loaded before: it reads the environment then."""
    from send2trash import plat_other

    patch.setenv("XDG_DATA_HOME", str(data))
    patch.setattr(plat_other, "XDG_DATA_HOME", os.fsencode(data))
    patch.setattr(plat_other, "HOMETRASH_B", os.fsencode(data / "Trash"))
    return data / "Trash"
