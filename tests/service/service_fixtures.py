"""Fixtures that the tests of the service share; a module asks for them with `pytest_plugins`."""

from collections.abc import Iterator

import pytest
from running import Running, running, write_photos


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Twelve pictures served as anybody would: nothing may be changed, no URL is fetched."""
    with running(write_photos(tmp_path_factory.mktemp("served") / "photos")) as started:
        yield started
