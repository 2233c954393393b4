"""The page on a phone, a tablet, a desk and a wide screen: rows of one height, and everything in its place."""

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.service.browsing import begun, keys, searched, until, upload
from tests.service.running import Running, jpeg, running
from tests.support.pictures import picture

pytest_plugins = ["tests.service.service_fixtures"]

WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desk": (1440, 900), "wide": (1920, 1080)}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ROWS = """() => {
    const rows = new Map();
    for (const card of document.querySelectorAll("#grid .card")) {
        const { left, top, right, height } = card.querySelector(".open").getBoundingClientRect();
        rows.set(Math.round(top), [...(rows.get(Math.round(top)) ?? []), { left, right, height }]);
    }
    return [...rows.values()];
}"""
FILLED = """() => {
    const grid = document.getElementById("grid").getBoundingClientRect();
    const cards = [...document.querySelectorAll("#grid .card")];
    const rows = Object.values(Object.groupBy(cards, card => Math.round(card.offsetTop)));
    return rows.slice(0, -1).every(row => Math.abs(row[0].getBoundingClientRect().left - grid.left) < 1
        && Math.abs(row.at(-1).getBoundingClientRect().right - grid.right) < 1);
}"""
"""Whether all rows but the last reach from edge to edge."""
INSIDE = """selector => {
    const outer = document.getElementById("shown").getBoundingClientRect();
    const inner = document.querySelector(selector).getBoundingClientRect();
    return [(inner.left - outer.left) / outer.width, (inner.top - outer.top) / outer.height,
            (inner.right - outer.left) / outer.width, (inner.bottom - outer.top) / outer.height];
}"""
"""Where the box lies on the query picture, in shares of it."""


def edges(page: Any, selector: str) -> tuple[float, float]:
    """Left and right of something, without its padding."""
    left, right = page.locator(selector).evaluate(
        """element => {
            const { left, right } = element.getBoundingClientRect(), style = getComputedStyle(element);
            return [left + parseFloat(style.paddingLeft), right - parseFloat(style.paddingRight)];
        }"""
    )
    return left, right


def test_rows_are_of_one_height_and_fill_the_page_which_the_header_shares(visit: Any) -> None:
    """On one page, whose window is resized: its rows are laid out anew at each width."""
    page = begun(visit("/#q=i.MDMuanBn"))
    assert len(keys(page)) == 14
    for name, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        until(page, FILLED)
        rows = page.evaluate(ROWS)
        assert len(rows) >= 2
        assert all(len({card["height"] for card in row}) == 1 for row in rows), name
        assert rows[-1][0]["height"] <= 1.5 * rows[0][0]["height"]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert edges(page, ".top") == pytest.approx(edges(page, ".columns"), abs=0.5), name
        if name in ("desk", "wide"):
            assert page.locator("#ask").bounding_box()["x"] + 3 == pytest.approx(edges(page, ".top")[0], abs=0.5)
    # No picture moves while it arrives.
    before = page.evaluate(ROWS)
    page.evaluate("Promise.all([...document.images].filter(one => one.src).map(one => one.decode().catch(() => 0)))")
    assert page.evaluate(ROWS) == before


def test_on_a_phone_results_begin_in_the_first_third_and_the_query_stays(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn", **PHONE))
    keys(page)
    assert page.locator("body > header").bounding_box()["height"] <= 49
    assert page.locator("#grid .open").first.bounding_box()["y"] < 844 / 3
    page.mouse.wheel(0, 2000)
    until(page, "scrollY > 100")
    strip = page.locator("#stage").bounding_box()
    assert 0 <= strip["y"] < 120
    assert strip["height"] <= 64


def test_a_box_on_a_landscape_upload_lies_over_what_was_dragged_on_a_phone(visit: Any) -> None:
    page = begun(visit(**{**PHONE, "is_mobile": False}))
    page.set_input_files("#file", upload("wide.jpg", jpeg(500, (480, 200))))
    searched(page)
    page.locator("#select").click()
    until(page, "document.getElementById('shown').getBoundingClientRect().width > 300")
    area, address = page.locator("#shown").bounding_box(), page.evaluate("location.hash")
    assert area["width"] / area["height"] == pytest.approx(2.4, rel=0.02)
    at = [(area["x"] + share * area["width"], area["y"] + share * area["height"]) for share in (0.25, 0.75)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=3)
    assert page.evaluate(INSIDE, "#region") == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.02)
    page.mouse.up()
    searched(page, address)
    assert page.locator("#region-help").inner_text() == "Part of 240 × 100 pixels"
    assert page.evaluate(INSIDE, "#region") == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.02)


def test_the_larger_view_shows_both_pictures_at_one_zoom(visit: Any) -> None:
    page = begun(visit("/#q=i.MDMuanBn&b=80,60,160,120"))
    keys(page)
    page.locator("#grid button.open").first.click()
    view = page.locator("#viewer").bounding_box()
    assert view["height"] == 800
    assert view["width"] > 1180  # but for a scroll bar
    panes = page.locator("#viewer .pane")
    assert panes.count() == 2
    until(page, "document.querySelector('#viewer .pane .part') !== null")
    # The box is drawn where it was chosen: a quarter to a half of the query's picture.
    frame, part = (page.locator(f"#viewer .pane {name}").first.bounding_box() for name in (".frame", ".part"))
    assert (part["x"] - frame["x"]) / frame["width"] == pytest.approx(0.25, abs=0.01)
    assert part["height"] / frame["height"] == pytest.approx(0.25, abs=0.01)
    page.keyboard.press("+")
    scales = "[...document.querySelectorAll('#viewer .sheet')].map(one => one.style.transform)"
    first, second = page.evaluate(scales)
    assert first == second != ""
    page.keyboard.press("0")
    assert page.evaluate(scales) == ["", ""]
    until(page, "document.getElementById('viewer-facts').textContent.includes('kB')")
    assert "320 × 240" in page.locator("#viewer-facts").inner_text()


def test_a_part_that_was_found_is_drawn_on_its_card_and_shown_large(visit: Any) -> None:
    def boxed(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        for result in found["results"]:
            across, down = result["width"] / 4, result["height"] / 4
            box = {"left": across, "top": down, "right": 2 * across, "bottom": 2 * down}
            result["box"] = box if result["key"] == "01.jpg" else None
        route.fulfill(response=answer, json=found)

    page = visit("/nowhere", allowed="404")
    page.route("**/v1/search", boxed)
    page.goto(f"{page.url.rpartition('/')[0]}/#q=i.MDMuanBn")
    at = keys(begun(page)).index("01.jpg")
    card, part = page.locator("#grid .open").nth(at).bounding_box(), page.locator("#grid .part")
    assert part.count() == 1
    place = part.bounding_box()
    assert (place["x"] - card["x"]) / card["width"] == pytest.approx(0.25, abs=0.02)
    assert place["height"] / card["height"] == pytest.approx(0.25, abs=0.03)
    page.locator("#grid .open").nth(at).click()
    pane, shown = (page.locator(f"#viewer .pane:last-child{end}").bounding_box() for end in ("", " .part"))
    assert shown["width"] == pytest.approx(0.7 * pane["width"], rel=0.1)
    assert shown["x"] + shown["width"] / 2 == pytest.approx(pane["x"] + pane["width"] / 2, abs=4)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three pictures in two folders, two of which say when they were taken."""
    folder = tmp_path_factory.mktemp("told") / "Told"
    (folder / "trip").mkdir(parents=True)
    for number, name in enumerate(("trip/a.jpg", "b.jpg", "trip/c.jpg")):
        exif = Image.Exif()
        if number < 2:
            exif.get_ifd(0x8769)[0x9003] = f"{2018 + number}:07:14 12:30:05"
        picture(number, (320, 240)).save(folder / name, exif=exif)
    with running(folder) as started:
        yield started


