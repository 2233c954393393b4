"""The page in Debian's Chromium: what a person looks for with a mouse, a finger or the keyboard alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lookalike.errors import ImageError
from lookalike.types import Vectors
from tests.service.browsing import NEAR, begun, keys, resting, searched, send, until, upload
from tests.service.running import Running, jpeg, running
from tests.support.pictures import PixelEncoder, picture

pytest_plugins = ["tests.service.service_fixtures"]


def test_it_begins_with_pictures_to_begin_with(visit: Any) -> None:
    page = begun(visit())
    assert page.locator("#grid li").count() == 15
    assert "Town · 15 pictures · pixels" in page.locator("#about").text_content()
    page.locator("#grid button.open").first.click()
    assert len(searched(page)) == 14
    assert page.url.endswith("#q=i.MDAuanBn")


def test_a_picture_of_ones_own_is_searched_with_however_it_comes(visit: Any, site: Running) -> None:
    page, address = begun(visit()), ""
    for number, how in enumerate(("drop", "paste", "choose")):
        data = jpeg(500 + number, (320, 240))
        if how == "choose":
            page.set_input_files("#file", upload(f"{how}.jpg", data))
        else:
            send(page, how, f"{how}.jpg", data)
        names, address = searched(page, address), page.evaluate("location.hash")
        expected = site.client.post("/v1/search", files={"file": data}, data={"k": "30"}).json()["results"]
        assert names == [result["key"] for result in expected], how
        assert page.locator("#picture-name").inner_text() == f"{how}.jpg"
        until(page, "document.getElementById('shown').naturalWidth === 320")


def test_a_picture_that_the_collection_has_is_told_by_its_name_and_found(visit: Any, site: Running) -> None:
    page, data = begun(visit()), (site.folder / "03.jpg").read_bytes()
    page.set_input_files("#file", upload("renamed.jpg", data))
    assert searched(page)[0] == "03.jpg"
    assert page.locator("#picture-name").inner_text() == "renamed.jpg"
    assert page.locator("#here").inner_text() == "Already in your collection: 03.jpg"
    # The same pixels in another file, too; but not a picture that is only alike.
    address, other = page.evaluate("location.hash"), io.BytesIO()
    Image.open(io.BytesIO(data)).save(other, "PNG")
    page.set_input_files("#file", upload("copy.png", other.getvalue()))
    until(page, "document.getElementById('here').textContent.startsWith('The same pixels')")
    page.locator("#here a").click()
    assert "03.jpg" not in searched(page, address)
    assert page.url.endswith("#q=i.MDMuanBn")
    page.set_input_files("#file", upload("mine.jpg", jpeg(500, (320, 240))))
    searched(page, "#q=i.MDMuanBn")
    assert not page.locator("#here").is_visible()


def test_a_link_shows_the_same_results_to_someone_else(visit: Any) -> None:
    page = begun(visit())
    page.set_input_files("#file", upload("mine.jpg", jpeg(500, (320, 240))))
    names = searched(page)
    scores = page.locator("#grid .score").all_inner_texts()
    elsewhere = begun(visit(f"/{page.evaluate('location.hash')}"))
    assert keys(elsewhere) == names
    assert elsewhere.locator("#grid .score").all_inner_texts() == scores
    assert elsewhere.locator("#picture-name").inner_text() == "A picture that was not kept"
    until(page, "sessionStorage.length === 1")
    page.reload()
    assert keys(begun(page)) == names
    assert page.locator("#picture-name").inner_text() == "mine.jpg"


def test_back_and_forward_show_what_was_there(visit: Any) -> None:
    page = begun(visit())
    page.locator("#grid button.open").nth(2).click()
    first, address = searched(page), page.evaluate("location.hash")
    page.get_by_role("button", name=f"Search with this: {first[0]}").click()
    second = searched(page, address)
    assert second != first
    page.go_back()
    until(page, "address => location.hash === address", address)
    assert keys(page) == first
    page.go_back()
    until(page, "location.hash === ''")
    until(page, "document.querySelectorAll('#grid li').length === 15")
    page.go_forward()
    assert searched(page) == first


def test_a_box_is_drawn_with_the_mouse_and_moved_with_the_keyboard(visit: Any, site: Running) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    before = keys(page)
    area = page.locator("#shown").bounding_box()
    page.mouse.move(area["x"] + area["width"] / 4, area["y"] + area["height"] / 4)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=3)
    page.mouse.up()
    names = searched(page, "#q=i.MDMuanBn")
    box = [int(part) for part in page.url.rpartition("b=")[2].split(",")]
    assert np.abs(np.subtract(box, (80, 60, 160, 120))).max() <= 2
    expected = site.search(query={"id": "MDMuanBn"}, box=box, k=30, exclude_self=True).json()["results"]
    assert names == [result["key"] for result in expected] != before
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    # One search or two, as the keys came quickly or not.
    moved = np.add(box, (8, 0, 8, 6)).tolist()
    until(page, NEAR, moved)
    keys(page)
    page.keyboard.press("Escape")
    until(page, "!location.hash.includes('b=')")
    assert keys(page) == before


def test_a_box_on_an_upload_searches_for_that_part(visit: Any, site: Running) -> None:
    page, data = begun(visit()), jpeg(500, (320, 240))
    page.set_input_files("#file", upload("mine.jpg", data))
    whole, address = searched(page), page.evaluate("location.hash")
    page.locator("#stage").focus()
    page.keyboard.press("Enter")
    names = searched(page, address)
    expected = site.client.post("/v1/search", files={"file": data}, data={"k": "30", "box": "80,60,240,180"}).json()
    assert names == [result["key"] for result in expected["results"]]
    assert page.locator("#region-help").inner_text() == "Part of 160 × 120 pixels"
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="Whole picture").click()
    assert searched(page, address) == whole


def swipe(page: Any) -> None:
    """Draw a finger over the query picture, from one corner towards the other."""
    area = resting(page, "#shown")
    session = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.2), ("touchMove", 0.5), ("touchMove", 0.8), ("touchEnd", None)):
        at = {"x": area["x"] + (share or 0) * area["width"], "y": area["y"] + (share or 0) * area["height"]}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if share is None else [at]})


def test_a_box_is_drawn_with_a_finger_once_that_was_chosen(visit: Any) -> None:
    phone = {"has_touch": True, "viewport": {"width": 390, "height": 800}}
    page = begun(visit("/#q=i.MDMuanBn", **phone))
    swipe(page)
    assert not page.locator("#region").is_visible()
    # In a page of its own: a tap while the swipe still pushes the first one would only stop it.
    page = begun(visit("/#q=i.MDMuanBn", **phone))
    page.locator("#select").tap()
    until(page, "document.getElementById('select').getAttribute('aria-pressed') === 'true'")
    swipe(page)
    until(page, "location.hash.includes('b=')")


def test_several_pictures_are_wanted_and_unwanted(visit: Any, site: Running) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    first = keys(page)
    address = page.evaluate("location.hash")
    page.get_by_role("button", name=f"Add: {first[0]}", exact=True).click()
    second = searched(page, address)
    address = page.evaluate("location.hash")
    page.get_by_role("button", name=f"Not like this: {second[0]}", exact=True).click()
    third = searched(page, address)
    assert page.locator("#wanted li").count() == 2
    assert page.locator("#unwanted li").count() == 1
    ids = site.ids()
    expected = site.search(
        query=[{"id": ids["03.jpg"]}, {"id": ids[first[0]]}],
        negatives=[{"id": ids[second[0]]}],
        k=30,
        exclude_self=True,
    ).json()["results"]
    assert third == [result["key"] for result in expected]
    address = page.evaluate("location.hash")
    page.locator("#unwanted button").click()
    assert searched(page, address) == second


def test_a_picture_elsewhere_is_fetched_where_that_is_allowed(visit: Any, site: Running, tmp_path: Path) -> None:
    assert not begun(visit()).locator("#url-form").is_visible()
    folder, data, address = tmp_path / "photos", jpeg(500, (320, 240)), "https://example.org/door.jpg"
    folder.mkdir()
    for number in range(3):
        picture(number, (320, 240)).save(folder / f"{number}.jpg")

    def fetch(url: str) -> bytes:
        if url != address:
            raise ImageError("it answered with 404")
        return data

    with running(folder, allow_urls=True) as service:
        service.served.fetch = fetch  # type: ignore[assignment]
        page = begun(visit(url=service.url, allowed="422"))
        page.locator("#url").fill(address)
        page.keyboard.press("Enter")
        names = searched(page)
        expected = service.client.post("/v1/search", files={"file": data}).json()["results"]
        assert names == [result["key"] for result in expected]
        assert page.locator("#picture-name").inner_text() == address
        until(page, "document.getElementById('shown').naturalWidth === 320")
        before = page.evaluate("location.hash")
        page.locator("#stage").focus()
        page.keyboard.press("Enter")
        searched(page, before)
        assert page.locator("#region-help").inner_text() == "Part of 160 × 120 pixels"
        page.locator("#url").fill("https://example.org/nothing.jpg")
        page.keyboard.press("Enter")
        page.wait_for_selector("#error:not([hidden])")
        assert page.locator("#error").inner_text() == "No picture could be fetched from that address."


class ReadingEncoder(PixelEncoder):
    """Reads the number of a picture, and means that picture."""

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return self.encode([picture(int(text.split()[-1]), (320, 240)) for text in texts])


def test_words_are_searched_for_where_the_encoder_reads(visit: Any, site: Running, tmp_path: Path) -> None:
    assert not begun(visit()).locator("#text-form").is_visible()
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        picture(number, (320, 240)).save(folder / f"{number}.png")
    with running(folder, ReadingEncoder()) as service:
        page = begun(visit(url=service.url))
        page.locator("#text").fill("the picture 2")
        page.keyboard.press("Enter")
        assert searched(page)[0] == "2.png"
        assert page.url.endswith("#t=the%20picture%202")
        page.get_by_role("button", name="Why?: 2.png").click()
        assert page.locator("#viewer-said").inner_text().startswith("The query is words")
        page.keyboard.press("Escape")
        page.reload()
        assert keys(begun(page))[0] == "2.png"
        assert page.locator("#text").input_value() == "the picture 2"
        # Words and a picture together.
        before = page.evaluate("location.hash")
        page.get_by_role("button", name="Add: 1.png").click()
        assert set(searched(page, before)) == {"0.png", "2.png", "3.png"}
        page.get_by_role("button", name="Remove", exact=True).click()
        until(page, "location.hash === '#t=the%20picture%202'")
