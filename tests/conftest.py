"""What several test files share: made-up pictures, the real photos where they are at hand, and a quick encoder."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lookalike.evaluation.datasets.synthetic import render
from tests.support import ROOT
from tests.support.pictures import PixelEncoder, picture

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In the background of a shell Ctrl-C is ignored from birth, and by every process that a test starts as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


PHOTOS = Path(os.environ.get("LOOKALIKE_TEST_DATA", ROOT.parent / "shared" / "data"))
"""Real photos, for the few tests marked `photos`, each of which has a twin on made-up ones."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what compares with real photos where there are none: nothing goes untested by that."""
    if not PHOTOS.is_dir():
        left_out = [item for item in items if item.get_closest_marker("photos")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def encoder() -> PixelEncoder:
    return PixelEncoder()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, for tests marked `photos`."""
    if not PHOTOS.is_dir():
        pytest.skip(f"{PHOTOS}: no real photos there (LOOKALIKE_TEST_DATA names their folder)")
    return PHOTOS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or the one that CHROMIUM names; a test that asks for it is skipped where there is none.

    One for each module: Playwright's event loop runs for as long as it is open, and others could not start theirs.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not executable:
        pytest.skip("no browser: install chromium, or name one with the environment variable CHROMIUM")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=executable, args=[*flags, "--disable-component-update"])
        yield opened
        opened.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of twelve pictures, some of them in a folder of their own."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for number in range(12):
        name = f"trip/{number:02}.png" if number % 3 == 0 else f"{number:02}.jpg"
        picture(number).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def six_buildings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of the made-up town in the VGG layout: six buildings, five views of each, twelve queries."""
    folder = tmp_path_factory.mktemp("six-buildings")
    render(folder, buildings=6, views=5, seed=0, distractors=0)
    return folder


@pytest.fixture(scope="session")
def three_buildings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller one, where the points of each query are compared with those of many images: three buildings."""
    folder = tmp_path_factory.mktemp("three-buildings")
    render(folder, buildings=3, views=5, seed=0, distractors=0)
    return folder


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the tests' own, so that the user's is neither used nor changed."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(module_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(module_cache))
    monkeypatch.delenv("LOOKALIKE_THREADS", raising=False)
    return module_cache


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain DINOv2 with three narrow blocks, as a folder of the hub."""
    from tests.encoders import checkpoints

    return checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def trained() -> Path:
    """A DINOv2-small with trained weights, fine-tuned for another purpose: for arithmetic, not for retrieval."""
    from tests.support.trained import trained_checkpoint

    return trained_checkpoint()
