"""Fixtures that the tests of the service share; a module asks for them with `pytest_plugins`."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.browsing import HOSTILE, PATIENCE, textured
from tests.service.running import Running, running, write_photos
from tests.support.pictures import picture


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Twelve pictures served with the default settings: nothing may be changed, no URL is fetched."""
    with running(write_photos(tmp_path_factory.mktemp("served") / "photos")) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("site") / "Town"
    folder.mkdir()
    for number in range(10):
        picture(number, (320, 240)).save(folder / f"{number:02}.jpg")
    picture(20, (200, 400)).save(folder / "tall.jpg")
    picture(21, (640, 160)).save(folder / "wide.jpg")
    picture(22, (320, 240)).save(folder / HOSTILE, "JPEG")
    textured(1).save(folder / "scene.jpg")
    textured(1).crop((60, 40, 420, 320)).save(folder / "part of scene.jpg")
    with running(folder) as started:
        yield started


@pytest.fixture
def visit(browser: Any, site: Running) -> Iterator[Any]:
    """Open the page; anything it logs, throws or requests from another origin fails the test."""
    contexts, wrong = [], []

    def go(path: str = "/", url: str = site.url, allowed: str = "$^", **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1200, "height": 800})
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if not re.search(allowed, said.text) else None)
        page.on(
            "request",
            lambda request: wrong.append(request.url) if not request.url.startswith((url, "blob:", "data:")) else None,
        )
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(url + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []
