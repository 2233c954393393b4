"""The page in Debian's Chromium: what a person does with a mouse, a finger or the keyboard alone."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from running import Running, jpeg, running

PATIENCE = 60
"""Seconds after which what is waited for will not come, however busy the machine is."""
HOSTILE = "<img src=x onerror=alert(1)> \u202e&quot;'`${7*7}.jpg"


def textured(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A picture in which points can be found again."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("site") / "Town"
    folder.mkdir()
    for number in range(10):
        picture(number, (320, 240)).save(folder / f"{number:02}.jpg")
    picture(20, (200, 400)).save(folder / "tall.jpg")
    picture(21, (640, 160)).save(folder / "wide.jpg")
    picture(22, (320, 240)).save(folder / HOSTILE, "JPEG")
    textured(1).save(folder / "scene.jpg")
    textured(1).crop((60, 40, 420, 320)).save(folder / "part of scene.jpg")
    with running(folder) as started:
        yield started


@pytest.fixture
def visit(browser: Any, site: Running) -> Iterator[Any]:
    """Open the page; whatever it logs, throws or asks of others fails the test."""
    contexts, wrong = [], []

    def go(path: str = "/", url: str = site.url, allowed: str = "$^", **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1200, "height": 800})
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if not re.search(allowed, said.text) else None)
        page.on(
            "request",
            lambda asked: wrong.append(asked.url) if not asked.url.startswith((url, "blob:", "data:")) else None,
        )
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(url + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def begun(page: Any) -> Any:
    page.wait_for_selector("body[data-ready]")
    return page


def until(page: Any, true: str, argument: Any = None) -> None:
    """Wait for something to become true; Playwright's own way of waiting is forbidden by the page's policy."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(true, argument):
        assert time.monotonic() < end, f"{true} ({argument})"
        page.wait_for_timeout(25)


def keys(page: Any) -> list[str]:
    """The names of the results, once those of the present address are shown."""
    until(page, "document.body.dataset.shown === location.hash && !document.body.classList.contains('busy')")
    return [
        str(title) for title in page.locator("#grid .caption .name").evaluate_all("all => all.map(one => one.title)")
    ]


NEAR = """wanted => {
    const box = (/b=([0-9,]+)/.exec(location.hash)?.[1] ?? "").split(",").map(Number);
    return box.length === 4 && box.every((number, place) => Math.abs(number - wanted[place]) <= 1);
}"""
"""The box in the address is that one, to a pixel."""


