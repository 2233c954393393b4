"""The page in Debian's Chromium: results and the larger view, in two languages, on a phone, behind a token."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.service.browsing import HOSTILE, begun, keys, searched, send, textured, until, upload
from tests.service.running import Running, jpeg, running
from tests.support.pictures import picture

pytest_plugins = ["tests.service.service_fixtures"]


def test_a_larger_view_opens_steps_and_closes_with_the_keyboard_alone(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    names = keys(page)
    page.locator("#grid button.open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer-name").inner_text() == names[0]
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-name").inner_text() == names[1]
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.evaluate("document.activeElement.className") == "open"


def test_why_draws_what_matches_on_both_pictures(visit: Any, site: Running) -> None:
    id_ = site.ids()["part of scene.jpg"]
    page = begun(visit(f"/#q=i.{id_}"))
    keys(page)
    page.get_by_role("button", name="Why?: scene.jpg", exact=True).click()
    page.wait_for_selector("#viewer svg .overlap")
    assert page.locator("#viewer svg image").count() == 2
    assert page.locator("#viewer svg line").count() >= 20
    assert "matching points agree on one view" in page.locator("#viewer-said").inner_text()
    # Of an upload too, which only this page has; but not of one that it does not have.
    page = begun(visit())
    cut = io.BytesIO()
    textured(1).crop((30, 20, 400, 300)).save(cut, "JPEG")
    page.set_input_files("#file", upload("cut.jpg", cut.getvalue()))
    searched(page)
    page.get_by_role("button", name="Why?: scene.jpg", exact=True).click()
    page.wait_for_selector("#viewer svg .overlap")
    elsewhere = begun(visit(f"/{page.evaluate('location.hash')}"))
    keys(elsewhere)
    elsewhere.get_by_role("button", name="Why?: scene.jpg", exact=True).click()
    assert "was not kept" in elsewhere.locator("#viewer-said").inner_text()


def test_pictures_keep_their_shape(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    names = keys(page)
    for name, shape in (("tall.jpg", 0.5), ("wide.jpg", 2.6), ("01.jpg", 4 / 3)):
        image = page.locator("#grid .open").nth(names.index(name))
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert abs(box["width"] / box["height"] - shape) < 0.05 * shape, name


def test_a_hostile_name_is_only_text(visit: Any, site: Running) -> None:
    page = begun(visit(f"/#q=i.{site.ids()[HOSTILE]}"))
    assert page.locator("#picture-name").inner_text() == HOSTILE
    address = page.evaluate("location.hash")
    page.set_input_files("#file", upload("<svg onload=alert(2)>.jpg", jpeg(500)))
    names = searched(page, address)
    page.locator("#grid .open").nth(names.index(HOSTILE)).click()
    assert page.locator("#viewer-name").inner_text() == HOSTILE
    assert page.locator("img[src='x'], #picture-name svg").count() == 0


def test_fewer_results_and_a_least_score_are_part_of_the_address(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    all_, address = keys(page), page.evaluate("location.hash")
    page.locator("#count").fill("5")
    page.locator("#count").press("Enter")
    assert searched(page, address) == all_[:5]
    assert "k=5" in page.url
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="Show more").click()
    assert searched(page, address) == all_
    scores = [float(score) for score in page.locator("#grid .score").all_inner_texts()]
    presses = int(100 * scores[5])
    page.locator("#least").focus()
    for _ in range(presses):
        page.keyboard.press("ArrowRight")
    until(page, "end => location.hash.endsWith(end)", f"s={presses / 100:.2f}")
    kept = keys(page)
    assert kept == all_[: sum(score >= presses / 100 for score in scores)]
    assert 5 < len(kept) < len(all_)


def test_results_are_downloaded_as_json_and_csv(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    names = keys(page)
    page.locator("#downloads summary").click()
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download as JSON").click()
    saved = json.loads(Path(loading.value.path()).read_text())
    assert [result["key"] for result in saved["results"]] == names
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(loading.value.path()).read_text())))
    assert [row["key"] for row in rows] == names
    assert float(rows[0]["score"]) == saved["results"][0]["score"]


@pytest.mark.parametrize(
    ("language", "said"), [("en-US", "That is not a picture that can be read here"), ("vi-VN", "Đây không phải là ảnh")]
)
def test_an_error_is_a_sentence_in_the_language_of_the_reader(visit: Any, language: str, said: str) -> None:
    page = begun(visit(locale=language, allowed="415"))
    send(page, "drop", "note.jpg", b"this is no picture")
    page.wait_for_selector("#error:not([hidden])")
    assert said in page.locator("#error").inner_text()
    assert page.locator("#error").get_attribute("role") == "alert"
    # What went wrong is forgotten with the next search.
    page.locator("#grid button.open").first.click()
    searched(page)
    assert not page.locator("#error").is_visible()


def test_it_speaks_vietnamese(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn", locale="vi-VN"))
    keys(page)
    assert page.locator("html").get_attribute("lang") == "vi"
    assert "14 kết quả" in page.locator("#title").inner_text()
    assert page.get_by_role("button", name="Bỏ ảnh").is_visible()
    english = set(
        re.findall(
            r"^  (\w+):|, (\w+): ", (Path(__file__).parents[2] / "lookalike/service/static/words.js").read_text(), re.M
        )
    )
    assert english


def test_it_fits_a_phone(visit: Any) -> None:
    for path in ("/", "/#q=i.MDMuanBn,i.MDQuanBn&n=i.MDUuanBn"):
        page = begun(visit(path, viewport={"width": 360, "height": 740}, has_touch=True))
        keys(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        small = page.locator("button:visible, a:visible").evaluate_all(
            "links => links.filter(link => link.getBoundingClientRect().height < 24).map(link => link.textContent)"
        )
        assert small == []


def test_the_map_leads_back_to_a_search(visit: Any, site: Running) -> None:
    page = begun(visit(allowed="favicon"))
    page.get_by_role("link", name="Map", exact=True).click()
    page.wait_for_selector("canvas#map")
    page.wait_for_selector("body[data-ready]")
    page.locator("nav button").first.click()
    page.locator("#map").focus()
    for _ in range(12):
        page.keyboard.press("+")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Search with this", exact=True)
    assert re.fullmatch(r"\./#q=i\.[\w-]+", link.get_attribute("href"))
    link.click()
    page.wait_for_selector("body[data-tab=search][data-ready]")
    assert len(keys(page)) == 14
    page.go_back()
    page.wait_for_selector("body[data-tab=map][data-ready]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(page: Any, what: str) -> None:
        faults = axe.run(page).response["violations"]
        grave = [
            (fault["id"], fault["nodes"][0]["html"]) for fault in faults if fault["impact"] in ("serious", "critical")
        ]
        assert not grave, (what, grave)

    options = {"color_scheme": scheme, "bypass_csp": True}
    page = begun(visit("/#q=i.MDMuanBn&b=80,60,160,120", **options))
    keys(page)
    check(page, "one")
    page.locator("#grid button.open").first.click()
    check(page, "larger view")
    page.goto(f"{page.url.partition('#')[0]}duplicates")
    begun(page).locator("#find").click()
    until(page, "!document.getElementById('empty').hidden && document.getElementById('working').hidden")
    check(page, "duplicates")
    if scheme == "light":
        for address in ("docs", "map"):
            page.goto(f"{page.url.rpartition('/')[0]}/{address}")
            check(begun(page), address)
        small = begun(
            visit("/#q=i.MDMuanBn,i.MDQuanBn&n=i.MDUuanBn", viewport={"width": 390, "height": 800}, **options)
        )
        keys(small)
        check(small, "several, on a phone")


def test_a_token_is_asked_for_once(visit: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        picture(number).save(folder / f"{number}.jpg")
    with running(folder, token="only for friends of mine") as guarded:
        page = visit(url=guarded.url, allowed="401")
        page.wait_for_selector("#login[open]")
        page.locator("#token").fill("a guess")
        page.keyboard.press("Enter")
        page.wait_for_selector("#login-error:not([hidden])")
        assert page.locator("#login-error").inner_text() == "That is not the token."
        page.locator("#token").fill("only for friends of mine")
        page.keyboard.press("Enter")
        begun(page)
        assert (
            page.locator("#grid img").first.evaluate("async image => (await image.decode(), image.naturalWidth)") == 64
        )
        page.reload()
        begun(page)
        linked = begun(visit("/#token=only%20for%20friends%20of%20mine", url=guarded.url, allowed="401"))
        assert "token" not in linked.url
        assert linked.evaluate("document.cookie") == ""
        damaged = visit("/#token=100%", url=guarded.url, allowed="401")
        damaged.wait_for_selector("#login[open]")
