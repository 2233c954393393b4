"""All collections of a service asked as one: what `open_many` and the merged collection answer, over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections, open_many
from lookalike.images.decode import to_jpeg
from lookalike.search.results import Results
from lookalike.service.ids import to_id
from lookalike.storage.maintenance.merge import merge
from tests.service.together import TOKEN, Service, serving, three, write
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three folders: pictures of the same pixels, and so of equal scores, are in all of them."""
    with serving(three(tmp_path_factory.mktemp("all")), writable=True) as started:
        yield started


@pytest.fixture(scope="module")
def united(service: Service) -> Iterator[Collections]:
    with open_many(service.folders) as opened:
        yield opened


def told(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(hit["rank"], hit["key"], hit["score"], hit["confidence"]) for hit in answer["results"]]


def expected(hits: Results) -> list[tuple[Any, ...]]:
    rounded = [None if hit.confidence is None else round(hit.confidence, 4) for hit in hits]
    return [(hit.rank, hit.key, round(hit.score, 6), each) for hit, each in zip(hits, rounded, strict=True)]


QUESTIONS: list[dict[str, Any]] = [
    {"k": 5},
    {"k": 3, "offset": 3},
    {"k": 200},
    {"k": 9, "where": "key:home/* or key:*/in/*"},
    {"k": 9, "where": 'folder = "Old Things"'},
    {"k": 9, "exclude_self": True, "min_score": 0.2},
    {"k": 6, "rerank": ["alpha-qe,k=3"]},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_answer_is_that_of_open_many(service: Service, united: Collections, question: dict[str, Any]) -> None:
    answer = service.search(query={"id": to_id("home/00.png")}, **question).json()
    hits = united.search("home/00.png", **question)
    assert told(answer) == expected(hits)
    assert answer["found"] is hits.found
    assert (answer["encoder"], answer["mixes_encoders"], answer["away"]) == ("thumbnail", False, [])


def test_the_answer_is_that_of_the_merged_collection_page_by_page(service: Service, tmp_path: Path) -> None:
    merge([folder / ".lookalike" for folder in service.folders], tmp_path / "merged")
    sought = to_jpeg(picture(3, (96, 64)))
    with Collection(tmp_path / "merged") as whole, open_many(service.folders) as united:
        paths = {key: united[key].path for key in united}
        for where in (None, "width = 96 and not key:*0.png"):
            options = {"k": "5", **({"where": where} if where else {})}
            pages = [
                service.client.post("/all/v1/search", data={**options, "offset": str(start)}, files={"file": sought})
                for start in (0, 5, 10, 15)
            ]
            hits = [hit for page in pages for hit in page.json()["results"]]
            theirs = whole.search(sought, k=20, where=where)
            assert [(paths[hit["key"]], hit["score"]) for hit in hits] == [
                (hit.path, round(hit.score, 6)) for hit in theirs
            ]
            # Equal scores are among them: the order is then that of the collections.
            assert len({hit["score"] for hit in hits}) < len(hits)


def test_excluded_images_are_named_by_their_ids_here(service: Service, united: Collections) -> None:
    left_out = ["home/00.png", "trips/02.png"]
    asked: dict[str, Any] = {"query": {"id": to_id("home/in/05.png")}, "k": 99}
    answer = service.search(**asked, exclude=[to_id(key) for key in left_out]).json()
    assert told(answer) == expected(united.search("home/in/05.png", k=99, exclude=left_out))
    assert len(answer["results"]) == len(service.search(**asked).json()["results"]) - 2


def test_a_batch_is_answered_as_its_searches_are(service: Service) -> None:
    searches: list[dict[str, Any]] = [
        {"query": {"id": to_id(key)}, "k": 3} for key in ("trips/00.png", "Old Things/02.png")
    ]
    batch = service.client.post("/all/v1/search/batch", json={"searches": searches}).json()["answers"]
    assert [told(answer) for answer in batch] == [told(service.search(**search).json()) for search in searches]


def test_images_are_those_of_their_own_collection(service: Service) -> None:
    for here, path, there in (("trips/in/01.png", "", "in/01.png"), ("Old Things/00.png", "/c/old-things", "00.png")):
        ours, theirs = f"/all/v1/items/{to_id(here)}", f"{path}/v1/items/{to_id(there)}"
        for picture_of in ("/image", "/thumbnail?size=64"):
            assert service.client.get(ours + picture_of).content == service.client.get(theirs + picture_of).content
        entry, own = service.client.get(ours).json(), service.client.get(theirs).json()
        name = here.partition("/")[0]
        assert entry["key"] == here
        assert entry["facts"].pop("folder") == f"{name}/{own['facts'].pop('folder')}".rstrip("/")
        assert entry["facts"] == own["facts"]
    assert service.client.get(f"/all/v1/items/{to_id('trips/99.png')}").status_code == 404
    assert service.client.get(f"/all/v1/items/{to_id('elsewhere/00.png')}/image").status_code == 404
    assert service.client.get(f"/all/v1/items/{to_id('00.png')}").status_code == 404


def test_a_few_images_of_all_are_listed_and_the_values_that_filters_can_have(service: Service) -> None:
    listed = [item["key"] for item in service.client.get("/all/v1/items?count=200").json()["items"]]
    assert len(listed) == 18
    assert {key.partition("/")[0] for key in service.client.get("/all/v1/items?count=3").json() and listed} == {
        "trips",
        "home",
        "Old Things",
    }
    facets = {facet["name"]: facet["values"] for facet in service.client.get("/all/v1/facets").json()["facets"]}
    for value in facets["folder"]:
        answer = service.search(query={"id": to_id("home/00.png")}, k=99, where=value["test"]).json()
        assert len(answer["results"]) >= value["count"]
        assert all(hit["key"].startswith(f"{value['value']}/") for hit in answer["results"])


def test_two_images_are_explained_across_collections(service: Service, united: Collections) -> None:
    ids = {"query": to_id("trips/02.png"), "item": to_id("home/00.png")}
    answer = service.client.get("/all/v1/explain", params=ids).json()
    assert answer["text"] == united.explain("trips/02.png", "home/00.png").text()
    assert answer["query"] == answer["item"] == {"width": 96, "height": 64}


def test_copies_are_found_across_collections_and_moved_in_none(service: Service, united: Collections) -> None:
    begun = service.client.post("/all/v1/duplicates", json={"level": "exact"})
    assert begun.status_code == 202
    while (state := service.client.get("/all/v1/duplicates").json())["finding"]["state"] == "running":
        pass
    keys = [[member["key"] for member in group["members"]] for group in state["groups"]]
    groups = united.duplicates("exact")
    assert keys == [[member.item.key for member in group.members] for group in groups]
    assert {"trips/02.png", "home/00.png", "Old Things/in/01.png"} <= set(keys[0])
    run = {"run": state["run"]["run"], "decisions": [], "others": True}
    refusals = [
        service.client.post("/all/v1/duplicates/trash", json=run),
        service.client.delete("/all/v1/duplicates/trash"),
        service.client.post("/all/v1/duplicates/apart", json={"run": run["run"], "group": 0}),
        service.client.get("/all/v1/duplicates/journal"),
        service.client.post("/all/v1/items", files={"file": to_jpeg(picture(99))}),
        service.client.delete(f"/all/v1/items/{to_id('trips/00.png')}"),
        service.client.get("/all/v1/marks"),
        service.client.post(
            "/all/v1/marks", json={"a": to_id("trips/00.png"), "b": to_id("home/00.png"), "same": True}
        ),
        service.client.delete(f"/all/v1/marks/{'0' * 64}-{'1' * 64}"),
        *(service.client.request(method, "/all/v1/adapt") for method in ("GET", "POST", "DELETE")),
    ]
    assert [(each.status_code, each.json()["error"]["code"]) for each in refusals] == [(404, "of_one")] * len(refusals)
    assert all((folder / "00.png").exists() for folder in service.folders)


def test_what_is_served_is_told_of_all(service: Service) -> None:
    about = service.client.get("/all/v1/collection").json()
    assert (about["images"], about["encoder"], about["writable"], about["can_learn"]) == (18, "thumbnail", False, False)
    assert about["names"] == ["trips", "home", "Old Things"]
    listed = service.client.get("/all/v1/collections").json()
    assert listed["all"] == {"path": "/all/", "is_this": True}
    assert [(each["path"], each["key_prefix"], each["is_this"]) for each in listed["collections"]] == [
        ("/", "trips/", False),
        ("/c/home/", "home/", False),
        ("/c/old-things/", "Old Things/", False),
    ]
    assert service.client.get("/v1/collections").json()["all"] == {"path": "/all/", "is_this": False}
    assert b"lookalike_images 18.0" in service.client.get("/all/metrics").content
    assert service.client.get("/all").headers["location"] == "/all/"


def test_the_first_answers_below_its_name_too(service: Service) -> None:
    assert service.client.get("/c/trips/v1/collection").json() == service.client.get("/v1/collection").json()
    assert service.client.get("/c/trips/").content == service.client.get("/").content
    question = {"query": {"id": to_id("00.png")}, "k": 4}
    below, top = service.search("/c/trips", **question), service.search("", **question)
    assert told(below.json()) == told(top.json())
    assert service.client.get("/c/trip/v1/collection").status_code == 404


def test_strangers_get_nothing_of_all(service: Service) -> None:
    with httpx.Client(base_url=service.url) as stranger:
        for path in ("/v1/collection", "/v1/items", f"/v1/items/{to_id('trips/00.png')}/image", "/v1/facets"):
            assert stranger.get(f"/all{path}").status_code == 401
        assert stranger.post("/all/v1/search", json={"query": {"id": to_id("trips/00.png")}}).status_code == 401
        assert stranger.get("/all/").status_code == 200
        login = stranger.post("/all/v1/login", json={"token": TOKEN})
        assert "Path=/;" in login.headers["set-cookie"]
        places = ("/all", "/c/home")
        assert [stranger.get(f"{place}/v1/items").status_code for place in places] == [200, 200]


def test_limits_hold_for_all_as_for_one(service: Service) -> None:
    refused = service.search(query={"id": to_id("trips/00.png")}, k=1000, offset=9000 + 1)
    assert refused.status_code == 422
    assert (
        service.search(query={"id": to_id("trips/00.png")}, where="latitude > 1").json()["error"]["code"] == "no_places"
    )
    assert service.search(text="a door").json()["error"]["code"] == "no_text"


def test_a_commit_in_one_is_seen_by_the_next_search(tmp_path: Path) -> None:
    folders = [write(tmp_path / "one", (1, 2)), write(tmp_path / "two", (3, 4))]
    with serving(folders) as service:
        picture(8, (96, 64)).save(folders[1] / "new.png")
        with Collection(folders[1] / ".lookalike", "thumbnail", [folders[1]]) as collection:
            collection.index()
        (hit,) = service.search(query={"id": to_id("two/new.png")}, k=1).json()["results"]
        assert (hit["key"], hit["score"]) == ("two/new.png", 1)


def test_a_collection_that_cannot_answer_is_named_and_the_others_do(tmp_path: Path) -> None:
    folders = [write(tmp_path / "one", (1, 2)), write(tmp_path / "two", (3, 4)), write(tmp_path / "one2" / "one", (5,))]
    with serving(folders) as service:
        assert service.client.get("/all/v1/collection").json()["names"] == ["one", "two", "one-2"]
        (folders[1] / ".lookalike").rename(tmp_path / "unplugged")
        (folders[1] / ".lookalike").mkdir()
        for file in (tmp_path / "unplugged").iterdir():
            if file.is_file():
                (folders[1] / ".lookalike" / file.name).write_bytes(b"what is no collection")
        answer = service.search(query={"id": to_id("one-2/00.png")}, k=9)
        assert answer.status_code == 200
        assert answer.json()["away"] == [{"name": "two", "reason": "the collection cannot answer at the moment"}]
        assert str(tmp_path) not in answer.text
        assert {hit["key"].partition("/")[0] for hit in answer.json()["results"]} == {"one", "one-2"}
        assert service.search("/c/two", query={"id": to_id("00.png")}).status_code == 503


def test_collections_of_several_encoders_are_fused_and_say_so(tmp_path: Path) -> None:
    folders = [write(tmp_path / "trips", (1, 2, 3)), write(tmp_path / "odd", (2, 5, 6))]
    with serving(folders, [None, PixelEncoder()]) as service, open_many(folders) as united:
        assert united.mixes_encoders
        answer = service.search(query={"id": to_id("trips/in/01.png")}, k=9).json()
        assert told(answer) == expected(united.search("trips/in/01.png", k=9))
        assert (answer["mixes_encoders"], answer["encoder"]) == (True, "thumbnail and pixels")
        sent = service.client.post("/all/v1/search", files={"file": to_jpeg(picture(2, (96, 64)))}, data={"k": "2"})
        assert {hit["key"] for hit in sent.json()["results"]} == {"trips/in/01.png", "odd/00.png"}
        vector = service.client.post("/all/v1/embed", files={"file": to_jpeg(picture(2, (96, 64)))}).json()
        assert vector["encoder"] == "thumbnail"
        refused = service.search(query={"vector_f16": vector["vector_f16"]})
        assert (refused.status_code, "name a picture" in refused.json()["error"]["message"]) == (422, True)
        assert service.client.get("/all/map/state").json()["error"]["code"] == "mixed"
        assert service.client.get("/all/v1/collection").json()["mixes_encoders"]
