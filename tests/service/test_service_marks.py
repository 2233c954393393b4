"""Marks over HTTP, and learning from them beside the requests."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lookalike.collection import reader
from lookalike.collection.collection import Collection
from lookalike.service.app import create_app
from lookalike.service.settings import Settings
from tests.service.running import Running, jpeg, running, write_photos
from tests.service.things import VIEWS, mark_things, marked, write_things
from tests.support.pictures import PixelEncoder

pytest_plugins = ["tests.service.service_fixtures"]


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Running]:
    with running(write_things(tmp_path / "things"), writable=True) as started:
        yield started


def ended(service: Running) -> dict[str, Any]:
    """The state of learning once it does not run."""
    end = time.monotonic() + 120
    while (state := service.client.get("/v1/adapt").json())["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    return dict(state)


def right(service: Running) -> int:
    """How many of the three other views of each thing are among the first three results."""
    count = 0
    for key, id_ in service.ids().items():
        results = service.search(query={"id": id_}, k=VIEWS - 1, exclude_self=True).json()["results"]
        count += sum(result["key"][:2] == key[:2] for result in results)
    return count


def test_a_mark_is_listed_replaced_and_forgotten(things: Running) -> None:
    ids = things.ids()
    a, b, c = (ids[f"00-{view}.png"] for view in range(3))
    answer = marked(things, a, b, True).json()
    assert {answer["a"]["id"], answer["b"]["id"]} == {a, b}
    marked(things, b, a, False)
    marked(things, a, c, True)
    listed = things.client.get("/v1/marks").json()
    assert (listed["total"], [mark["same"] for mark in listed["marks"]]) == (2, [True, False])
    assert things.client.get(f"/v1/marks?of={b}").json()["marks"] == [{**answer, "same": False}]
    assert len(things.client.get("/v1/marks?count=1").json()["marks"]) == 1
    left = things.client.delete(f"/v1/marks/{answer['mark']}").json()
    assert (left["total"], left["marks"][0]["same"]) == (1, True)
    assert things.client.delete(f"/v1/marks/{answer['mark']}").status_code == 404
    with Collection(things.folder / ".lookalike", PixelEncoder()) as collection:
        assert [mark.same for mark in collection.marks()] == [True]


def test_a_mark_whose_image_is_gone_can_be_forgotten(things: Running) -> None:
    ids = things.ids()
    mark = marked(things, ids["00-0.png"], ids["00-1.png"], True).json()["mark"]
    things.client.delete(f"/v1/items/{ids['00-1.png']}")
    (listed,) = things.client.get("/v1/marks").json()["marks"]
    assert sorted(listed[side] is None for side in "ab") == [False, True]
    assert things.client.delete(f"/v1/marks/{mark}").json() == {"total": 0, "marks": []}


def test_what_cannot_be_marked_is_refused(things: Running) -> None:
    ids = things.ids()
    a, b = ids["00-0.png"], ids["00-1.png"]
    assert marked(things, a, "bm8", True).status_code == 404
    assert marked(things, a, a, True).json()["error"]["code"] == "same_file"
    assert things.client.post("/v1/marks", json={"a": a, "b": b}).status_code == 422
    assert things.client.post("/v1/marks", data={"a": a}).status_code == 415
    assert things.client.delete("/v1/marks/nonsense").status_code == 404
    assert things.client.get("/v1/marks").json()["total"] == 0


def test_too_few_marks_are_refused_with_the_number_that_is_needed(things: Running) -> None:
    mark_things(things, 5)
    state = things.client.get("/v1/adapt").json()
    assert (state["state"], state["groups"], state["least_groups"], state["marks"]) == ("idle", 5, 6, 15)
    refusal = things.client.post("/v1/adapt")
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (422, "too_few_marks")
    assert "5 groups" in refusal.json()["error"]["message"]
    assert things.client.delete("/v1/adapt").json()["error"]["code"] == "not_adapted"


def test_marks_teach_what_is_then_searched_with_and_is_undone(things: Running) -> None:
    mark_things(things)
    before, fingerprint = right(things), things.client.get("/v1/collection").json()["fingerprint"]
    begun = things.client.post("/v1/adapt")
    assert (begun.status_code, begun.json()["what"]) == (202, "adapt")
    state = ended(things)
    assert (state["state"], state["adapted"], state["error"]) == ("done", True, None)
    assert state["outcome"]["applied"]
    assert state["outcome"]["map"]["difference"] > 0
    assert right(things) > before
    assert things.client.get("/v1/collection").json()["fingerprint"] != fingerprint
    # What is encoded from now on is mapped as the stored vectors are: a picture of the collection finds itself.
    file = (things.folder / "03-1.png").read_bytes()
    (result,) = things.client.post("/v1/search", files={"file": file}, data={"k": "1"}).json()["results"]
    assert (result["key"], result["score"]) == ("03-1.png", pytest.approx(1, abs=1e-5))
    added = things.client.post("/v1/items", files={"file": ("new.jpg", jpeg(900))}).json()["items"][0]
    (result,) = things.client.post("/v1/search", files={"file": jpeg(900)}, data={"k": "1"}).json()["results"]
    assert result["id"] == added["id"]
    things.client.delete(f"/v1/items/{added['id']}")
    assert things.client.post("/v1/adapt").json()["error"]["code"] == "adapted"
    assert things.client.delete("/v1/adapt").status_code == 202
    state = ended(things)
    assert (state["state"], state["adapted"], state["outcome"]["undone"]) == ("done", False, True)
    assert right(things) == before
    assert things.client.get("/v1/collection").json()["fingerprint"] == fingerprint
    assert state["marks"] == 36


def test_a_service_that_starts_with_an_adapted_collection_undoes_it(things: Running) -> None:
    mark_things(things)
    things.client.post("/v1/adapt")
    assert ended(things)["adapted"]
    best = right(things)
    with running(things.folder, writable=True) as again:
        assert right(again) == best
        again.client.delete("/v1/adapt")
        assert ended(again)["state"] == "done"
        assert right(again) < best
    # The other service sees what happened beside it.
    assert right(things) < best


def test_without_a_gain_nothing_changes(tmp_path: Path) -> None:
    with running(write_things(tmp_path / "noise", noise=True), writable=True) as service:
        mark_things(service)
        vectors = (service.folder / ".lookalike" / "vectors.f32").read_bytes()
        service.client.post("/v1/adapt")
        state = ended(service)
        assert (state["state"], state["adapted"], state["outcome"]["applied"]) == ("done", False, False)
        assert (service.folder / ".lookalike" / "vectors.f32").read_bytes() == vectors


def test_searches_go_on_while_it_learns_and_other_changes_do_not_wait(
    things: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_things(things)
    ids, go_on, adapt = things.ids(), threading.Event(), Collection.adapt

    def slowly(self: Collection, **options: Any) -> Any:
        assert go_on.wait(60)
        return adapt(self, **options)

    monkeypatch.setattr(Collection, "adapt", slowly)
    assert things.client.post("/v1/adapt").json()["state"] == "running"
    try:
        assert things.search(query={"id": ids["00-0.png"]}).status_code == 200
        refused = [
            marked(things, ids["00-0.png"], ids["01-0.png"], False),
            things.client.post("/v1/adapt"),
            things.client.delete("/v1/adapt"),
            things.client.delete(f"/v1/items/{ids['00-0.png']}"),
            things.client.post("/v1/items", files={"file": jpeg(901)}),
        ]
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [(503, "learning")] * 5
    finally:
        go_on.set()
    assert ended(things)["outcome"]["applied"]


def test_a_failure_is_told_without_a_path(things: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    mark_things(things)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left", str(things.folder))

    monkeypatch.setattr(Collection, "adapt", fail)
    things.client.post("/v1/adapt")
    state = ended(things)
    assert (state["state"], state["error"]["code"], state["adapted"]) == ("failed", "internal", False)
    assert str(things.folder) not in str(state)


def test_a_collection_that_another_process_writes_to_is_told_so(things: Running) -> None:
    mark_things(things)
    with Collection(things.folder / ".lookalike", PixelEncoder()) as other, other.store.writing():
        first, second, *_ = things.ids().values()
        assert marked(things, first, second, True).json()["error"]["code"] == "locked"
        things.client.post("/v1/adapt")
        state = ended(things)
    assert (state["state"], state["error"]["code"]) == ("failed", "locked")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/marks"),
        ("POST", "/v1/marks"),
        ("DELETE", f"/v1/marks/{'a' * 64}-{'b' * 64}"),
        ("GET", "/v1/adapt"),
        ("POST", "/v1/adapt"),
        ("DELETE", "/v1/adapt"),
    ],
)
def test_a_service_that_changes_nothing_has_none_of_this(service: Running, method: str, path: str) -> None:
    refusal = service.client.request(method, path)
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (404, "read_only")
    assert service.client.get("/v1/collection").json()["can_learn"] is False


def test_pages_of_other_origins_may_neither_mark_nor_learn(things: Running) -> None:
    stranger = {"Origin": "http://evil.example"}
    for method, path in (("POST", "/v1/marks"), ("POST", "/v1/adapt"), ("DELETE", "/v1/adapt")):
        refusal = things.client.request(method, path, headers=stranger)
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (400, "wrong_origin")


def test_vectors_in_a_search_server_are_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    folder = write_photos(tmp_path / "photos", 3)
    uri = f"milvus://{tmp_path}/lite.db/photos"
    with Collection(folder / ".lookalike", PixelEncoder(), [folder], engine=uri) as made:
        made.index()
    with running(folder, writable=True) as service:
        refusal = service.client.post("/v1/adapt")
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (422, "engine_vectors")
        assert service.client.get("/v1/collection").json()["can_learn"] is False


def test_what_another_process_adapts_is_searched_and_added_to_with_the_encoder_that_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_things(tmp_path / "things")
    (tmp_path / "labels.csv").write_text(
        "key,label\n" + "".join(f"{key},{key[:2]}\n" for key in sorted(listed(folder)))
    )
    monkeypatch.setattr(reader, "load_encoder", lambda _: PixelEncoder())
    with Collection(folder / ".lookalike", PixelEncoder(), [folder]) as made:
        made.index()
    # By its name, as the command opens it.
    with closing(Collection(folder / ".lookalike")) as opened, TestClient(create_app(opened, writable())) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        with Collection(folder / ".lookalike", PixelEncoder()) as other:
            assert other.adapt(labels=tmp_path / "labels.csv").applied
        monkeypatch.setattr(reader, "load_encoder", lambda name: pytest.fail(f"{name} is loaded again"))
        file = (folder / "03-1.png").read_bytes()
        (result,) = client.post("/v1/search", files={"file": file}, data={"k": "1"}).json()["results"]
        assert (result["key"], result["score"]) == ("03-1.png", pytest.approx(1, abs=1e-5))
        answer = client.post("/v1/items", files={"file": ("new.jpg", jpeg(900))})
        assert answer.status_code == 200
        (result,) = client.post("/v1/search", files={"file": jpeg(900)}, data={"k": "1"}).json()["results"]
        assert result["id"] == answer.json()["items"][0]["id"]


def listed(folder: Path) -> list[str]:
    return [file.name for file in folder.glob("*.png")]


def writable() -> Settings:
    return Settings(writable=True)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
