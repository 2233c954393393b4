"""The page of all collections asked as one: the switch, where results are from, and the way to their own collection."""

from collections.abc import Iterator
from typing import Any

import pytest

from lookalike.images.decode import to_jpeg
from lookalike.service.ids import to_id
from tests.service.browsing import begun, keys, until, upload
from tests.service.together import TOKEN, Service, serving, three
from tests.support.pictures import picture

pytest_plugins = ["tests.service.service_fixtures"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(three(tmp_path_factory.mktemp("all")), writable=True) as started:
        yield started


def opened(visit: Any, service: Service, path: str = "/all/", **options: Any) -> Any:
    return begun(visit(f"{path}#token={TOKEN}", url=service.url, allowed="401", **options))


def test_all_are_asked_from_the_switch_and_results_say_where_they_are_from(visit: Any, service: Service) -> None:
    page = opened(visit, service, "/")
    until(page, "!document.getElementById('switch').hidden")
    names = ["trips", "home", "Old Things", "All collections"]
    assert page.locator("#collections option").all_inner_texts() == names
    page.locator("#collections").select_option(label="All collections")
    page.wait_for_url("**/all/")
    begun(page)
    assert page.locator("#about").text_content() == "All collections · 18 pictures · thumbnail"
    page.set_input_files("#file", upload("mine.jpg", to_jpeg(picture(3, (96, 64)))))
    until(page, "document.querySelectorAll('#grid .score').length > 0")
    found = keys(page)
    assert {key.partition("/")[0] for key in found[:4]} == {"trips", "home", "Old Things"}
    assert page.locator("#grid .from").all_inner_texts() == [key.partition("/")[0] for key in found]


def test_the_larger_view_leads_to_alike_ones_of_all_and_to_the_collection_itself(visit: Any, service: Service) -> None:
    page = opened(visit, service)
    page.goto(f"{service.url}/all/#q=i.{to_id('trips/02.png')}")
    until(page, "document.querySelectorAll('#grid .score').length > 0")
    at = keys(page).index("home/in/05.png")
    page.locator("#grid .open").nth(at).click()
    link = page.get_by_role("link", name="Open in home")
    assert link.get_attribute("href") == f"/c/home/#q=i.{to_id('in/05.png')}"
    page.locator("#viewer-actions").get_by_role("button", name="Search with this").click()
    until(page, f"location.hash === '#q=i.{to_id('home/in/05.png')}'")
    assert {key.partition("/")[0] for key in keys(page)[:3]} == {"trips", "home", "Old Things"}
    page.locator("#grid .open").first.click()
    name = page.locator("#viewer-name").inner_text()
    page.get_by_role("link", name=f"Open in {name.partition('/')[0]}").click()
    until(page, "!location.pathname.endsWith('/all/') && document.querySelectorAll('#grid .score').length > 0")
    assert page.locator("#picture-name").inner_text() == name.partition("/")[2]
    assert page.locator("#grid .from").count() == 0


def test_copies_across_collections_are_shown_and_not_moved(visit: Any, service: Service) -> None:
    page = opened(visit, service, "/all/duplicates")
    page.locator("#level").select_option("exact")
    page.locator("#find").click()
    until(page, "document.querySelectorAll('.group .copy').length > 3")
    named = page.locator(".group").first.locator(".copy p[title]").all_inner_texts()
    assert {"trips/02.png", "home/00.png"} <= set(named)
    assert page.locator("#of-one").inner_text() == "Files are moved within one collection: open it to do that."
    assert not page.locator("#trash").is_visible()
    assert page.get_by_role("button", name="Not duplicates").count() == 0


def test_all_is_offered_in_vietnamese_on_a_phone(visit: Any, service: Service) -> None:
    page = opened(visit, service, locale="vi-VN", viewport={"width": 390, "height": 844})
    until(page, "!document.getElementById('switch').hidden")
    assert page.locator("#collections option").last.inner_text() == "Mọi bộ ảnh"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
