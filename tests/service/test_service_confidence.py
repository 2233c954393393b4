"""Confidence over HTTP and on the page: the same as in Python, within the limits of a request."""

from typing import Any

import pytest

from lookalike.service.ids import to_id
from lookalike.storage.maintenance.adapt import refit
from tests.service.browsing import begun, keys
from tests.service.running import Running, jpeg, running, write_photos
from tests.support.confident import MODEL, measured

pytest_plugins = ["tests.service.service_fixtures"]


@pytest.fixture
def confident(service: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The service of twelve pictures, under a model for which a cosine of .95 is as likely as not."""
    measured(monkeypatch)
    return service


def test_an_answer_says_whether_it_is_found_and_how_sure_each_result_is(confident: Running) -> None:
    answer = confident.search(query={"id": to_id("01.jpg")}, k=3).json()
    hits = confident.served.collection.search("01.jpg", k=3)
    assert answer["found"] is hits.found is True
    assert [result["confidence"] for result in answer["results"]] == [
        pytest.approx(hit.confidence, abs=5e-5) for hit in hits
    ]
    others = confident.search(query={"id": to_id("01.jpg")}, exclude_self=True).json()
    assert others["found"] is False
    assert max(result["confidence"] for result in others["results"]) < 0.5


def test_only_what_is_found_is_sent_where_that_is_requested(confident: Running) -> None:
    answer = confident.search(query={"id": to_id("01.jpg")}, found=True).json()
    assert [result["key"] for result in answer["results"]] == ["01.jpg"]
    form = confident.client.post("/v1/search", data={"found": "true"}, files={"file": jpeg(99)}).json()
    assert (form["results"], form["found"]) == ([], False)


def test_an_encoder_that_was_not_measured_claims_nothing(service: Running) -> None:
    answer = service.search(query={"id": to_id("01.jpg")}).json()
    assert answer["found"] is None
    assert {result["confidence"] for result in answer["results"]} == {None}
    refused = service.search(query={"id": to_id("01.jpg")}, found=True)
    assert refused.status_code == 422
    assert "no confidence was measured for pixels" in refused.json()["error"]["message"]


def test_a_collection_with_a_confidence_of_its_own_has_it_over_http(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(write_photos(tmp_path_factory.mktemp("refitted") / "photos")) as started:
        assert started.search(query={"id": to_id("01.jpg")}).json()["found"] is None
        refit(started.served.single.store, {"model": MODEL.to_json()})
        answer = started.search(query={"id": to_id("01.jpg")}, found=True).json()
        assert (answer["found"], [result["key"] for result in answer["results"]]) == (True, ["01.jpg"])
        assert started.search(query={"id": to_id("01.jpg")}, exclude_self=True).json()["found"] is False


def test_verification_counts_as_ten_candidates_of_a_request(confident: Running) -> None:
    def asked(count: int) -> Any:
        one = {"query": {"id": to_id("01.jpg")}, "verify": True, "exclude_self": True}
        return confident.client.post("/v1/search/batch", json={"searches": [one] * count})

    assert all("results" in answer for answer in asked(20).json()["answers"])
    assert asked(21).status_code == 422
    both = confident.search(query={"id": to_id("01.jpg")}, verify=True, rerank=["spatial,top=191"])
    assert "would look at 201 candidates" in both.json()["error"]["message"]


@pytest.fixture
def shown(service: Running, visit: Any) -> Any:
    """Open the page of the twelve pictures."""
    return lambda path, **options: begun(visit(path, url=service.url, **options))


def test_the_page_says_that_there_is_probably_nothing_like_it(confident: Running, shown: Any) -> None:
    page = shown(f"/#q=i.{to_id('01.jpg')}")
    names = keys(page)
    dividers = page.locator("#grid .divider")
    assert dividers.all_inner_texts() == ["Probably nothing like it here; these are only alike"]
    assert page.locator("#grid li").first.get_attribute("class") == "divider"
    assert set(page.locator("#grid .band").all_inner_texts()) <= {"alike", "weak"}
    # The divider is no result: the first picture opens as the first.
    page.locator("#grid button.open").first.click()
    assert page.locator("#viewer-name").inner_text() == names[0]


def test_the_page_divides_what_is_the_same_from_what_is_only_alike(
    tmp_path_factory: pytest.TempPathFactory, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    folder = write_photos(tmp_path_factory.mktemp("twins") / "photos")
    (folder / "twin.jpg").write_bytes(jpeg(1, (192, 128)))
    with running(folder) as started:
        page = begun(visit(f"/#q=i.{to_id('01.jpg')}", url=started.url))
        assert keys(page)[0] == "twin.jpg"
        items = page.locator("#grid li")
        assert [items.nth(at).get_attribute("class") for at in range(3)] == ["card", "divider", "card rest"]
        assert items.nth(1).inner_text() == "From here on: probably not the same, only alike"
        assert page.locator("#grid .band").first.inner_text() in ("same", "strong")
        assert "% sure that it shows the same" in page.locator("#grid .band").first.get_attribute("title")


def test_the_page_claims_nothing_for_an_encoder_that_was_not_measured(shown: Any) -> None:
    page = shown(f"/#q=i.{to_id('01.jpg')}")
    assert keys(page)
    assert page.locator("#grid .divider, #grid .band").count() == 0
