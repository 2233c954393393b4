"""Fixtures that the tests of encoders share; a module asks for them with `pytest_plugins`."""

from pathlib import Path

import pytest
from checkpoints import shrunken, write


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(module_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the tests' own, so that the user's is neither used nor changed."""
    monkeypatch.setenv("LOOKALIKE_CACHE", str(module_cache))
    monkeypatch.delenv("LOOKALIKE_THREADS", raising=False)
    return module_cache


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain DINOv2 with three narrow blocks, as a folder of the hub."""
    return write(shrunken("dinov2-small"), tmp_path_factory.mktemp("tiny"))