def test_chips_write_the_filter_and_an_empty_answer_says_what_helps(told: Running, visit: Any) -> None:
    id_ = told.ids()["trip/c.jpg"]
    page = begun(visit(f"/#q=i.{id_}", url=told.url))
    assert set(keys(page)) == {"trip/a.jpg", "b.jpg"}
    address = page.evaluate("location.hash")
    page.get_by_role("button", name="2019 1").click()
    assert searched(page, address) == ["b.jpg"]
    assert page.locator("#where").input_value() == "taken = 2019"
    until(page, "document.querySelector('.chip[aria-pressed=true]') !== null")
    page.locator("#where").fill("taken = 2020")
    page.locator("#where").press("Enter")
    until(page, "!document.getElementById('empty').hidden")
    assert page.locator("#empty p").inner_text() == "No picture passes the filter."
    page.get_by_role("button", name="Search without it").click()
    until(page, "document.querySelectorAll('#grid .card:not(.skeleton)').length === 2")
    # A limit that is too high says what the best would have been, and is lowered to it.
    names, best = keys(page), float(page.locator("#grid .score").first.get_attribute("data-score"))
    page.goto(f"{told.url}/#q=i.{id_}&s=1.00")
    until(page, "!document.getElementById('empty').hidden")
    assert f"with {best:.2f}" in page.locator("#empty p").inner_text()
    before = page.evaluate("location.hash")
    page.locator("#empty button").click()
    assert searched(page, before)[0] == names[0]
