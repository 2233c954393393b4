"""The tab of duplicates: groups looked through with the keyboard, told apart, put into the trash and back."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.browsing import begun, until
from tests.service.running import Running, running
from tests.support.pictures import picture
from tests.support.trash import trash_in

pytest_plugins = ["tests.service.service_fixtures"]
GROUPS = 3


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Three pictures, each with a smaller copy, and one alone."""
    trash_in(monkeypatch, tmp_path / "share")
    folder = tmp_path / "Copies"
    folder.mkdir()
    for number in range(GROUPS):
        image = picture(number, (320, 240))
        image.save(folder / f"{number}.jpg", quality=95)
        image.resize((160, 120)).save(folder / f"{number}-small.jpg", quality=80)
    picture(9, (320, 240)).save(folder / "alone.jpg")
    with running(folder, writable=True) as started:
        yield started


def looked(page: Any) -> Any:
    begun(page)
    page.get_by_role("button", name="Look for duplicates").click()
    until(page, "document.querySelectorAll('.group .pick').length >= 6")
    return page


def said(page: Any) -> str:
    return str(page.locator("#sum-said").inner_text())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.jpg")}


def test_groups_are_decided_with_the_keyboard_and_moved_to_the_trash_and_back(copies: Running, visit: Any) -> None:
    page = looked(visit("/duplicates", url=copies.url))
    assert page.locator("#title").inner_text() == "3 groups of copies"
    first = page.locator(".group").first
    assert "0.jpg is kept: more real detail" in first.locator(".why").inner_text()
    assert first.locator(".copy").first.locator("b").all_inner_texts()[0] == "320×240"
    assert said(page).startswith("3 files, ")
    # The second group is told apart, of the third the other copy is kept; the last of a group is never let go.
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('.group').dataset.number") == "1"
    page.keyboard.press("n")
    until(page, "document.querySelectorAll('.group.over').length === 1")
    assert said(page).startswith("2 files, ")
    page.keyboard.press("j")
    page.keyboard.press("Space")
    assert page.locator("#note").inner_text() == "One picture of each group is kept."
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert said(page).startswith("1 file, ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("x")
    assert said(page).startswith("2 files, ")
    page.keyboard.press("u")
    assert said(page).startswith("1 file, ")
    page.get_by_role("button", name="Move to trash").click()
    page.locator("#sure-yes").click()
    until(page, "document.getElementById('note').textContent === '1 file is in the trash.'")
    gone = names(copies.folder)
    assert "0-small.jpg" not in gone
    assert len(gone) == 6
    assert "0-small.jpg" not in copies.ids()
    page.locator("#journal-open").click()
    page.wait_for_selector("#journal[open] li")
    assert "0-small.jpg" in page.locator("#journal-all").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Undo", exact=True).click()
    until(page, "document.getElementById('note').textContent === '1 file is back.'")
    assert "0-small.jpg" in names(copies.folder)
    assert "0-small.jpg" in copies.ids()


def test_who_may_change_nothing_gets_the_list(visit: Any, tmp_path: Path) -> None:
    folder = tmp_path / "Copies"
    folder.mkdir()
    for number in range(GROUPS):
        picture(number, (320, 240)).save(folder / f"{number}.jpg")
        picture(number, (320, 240)).save(folder / f"{number}-again.jpg")
    with running(folder) as service:
        page = looked(visit("/duplicates", url=service.url, viewport={"width": 390, "height": 844}))
        assert not page.locator("#trash").is_visible()
        assert page.get_by_role("button", name="Not duplicates").count() == 0
        with page.expect_download() as loading:
            page.get_by_role("button", name="Download the list").click()
        rows = list(csv.DictReader(io.StringIO(Path(loading.value.path()).read_text())))
        assert [row["what"] for row in rows] == ["trash"] * 3
        assert len(names(folder)) == 6
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_ten_thousand_groups_are_a_few_in_the_document_and_found_by_scrolling(site: Running, visit: Any) -> None:
    run = {"run": 1, "level": "near", "keep": "best", "groups_total": 10_000, "open": 10_000, "extras": 10_000}
    job = {"state": "idle", "what": None, "seconds": 0, "done": 0, "total": 0, "outcome": None, "error": None}
    id_ = site.ids()["03.jpg"]

    def group(number: int) -> dict[str, Any]:
        member = {"id": id_, "key": f"{number}.jpg", "width": 320, "height": 240, "bytes": 1000, "level": None}
        members = [{**member, "suggestion": "keep"}, {**member, "id": f"{id_}x", "suggestion": "extra"}]
        return {"number": number, "state": "open", "reason": "", "members": members}

    def answer(route: Any) -> None:
        query = dict(part.split("=") for part in route.request.url.partition("?")[2].split("&"))
        offset, count = int(query["offset"]), int(query["count"])
        groups = [group(number) for number in range(offset, min(10_000, offset + count))]
        totals = {**run, "extra_bytes": 10_000_000, "unseen": 0}
        route.fulfill(json={"finding": job, "moving": job, "run": totals, "groups": groups})

    page = visit("/nowhere", allowed="404")
    page.route("**/v1/duplicates?*", answer)
    page.route("**/thumbnail?*", lambda route: route.fulfill(body=b"", content_type="image/jpeg"))
    page.goto(f"{site.url}/duplicates")
    begun(page)
    until(page, "document.querySelectorAll('.group .pick').length >= 6")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    until(page, "document.querySelector('.group[data-number=\"9999\"]') !== null")
    assert page.locator(".group").count() < 30
    assert said(page) == "10,000 files, 10.0 MB → trash"
