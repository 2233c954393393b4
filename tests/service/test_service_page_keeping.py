"""The page where it may change the collection: pictures put in and taken out, and orders that compare pictures."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.browsing import begun, keys, searched, textured, until, upload
from tests.service.running import Running, jpeg, running
from tests.support.pictures import picture

pytest_plugins = ["tests.service.service_fixtures"]


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three pictures and a scene, served by somebody who lets them be changed."""
    folder = tmp_path_factory.mktemp("shelf") / "Shelf"
    folder.mkdir()
    for number in range(3):
        picture(number, (320, 240)).save(folder / f"{number:02}.jpg")
    textured(1).save(folder / "scene.jpg")
    with running(folder, writable=True) as started:
        yield started


def said(page: Any) -> str:
    page.wait_for_selector("#note:not([hidden])")
    until(page, "!document.body.classList.contains('busy')")
    return str(page.locator("#note").inner_text())


def test_pictures_are_added_and_what_is_none_is_told_by_name(visit: Any, shelf: Running) -> None:
    page = begun(visit(url=shelf.url, allowed="415"))
    good = [upload(f"new {number}.jpg", jpeg(700 + number, (320, 240))) for number in range(2)]
    page.set_input_files("#new-files", [*good, upload("note.jpg", b"this is no picture")])
    until(page, "document.getElementById('note').textContent.includes('note.jpg')")
    lines = said(page).split("\n")
    assert lines[0] == "2 pictures are in the collection."
    assert lines[1].startswith("note.jpg: That is not a picture that can be read here.")
    assert "Shelf · 6 pictures" in page.locator("#about").text_content()
    assert page.locator("#grid li").count() == 6
    assert sum(key.startswith("uploads/new-") for key in shelf.ids()) == 2


def test_a_picture_that_was_searched_with_is_added(visit: Any, shelf: Running) -> None:
    page = begun(visit(url=shelf.url))
    page.set_input_files("#file", upload("mine.jpg", jpeg(700, (320, 240))))
    searched(page)
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="Add to the collection").click()
    assert len(searched(page, address)) == 4
    assert said(page) == "1 picture is in the collection."
    assert page.locator("#picture-name").inner_text().startswith("uploads/mine-")
    assert not page.get_by_role("button", name="Add to the collection").is_visible()


def test_one_is_taken_out_with_two_presses_and_the_keyboard_alone(visit: Any, shelf: Running) -> None:
    id_ = shelf.ids()["00.jpg"]
    page = begun(visit(f"/#q=i.{id_}", url=shelf.url))
    names = keys(page)
    page.locator("#grid button.open").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove from collection").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Press again to remove it").is_visible()
    assert len(shelf.ids()) == 4
    page.keyboard.press("Enter")
    page.wait_for_selector("#note:not([hidden])")
    assert said(page) == f"{names[0]} was removed from the collection; its file stays where it is."
    assert keys(page) == names[1:]
    assert names[0] not in shelf.ids()
    assert (shelf.folder / names[0]).exists()


def test_who_may_not_change_anything_is_not_offered_to(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    keys(page)
    assert not page.locator("#keep").is_visible()
    page.locator("#grid button.open").first.click()
    assert page.get_by_role("button", name="Remove from collection").count() == 0


def test_the_order_is_part_of_the_address(visit: Any, site: Running) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    plain = keys(page)
    methods = site.client.get("/v1/collection").json()["rerankers"]
    orders = page.locator("#order option").evaluate_all("elements => elements.map(element => element.value)")
    assert orders == ["", *(method["name"] for method in methods)]
    assert "patches" not in orders  # this encoder has none
    page.get_by_label("Order by").select_option(label="Mutual neighbours")
    names = searched(page, "#q=i.MDMuanBn")
    assert page.url.endswith("&r=k-reciprocal")
    expected = site.search(query={"id": "MDMuanBn"}, k=30, exclude_self=True, rerank=["k-reciprocal"]).json()
    assert names == [result["key"] for result in expected["results"]]
    page.go_back()
    until(page, "location.hash === '#q=i.MDMuanBn'")
    assert keys(page) == plain
    assert page.locator("#order").input_value() == ""


def test_an_upload_is_ordered_by_its_pixels_while_it_is_here(visit: Any, site: Running) -> None:
    page = begun(visit())
    cut = io.BytesIO()
    textured(1).crop((30, 20, 400, 300)).save(cut, "JPEG")
    page.set_input_files("#file", upload("cut.jpg", cut.getvalue()))
    until(page, "location.hash.startsWith('#q=v.')")
    plain = keys(page)
    address = page.evaluate("location.hash")
    page.locator("#order").select_option("spatial")
    names = searched(page, address)
    data = {"k": "30", "exclude_self": "true", "rerank": "spatial"}
    expected = site.client.post("/v1/search", files={"file": cut.getvalue()}, data=data).json()["results"]
    assert names == [result["key"] for result in expected]
    points = page.locator("#grid .points").all_inner_texts()
    assert points == [f"{result['inliers']} points" for result in expected]
    assert expected[0]["inliers"] > 15
    assert set(names) == set(plain)
    elsewhere = begun(visit(f"/{page.evaluate('location.hash')}"))
    assert keys(elsewhere) == []
    assert "was not kept" in elsewhere.locator("#error").inner_text()
    assert elsewhere.locator("#order option[value=spatial]").get_attribute("disabled") is not None
    # With words or several pictures there is nothing to compare point by point.
    several = begun(visit("/#q=i.MDMuanBn,i.MDQuanBn"))
    assert several.locator("#order option:disabled").evaluate_all(
        "elements => elements.map(element => element.value)"
    ) == ["spatial", "region"]
