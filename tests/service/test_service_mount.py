"""HEAD wherever GET is, and a service that a proxy mounts below a path."""

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.collection.collection import Collection
from lookalike.service.app import create_app
from lookalike.service.settings import Settings
from tests.service.running import Running, running, write_photos

pytest_plugins = ["tests.service.service_fixtures"]
MOUNT = "/shop/photos"


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_photos(tmp_path_factory.mktemp("mounted") / "photos", 6)
    with running(folder, root_path=MOUNT, token="a token of more than sixteen letters") as started:
        yield started


def test_head_is_answered_as_get_is_without_a_body(service: Running) -> None:
    id_ = next(iter(service.ids().values()))
    paths = (
        "/ /map /duplicates /docs /healthz /readyz /metrics /openapi.json /favicon.ico /static/app.js "
        "/v1/collection /v1/collections /v1/facets /v1/items /v1/duplicates"
    ).split()
    paths += [f"/v1/items/{id_}{end}" for end in ("", "/image", "/thumbnail?size=64")] + ["/nowhere", "/v1/items/none"]
    varying = {"date", "content-length"} if "/metrics" in paths else {"date"}
    for path in paths:
        whole, head = service.client.get(path), service.client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        skipped = varying if path == "/metrics" else {"date"}
        assert {name: value for name, value in head.headers.items() if name not in skipped} == {
            name: value for name, value in whole.headers.items() if name not in skipped
        }
    assert service.client.head("/v1/search").status_code == service.client.get("/v1/search").status_code == 405
    assert 'method="HEAD",route="/v1/items"' in service.client.get("/metrics").text.replace('", ', '",')


@pytest.mark.parametrize("kept", [MOUNT, ""], ids=["the proxy leaves the path", "the proxy takes it off"])
def test_below_a_path_everything_is_found(mounted: Running, kept: str) -> None:
    stranger = httpx.Client(base_url=mounted.url)
    assert stranger.get(f"{kept}/healthz").status_code == 200
    assert stranger.get(f"{kept}/static/app.js").status_code == 200
    assert stranger.get(f"{kept}/v1/collection").status_code == 401
    items = mounted.client.get(f"{kept}/v1/items").json()["items"]
    assert len(items) == 6
    found = mounted.client.post(f"{kept}/v1/search", json={"query": {"id": items[0]["id"]}, "k": 3})
    assert [result["rank"] for result in found.json()["results"]] == [1, 2, 3]
    assert mounted.client.get(f"{kept}/openapi.json").json()["servers"] == [{"url": MOUNT}]


def test_the_mount_point_leads_to_the_page_whose_cookie_is_for_it_alone(mounted: Running) -> None:
    stranger = httpx.Client(base_url=mounted.url)
    answer = stranger.get(MOUNT)
    assert (answer.status_code, answer.headers["location"]) == (308, f"{MOUNT}/")
    login = stranger.post(f"{MOUNT}/v1/login", json={"token": "a token of more than sixteen letters"})
    assert f"Path={MOUNT}/;" in login.headers["set-cookie"]
    assert stranger.get(f"{MOUNT}/v1/items").status_code == 200
    assert mounted.client.get(f"{MOUNT}elsewhere/healthz").status_code == 404


def test_the_page_works_below_a_path(visit: Any, mounted: Running) -> None:
    """Its pictures are loaded with the cookie of the login, and nothing is requested from the top of the host."""
    page = visit("/#token=a token of more than sixteen letters", url=mounted.url + MOUNT, allowed="401")
    picture = page.locator(f"img[src^='{MOUNT}/v1/items/']").last
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.url == f"{mounted.url}{MOUNT}/"


def test_a_mounted_service_starts_without_a_warning(tmp_path: Path) -> None:
    with closing(Collection(tmp_path / ".lookalike")) as collection, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        app = create_app(collection, Settings(root_path=MOUNT))
    assert app.root_path == MOUNT
    assert [str(warning.message) for warning in told if "root_path" in str(warning.message)] == []
