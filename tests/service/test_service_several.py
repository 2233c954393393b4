"""Several collections in one service: each with its own API, the first at the top, all behind one token."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import wait_ready

from lookalike.collection.collection import Collection
from lookalike.service import server
from lookalike.service.settings import Settings
from lookalike.service.several import create_several
from tests.service.browsing import begun, until
from tests.service.running import write_photos
from tests.support.pictures import PixelEncoder

pytest_plugins = ["tests.service.service_fixtures"]
TOKEN = "a token of more than sixteen letters"


@pytest.fixture(scope="module", params=["", "/photos"], ids=["at the top", "below a path"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a service of two folders of one name, and where a proxy mounts it."""
    place = tmp_path_factory.mktemp("several")
    folders = [write_photos(place / f"{count}" / "My Trip", count) for count in (6, 4)]
    collections = [Collection(folder / ".lookalike", PixelEncoder(), [folder]) for folder in folders]
    for collection in collections:
        collection.index()
    listening = server.listen("127.0.0.1", 0)
    app = create_several(collections, Settings(token=TOKEN, root_path=request.param))
    started = server.Server(app, 0)
    thread = threading.Thread(target=started.run, kwargs={"sockets": [listening]})
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    wait_ready(url)
    wait_ready(f"{url}{request.param}/c/my-trip")
    yield url, request.param
    started.should_exit = True
    thread.join(timeout=60)
    for collection in collections:
        collection.close()
    listening.close()


def test_each_collection_has_its_own_api_and_the_first_is_at_the_top(both: tuple[str, str]) -> None:
    url, root = both
    with httpx.Client(base_url=url + root, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        listed = client.get("/v1/collections").json()["collections"]
        assert [(one["name"], one["path"], one["is_this"]) for one in listed] == [
            ("My Trip", f"{root}/", True),
            ("My Trip", f"{root}/c/my-trip/", False),
        ]
        assert client.get("/v1/collection").json()["images"] == 6
        assert client.get("/c/my-trip/v1/collection").json()["images"] == 4
        assert client.get("/c/my-trip/v1/collections").json()["collections"][1]["is_this"]
        assert client.get("/c/elsewhere/v1/collection").status_code == 404
        assert client.get("/c/my-trip").headers["location"] == f"{root}/c/my-trip/"
        items = client.get("/c/my-trip/v1/items").json()["items"]
        found = client.post("/c/my-trip/v1/search", json={"query": {"id": items[0]["id"]}, "k": 9})
        assert len(found.json()["results"]) == 4


def test_one_token_lets_into_all_and_none_lets_into_none(both: tuple[str, str]) -> None:
    url, root = both
    with httpx.Client(base_url=url + root) as stranger:
        for path in ("/v1/collections", "/v1/items", "/c/my-trip/v1/collections", "/c/my-trip/v1/items"):
            assert stranger.get(path).status_code == 401
        for path in ("/", "/c/my-trip/", "/c/my-trip/static/app.js", "/c/my-trip/duplicates"):
            assert stranger.get(path).status_code == 200
        login = stranger.post("/c/my-trip/v1/login", json={"token": TOKEN})
        assert f"Path={root}/;" in login.headers["set-cookie"]
        assert stranger.get("/v1/items").status_code == 200
        assert stranger.get("/c/my-trip/v1/items").status_code == 200


@pytest.mark.parametrize("both", [""], indirect=True)
def test_the_page_switches_between_them_and_stays_in_its_tab(both: tuple[str, str], visit: Any) -> None:
    url, _ = both
    page = visit(f"/duplicates#token={TOKEN}", url=url, allowed="401")
    begun(page)
    until(page, "!document.getElementById('switch').hidden")
    assert page.locator("#collections option").all_inner_texts() == ["My Trip", "My Trip", "All collections"]
    page.locator("#collections").select_option(index=1)
    page.wait_for_url("**/c/my-trip/duplicates")
    assert "4 pictures" in begun(page).locator("#about").text_content()
    page.get_by_role("link", name="Search", exact=True).click()
    page.wait_for_url("**/c/my-trip/")
    until(page, "document.querySelectorAll('#grid .card:not(.skeleton)').length === 4")
    page.go_back()
    page.wait_for_url("**/c/my-trip/duplicates")
