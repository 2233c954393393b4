"""Duplicates over HTTP: found in the background, told apart, moved to the trash and back, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.running import Running, running
from tests.support.pictures import picture
from tests.support.trash import trash_in


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("copies")
    patch = pytest.MonkeyPatch()
    trash_in(patch, place / "share")
    folder = place / "Copies"
    folder.mkdir()
    for number in range(3):
        picture(number, (320, 240)).save(folder / f"{number}.jpg")
        picture(number, (320, 240)).save(folder / f"{number}-again.jpg")
    with running(folder, writable=True) as started:
        yield started
    patch.undo()


def ended(service: Running, what: str) -> dict[str, Any]:
    """The state of the service once a job has ended."""
    for _ in range(2000):
        state: dict[str, Any] = service.client.get("/v1/duplicates").json()
        if state[what]["state"] != "running":
            assert state[what]["state"] == "done", state[what]
            return state
        service.client.get("/healthz")
    raise AssertionError(f"{what} does not end")


def found(service: Running, level: str = "exact") -> dict[str, Any]:
    answer = service.client.post("/v1/duplicates", json={"level": level})
    assert answer.status_code == 202
    return ended(service, "finding")


def test_groups_say_what_is_kept_and_in_what_the_others_differ(copies: Running) -> None:
    state = found(copies)
    assert (state["run"]["groups_total"], state["run"]["extras"]) == (3, 3)
    group = state["groups"][0]
    assert [member["suggestion"] for member in group["members"]] == ["keep", "extra"]
    assert group["members"][0]["key"] == "0.jpg"
    assert group["members"][0]["quality"] == 75
    assert group["reason"] == "the shorter path"
    assert copies.client.get("/v1/duplicates?offset=2").json()["groups"][0]["number"] == 2


def test_a_group_that_is_told_apart_is_not_found_again_until_that_is_forgotten(copies: Running) -> None:
    run = found(copies)["run"]["run"]
    told = copies.client.post("/v1/duplicates/apart", json={"run": run, "group": 1}).json()
    assert told["groups"][0]["state"] == "apart"
    assert told["run"]["extras"] == 2
    again = found(copies)["run"]
    assert again["groups_total"] == 2
    stale = copies.client.post("/v1/duplicates/apart", json={"run": run, "group": 1, "forget": True})
    assert stale.status_code == 404
    copies.served.copies._run.number = run  # type: ignore[union-attr]
    keys = [f"{number}.jpg" for number in (0, 1, 2)]
    with copies.served.writer() as collection:
        for key in keys:
            collection.not_duplicates(key, key.replace(".jpg", "-again.jpg"), forget=True)
    assert found(copies)["run"]["groups_total"] == 3


def test_files_go_to_the_trash_as_decided_and_come_back(copies: Running) -> None:
    state = found(copies)
    run, first = state["run"]["run"], state["groups"][0]["members"]
    everything = {"run": run, "decisions": [{"group": 0, "trash": [member["id"] for member in first]}]}
    refused = copies.client.post("/v1/duplicates/trash", json=everything)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "nothing_kept")
    decided = {"run": run, "decisions": [{"group": 0, "trash": [first[0]["id"]]}]}
    plan = copies.client.post("/v1/duplicates/plan", json={**decided, "others": True}).json()
    assert sorted(plan["keys"]) == ["0.jpg", "1-again.jpg", "2-again.jpg"]
    assert (copies.folder / "0.jpg").exists()
    assert copies.client.post("/v1/duplicates/trash", json=decided).status_code == 202
    outcome = ended(copies, "moving")
    assert outcome["moving"]["outcome"]["moved"] == 1
    assert not (copies.folder / "0.jpg").exists()
    assert "0.jpg" not in copies.ids()
    assert [entry["key"] for entry in copies.client.get("/v1/duplicates/journal").json()["moved"]] == ["0.jpg"]
    assert copies.client.delete("/v1/duplicates/trash").status_code == 202
    ended(copies, "moving")
    assert (copies.folder / "0.jpg").exists()
    assert "0.jpg" in copies.ids()
    nothing = copies.client.delete("/v1/duplicates/trash")
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (422, "nothing_moved")


def test_a_file_that_changed_since_stays_where_it_is_and_says_why(copies: Running) -> None:
    run = found(copies)["run"]["run"]
    changed = copies.folder / "2-again.jpg"
    before = changed.read_bytes()
    picture(77, (320, 240)).save(changed)
    try:
        assert copies.client.post("/v1/duplicates/trash", json={"run": run, "others": True}).status_code == 202
        outcome = ended(copies, "moving")["moving"]["outcome"]
        assert (outcome["moved"], outcome["stayed"]) == (2, 1)
        assert outcome["reasons"][0]["key"] == "2-again.jpg"
        assert outcome["reasons"][0]["reason"].startswith("changed since")
        states = [group["state"] for group in copies.client.get("/v1/duplicates").json()["groups"]]
        assert states == ["settled", "settled", "open"]
        copies.client.delete("/v1/duplicates/trash")
        ended(copies, "moving")
    finally:
        changed.write_bytes(before)


def test_nothing_is_moved_where_nothing_may_be_changed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        picture(1).save(folder / name)
    with running(folder) as service:
        run = found(service)["run"]["run"]
        plan = service.client.post("/v1/duplicates/plan", json={"run": run, "others": True}).json()
        assert (plan["moved"], plan["keys"]) == (1, ["b.jpg"])
        for path in ("trash", "apart"):
            answer = service.client.post(f"/v1/duplicates/{path}", json={"run": run, "group": 0})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "read_only")
        assert service.client.get("/v1/duplicates/journal").status_code == 404
        assert (folder / "b.jpg").exists()
