"""Marks on the page, and learning from them: by mouse, by keyboard alone, on a phone, in both languages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.browsing import begun, keys, searched, until
from tests.service.running import Running, running
from tests.service.things import mark_things, write_things

pytest_plugins = ["tests.service.service_fixtures"]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Running]:
    with running(write_things(tmp_path / "Things"), writable=True) as started:
        yield started


def view(service: Running, key: str = "00-0.png") -> str:
    return f"/#q=i.{service.ids()[key]}"


def marks(service: Running) -> dict[frozenset[str], bool]:
    listed = service.client.get("/v1/marks").json()["marks"]
    return {frozenset({mark["a"]["key"], mark["b"]["key"]}): mark["same"] for mark in listed}


def seen(button: Any) -> float:
    return float(button.evaluate("element => getComputedStyle(element).opacity"))


def note(page: Any) -> str:
    until(page, "!document.getElementById('note').hidden && !document.body.classList.contains('busy')")
    return str(page.locator("#note").inner_text())


def test_a_result_is_marked_with_the_mouse_and_the_mark_is_taken_back(things: Running, visit: Any) -> None:
    page = begun(visit(view(things), url=things.url))
    first = keys(page)[0]
    same = page.get_by_role("button", name=f"The same thing: {first}", exact=True)
    assert seen(same) == 0
    assert not page.locator("#marks").is_visible()
    page.locator("#grid .card").first.hover()
    assert seen(same) == 1
    assert seen(page.locator("#grid .card").nth(1).locator("[data-same]").first) == 0
    same.click()
    until(page, "document.getElementById('marks-said').textContent.startsWith('1 mark;')")
    assert marks(things) == {frozenset({"00-0.png", first}): True}
    assert page.locator("#marks-said").inner_text() == "1 mark; 1 of 6 things that are needed to learn from"
    assert not page.get_by_role("button", name="Learn from these").is_visible()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    assert (same.get_attribute("aria-pressed"), seen(same)) == ("true", 1)
    # The other answer replaces it, also after a reload; the same one again takes it back.
    page.reload()
    keys(begun(page))
    assert same.get_attribute("aria-pressed") == "true"
    different = page.get_by_role("button", name=f"Not the same thing: {first}", exact=True)
    different.click()
    until(page, "document.querySelector('[data-same=false]').getAttribute('aria-pressed') === 'true'")
    assert same.get_attribute("aria-pressed") == "false"
    assert marks(things) == {frozenset({"00-0.png", first}): False}
    different.click()
    until(page, "document.getElementById('marks').hidden")
    assert marks(things) == {}


def test_a_result_is_marked_with_the_keyboard_alone(things: Running, visit: Any) -> None:
    page = begun(visit(view(things), url=things.url))
    first = keys(page)[0]
    page.locator("#grid button.open").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"The same thing: {first}"
    assert seen(page.locator("[data-same]").first) == 1
    page.keyboard.press("Enter")
    until(page, "document.activeElement.getAttribute('aria-pressed') === 'true'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Not the same thing: {first}"
    assert marks(things) == {frozenset({"00-0.png", first}): True}


def test_enough_marks_are_learned_from_and_that_is_undone(things: Running, visit: Any) -> None:
    mark_things(things)
    page = begun(visit(view(things), url=things.url))
    before = keys(page)
    assert page.locator("#marks-said").inner_text() == "36 marks, of 12 things"
    page.get_by_role("button", name="Learn from these").click()
    page.wait_for_selector("#learning:not([hidden])")
    assert note(page).startswith("Learned: the right results come earlier (mAP 0.")
    after = keys(page)
    assert after != before
    assert after == [
        result["key"]
        for result in things.search(query={"id": things.ids()["00-0.png"]}, k=30, exclude_self=True).json()["results"]
    ]
    assert not page.get_by_role("button", name="Learn from these").is_visible()
    page.get_by_role("button", name="Undo").click()
    until(page, "document.getElementById('note').textContent.startsWith('What was learned')")
    page.wait_for_load_state("networkidle")
    assert note(page) == "What was learned is undone.", "also when the results have come"
    assert keys(page) == before
    assert page.get_by_role("button", name="Learn from these").is_visible()


def test_a_picture_of_ones_own_is_searched_with_anew_after_it_has_learned(things: Running, visit: Any) -> None:
    mark_things(things)
    page = begun(visit(url=things.url))
    page.set_input_files("#file", str(Path(__file__).parents[2] / "docs" / "page-phone.jpg"))
    searched(page)
    address = page.evaluate("location.hash")
    assert page.locator("[data-same]").count() == 0
    page.get_by_role("button", name="Learn from these").click()
    searched(page, address)
    assert page.evaluate("location.hash").startswith("#q=v.")
    assert note(page).startswith("Learned")
    assert page.locator("#picture-name").inner_text() == "page-phone.jpg"


def test_without_a_gain_it_says_so(visit: Any, tmp_path: Path) -> None:
    with running(write_things(tmp_path / "Noise", noise=True), writable=True) as service:
        mark_things(service)
        page = begun(visit(view(service), url=service.url))
        names = keys(page)
        page.get_by_role("button", name="Learn from these").click()
        assert note(page) == "No gain; nothing changed."
        assert keys(page) == names
        assert page.get_by_role("button", name="Learn from these").is_visible()


def test_marks_are_listed_and_forgotten_with_the_keyboard(things: Running, visit: Any) -> None:
    mark_things(things, 1)
    page = begun(visit(view(things), url=things.url))
    keys(page)
    page.get_by_role("button", name="Show marks").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="3 marks")
    dialog.wait_for()
    assert dialog.get_by_role("listitem").count() == 3
    dialog.get_by_role("button", name="Forget this").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="2 marks").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Forget this"
    assert len(marks(things)) == 2
    until(page, "document.querySelectorAll('[data-same][aria-pressed=true]').length === 2")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "marks-open"


def test_on_a_phone_the_larger_view_marks_and_the_card_shows_it(things: Running, visit: Any) -> None:
    page = begun(visit(view(things), url=things.url, locale="vi-VN", **PHONE))
    first = keys(page)[0]
    assert page.locator("#grid [data-same]").first.is_hidden()
    page.locator("#grid button.open").first.tap()
    page.locator("#viewer").get_by_role("button", name="Cùng một vật", exact=True).tap()
    until(page, "document.querySelector('#viewer [data-same=true]').getAttribute('aria-pressed') === 'true'")
    page.get_by_role("button", name="Đóng").tap()
    assert page.locator("#grid [data-same=true]").first.is_visible()
    assert page.locator("#grid [data-same=false]").first.is_hidden()
    assert marks(things) == {frozenset({"00-0.png", first}): True}
    assert page.locator("#marks-said").inner_text() == "1 đánh dấu; 1 trên 6 vật cần có để học"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_that_may_change_nothing_marks_nothing(visit: Any, site: Running) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    keys(page)
    assert page.locator("[data-same]").count() == 0
    assert not page.locator("#marks").is_visible()
    page.locator("#grid button.open").first.click()
    assert page.locator("[data-same]").count() == 0


def test_marks_go_with_one_whole_picture(things: Running, visit: Any) -> None:
    ids = things.ids()
    first, second = ids["00-0.png"], ids["01-0.png"]
    page = begun(visit(f"/#q=i.{first}", url=things.url))
    for address in (f"#q=i.{first}&b=10,10,200,200", f"#q=i.{first},i.{second}"):
        keys(page)
        assert page.locator("[data-same]").count() > 0
        page.goto(f"{things.url}/{address}")
        until(page, "address => document.body.dataset.shown === address", address)
        assert keys(page)
        assert page.locator("[data-same]").count() == 0
        page.go_back()
        until(page, "address => document.body.dataset.shown === address", f"#q=i.{first}")