def upload(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def send(page: Any, kind: str, name: str, data: bytes) -> None:
    """Drop a file on the page or paste it, as a browser would hand it over."""
    page.evaluate(
        """([kind, name, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true })
                : new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
            document.getElementById("drop").dispatchEvent(event);
        }""",
        [kind, name, list(data)],
    )


def resting(page: Any, selector: str) -> Any:
    """Where something is, once it is in one place for two frames and the page does not scroll any more."""
    page.evaluate(
        """async selector => {
            const place = () => JSON.stringify(document.querySelector(selector).getBoundingClientRect());
            const frame = () => new Promise(requestAnimationFrame);
            for (let before = ""; before !== place();) { before = place(); await frame(); await frame(); }
        }""",
        selector,
    )
    return page.locator(selector).bounding_box()


def searched(page: Any, before: str = "") -> list[str]:
    until(page, "before => location.hash !== before", before)
    return keys(page)


def test_it_begins_with_pictures_to_begin_with(visit: Any) -> None:
    page = begun(visit())
    assert page.locator("#grid li").count() == 15
    assert "Town · 15 pictures · pixels" in page.locator("#about").inner_text()
    page.locator("#grid button.open").first.click()
    assert len(searched(page)) == 14
    assert page.url.endswith("#q=i.MDAuanBn")


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_a_picture_of_ones_own_is_searched_with(visit: Any, site: Running, how: str) -> None:
    page, data = begun(visit()), jpeg(500, (320, 240))
    if how == "choose":
        page.set_input_files("#file", upload("mine.jpg", data))
    else:
        send(page, how, "mine.jpg", data)
    found = searched(page)
    expected = site.client.post("/v1/search", files={"file": data}, data={"k": "30"}).json()["results"]
    assert found == [one["key"] for one in expected]
    assert page.locator("#picture-name").inner_text() == "mine.jpg"
    until(page, "document.getElementById('shown').naturalWidth === 320")


def test_a_file_that_the_collection_has_becomes_its_item(visit: Any, site: Running) -> None:
    page = begun(visit())
    page.set_input_files("#file", upload("renamed.jpg", (site.folder / "03.jpg").read_bytes()))
    assert "03.jpg" not in searched(page)
    assert page.url.endswith("#q=i.MDMuanBn")
    assert page.locator("#picture-name").inner_text() == "03.jpg"


def test_a_link_shows_the_same_results_to_someone_else(visit: Any) -> None:
    page = begun(visit())
    page.set_input_files("#file", upload("mine.jpg", jpeg(500, (320, 240))))
    found = searched(page)
    scores = page.locator("#grid .score").all_inner_texts()
    elsewhere = begun(visit(f"/{page.evaluate('location.hash')}"))
    assert keys(elsewhere) == found
    assert elsewhere.locator("#grid .score").all_inner_texts() == scores
    assert elsewhere.locator("#picture-name").inner_text() == "A picture that was not kept"
    until(page, "sessionStorage.length === 1")
    page.reload()
    assert keys(begun(page)) == found
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
    found = searched(page, "#q=i.MDMuanBn")
    box = [int(part) for part in page.url.rpartition("b=")[2].split(",")]
    assert np.abs(np.subtract(box, (80, 60, 160, 120))).max() <= 2
    expected = site.search(query={"id": "MDMuanBn"}, box=box, k=30, exclude_self=True).json()["results"]
    assert found == [one["key"] for one in expected] != before
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
    found = searched(page, address)
    expected = site.client.post("/v1/search", files={"file": data}, data={"k": "30", "box": "80,60,240,180"}).json()
    assert found == [one["key"] for one in expected["results"]]
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
    page.get_by_role("button", name=f"More like this: {first[0]}", exact=True).click()
    second = searched(page, address)
    address = page.evaluate("location.hash")
    page.get_by_role("button", name=f"Less like this: {second[0]}", exact=True).click()
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
    assert third == [one["key"] for one in expected]
    address = page.evaluate("location.hash")
    page.locator("#unwanted button").click()
    assert searched(page, address) == second


def test_a_larger_view_opens_steps_and_closes_with_the_keyboard_alone(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn"))
    found = keys(page)
    page.locator("#grid button.open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer-name").inner_text() == found[0]
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-name").inner_text() == found[1]
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
    assert "matching points agree" in page.locator("#viewer-facts").inner_text()
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
    assert "was not kept" in elsewhere.locator("#viewer-facts").inner_text()


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
    found = searched(page, address)
    page.locator("#grid .open").nth(found.index(HOSTILE)).click()
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
    found = keys(page)
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download as JSON").click()
    saved = json.loads(Path(loading.value.path()).read_text())
    assert [one["key"] for one in saved["results"]] == found
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(loading.value.path()).read_text())))
    assert [row["key"] for row in rows] == found
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
    for path in ("/", "/#q=i.MDMuanBn", "/#q=i.MDMuanBn,i.MDQuanBn&n=i.MDUuanBn"):
        page = begun(visit(path, viewport={"width": 360, "height": 740}, has_touch=True))
        keys(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        small = page.locator("button:visible, a:visible").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().height < 24).map(one => one.textContent)"
        )
        assert set(small) <= {"See everything"}


def test_the_map_leads_back_to_a_search(visit: Any, site: Running) -> None:
    page = begun(visit(allowed="favicon"))
    page.get_by_role("link", name="See everything").click()
    page.wait_for_selector("canvas#map")
    page.wait_for_selector("body[data-ready]")
    page.locator("nav button").first.click()
    page.locator("#map").focus()
    for _ in range(12):
        page.keyboard.press("+")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Search with this picture")
    assert re.fullmatch(r"/#q=i\.[\w-]+", link.get_attribute("href"))
    with page.expect_popup() as opening:
        link.click()
    assert len(keys(begun(opening.value))) == 14


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(page: Any, what: str) -> None:
        found = axe.run(page).response["violations"]
        grave = [
            (fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")
        ]
        assert not grave, (what, grave)

    for size in ({"width": 1200, "height": 800}, {"width": 390, "height": 800}):
        page = begun(visit(color_scheme=scheme, viewport=size, bypass_csp=True))
        check(page, "start")
        page.goto(page.url + "#q=i.MDMuanBn,i.MDQuanBn&n=i.MDUuanBn")
        keys(page)
        check(page, "several")
        page.goto(page.url.partition("#")[0] + "#q=i.MDMuanBn&b=80,60,160,120")
        keys(page)
        check(page, "one")
        page.locator("#grid button.open").first.click()
        check(page, "larger view")


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
