"""What the service tells of photos: everything but where they were taken, unless it may."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.service.ids import to_id
from tests.collection.test_facts import write
from tests.service.running import Running, running
from tests.support.pictures import PixelEncoder

A = to_id("trips/a.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("facts") / "photos")
    with Collection(folder / ".lookalike", PixelEncoder(), [folder]) as collection:
        collection.index()
    return folder


@pytest.fixture(scope="module")
def discreet(folder: Path) -> Iterator[Running]:
    with running(folder) as service:
        yield service


@pytest.fixture(scope="module")
def open_hearted(folder: Path) -> Iterator[Running]:
    with running(folder, show_places=True) as service:
        yield service


def test_it_tells_the_camera_but_not_the_place(discreet: Running) -> None:
    facts = discreet.client.get(f"/v1/items/{A}").json()["facts"]
    assert (facts["camera"], facts["taken"], facts["folder"]) == ("NIKON D90", "2019-07-14T12:30:05", "trips")
    assert not {"latitude", "longitude"} & set(facts)


@pytest.mark.parametrize(
    "where",
    ["latitude > 0", "not longitude = 2", "near(48.8584, 2.2945, 5km)", "iso = 200 or (key:e.jpg and latitude < 9)"],
)
def test_it_filters_by_no_place(discreet: Running, where: str) -> None:
    form = discreet.client.post("/v1/search", files=[("id", (None, A)), ("where", (None, where))])
    for answer in (discreet.search(query={"id": A}, where=where), form):
        refusal = answer.json()["error"]
        assert (answer.status_code, refusal["code"], refusal["hint"]) == (
            422,
            "no_places",
            "start it with --show-places",
        )
    batch = discreet.client.post("/v1/search/batch", json={"searches": [{"query": {"id": A}, "where": where}]})
    assert batch.json()["answers"][0]["error"]["code"] == "no_places"


def test_it_filters_by_everything_else(discreet: Running) -> None:
    answer = discreet.search(query={"id": A}, where='taken >= 2019-07 and camera = "nikon*"', sort="taken").json()
    assert [result["key"] for result in answer["results"]] == ["trips/a.jpg", "trips/paris/b.jpg"]


def test_a_filter_that_is_none_is_still_the_refusal_that_it_was(discreet: Running) -> None:
    answer = discreet.search(query={"id": A}, where="latitude >")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "query")


def test_with_show_places_it_tells_them(open_hearted: Running) -> None:
    facts = open_hearted.client.get(f"/v1/items/{A}").json()["facts"]
    assert (facts["latitude"], facts["longitude"]) == (48.8584, 2.2945)
    answer = open_hearted.search(query={"id": A}, where="near(48.8584, 2.2945, 500m)").json()
    assert [result["key"] for result in answer["results"]] == ["trips/a.jpg"]


def test_a_column_of_the_users_own_is_no_secret(folder: Path, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos")
    (tmp_path / "table.csv").write_text("key,latitude\ne.jpg,7\n")
    with Collection(photos / ".lookalike", PixelEncoder(), [photos]) as collection:
        collection.index(meta=[tmp_path / "table.csv"])
    with running(photos) as service:
        answer = service.search(query={"id": A}, where="latitude = 7").json()
        assert [result["key"] for result in answer["results"]] == ["e.jpg"]
        assert service.search(query={"id": A}, where="longitude = 7").json()["error"]["code"] == "no_places"
