import base64
import hashlib
import html.parser
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import eq, ne
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.analysis import map as mapping
from lookalike.errors import CollectionError, ImageError, LookalikeError
from lookalike.images.decode import to_jpeg
from lookalike.storage.store import Item
from lookalike.types import Ids, Vectors


class Wall:
    """A collection of plain pictures in a few colours; row numbers have gaps, as after removals."""

    def __init__(self, count: int, keys: dict[int, str] | None = None, gone: tuple[int, ...] = ()) -> None:
        self.count, self.keys, self.gone = count, keys or {}, gone
        self.files = [to_jpeg(Image.new("RGB", (90, 60), colour)) for colour in ("red", "green", "blue", "gold")]

    def live_items(self) -> Iterator[Item]:
        for number in range(self.count):
            yield Item(2 * number, 1, self.keys.get(number, f"{number}.jpg"), 1, 1, "00", 90, 60)

    def vectors(self, ids: Ids) -> Vectors:
        rows = np.random.default_rng(0).standard_normal((2 * self.count, 8)) * 0.2
        rows += np.eye(8)[np.arange(2 * self.count) // 2 % 4]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)[ids]

    def read(self, row: int) -> bytes:
        if row // 2 in self.gone:
            raise ImageError("no such file")
        return self.files[row // 2 % 4]


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_shows_every_image_once_in_its_group(tmp_path: Path) -> None:
    assert mapping.make(Wall(40), tmp_path / "map.html", groups=4) == 40
    data = data_of((tmp_path / "map.html").read_text())
    assert sorted(data["keys"]) == sorted(f"{number}.jpg" for number in range(40))
    places = np.array(data["places"]).reshape(-1, 2)
    assert len(np.unique(places, axis=0)) == 40
    # Four directions, four colours: each island is of one colour.
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3)
    for group in range(4):
        assert np.ptp(colours[np.array(data["groups"]) == group].astype(int), axis=0).max() <= 2


def test_thumbnails_lie_on_the_sheet_where_the_script_looks_for_them() -> None:
    page, _ = mapping.render(Wall(40), groups=4)
    data = data_of(page)
    (sheet,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")).astype(int)
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3).astype(int)
    for number in range(40):
        row, column = divmod(number, data["columns"])
        middle = pixels[row * 64 + 32, column * 64 + 32]
        assert np.abs(middle - colours[number]).max() < 12


def test_nothing_is_loaded_from_elsewhere_and_only_these_scripts_run() -> None:
    page, _ = mapping.render(Wall(10))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy[1]
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page.replace("http-equiv", "")


class Elements(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_names_cannot_become_markup() -> None:
    hostile = "</script><img src=x onerror=alert(1)>$data${data}<!--\udcff\u2028.jpg"
    page, _ = mapping.render(Wall(3, keys={0: hostile}), title=f"<b>{hostile}")
    plain, _ = mapping.render(Wall(3))
    assert hostile in data_of(page)["keys"]
    seen, expected = Elements(), Elements()
    seen.feed(page)
    expected.feed(plain)
    assert seen.seen == expected.seen
    page.encode("utf-8")


def test_an_image_that_is_gone_is_a_grey_patch(caplog: pytest.LogCaptureFixture) -> None:
    page, count = mapping.render(Wall(5, gone=(2,)))
    data = data_of(page)
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3)
    assert count == 5
    assert colours[data["keys"].index("2.jpg")].tolist() == [128, 128, 128]
    assert "1 images could not be read" in caplog.text


def test_more_images_than_fit_are_chosen_from() -> None:
    page, count = mapping.render(Wall(50), most=20)
    assert count == 20
    assert len(data_of(page)["keys"]) == 20
    assert "20 of 50 pictures" in page


def test_links_lead_where_the_caller_says() -> None:
    page, _ = mapping.render(Wall(3), link=lambda item: f"/images/{item.row}")
    data = data_of(page)
    assert dict(zip(data["keys"], data["links"], strict=True)) == {
        "0.jpg": "/images/0", "1.jpg": "/images/2", "2.jpg": "/images/4",
    }  # fmt: skip


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="no images to show"):
        mapping.render(Wall(0))
    with pytest.raises(LookalikeError, match=r"map\.html cannot be written \(no such file or directory\)"):
        mapping.make(Wall(2), tmp_path / "absent" / "map.html")


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int | None]] = []
    mapping.render(Wall(60), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(50, 60), (60, 60)]


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    mapping.make(Wall(200, keys={0: "<b>bold</b>.jpg"}), tmp_path / "map.html", groups=4, title="Wall & co")
    context = browser.new_context(viewport={"width": 1000, "height": 700}, reduced_motion="reduce", has_touch=True)
    shown, errors = context.new_page(), []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("console", lambda message: errors.append(message.text))
    shown.goto((tmp_path / "map.html").as_uri())
    shown.wait_for_selector("body[data-ready]")
    yield shown
    assert errors == []
    context.close()


def pixels(page: Any) -> bytes:
    """What the map shows, without the panels over it."""
    url = page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => "
        "done(document.getElementById('map').toDataURL()))))"
    )
    return base64.b64decode(url.partition(",")[2])


def pixels_once(page: Any, are_right: Callable[[bytes], bool], what: str) -> bytes:
    """What the map shows as soon as it is right: a wheel's turn reaches the page when the browser gets to it."""
    end = time.monotonic() + 60
    while not are_right(shown := pixels(page)):
        assert time.monotonic() < end, what
    return shown


def drag(page: Any) -> None:
    page.mouse.down()
    page.mouse.move(420, 260, steps=4)
    page.mouse.up()


def test_the_first_picture_of_the_map_shows_all_colours(page: Any) -> None:
    shown = np.asarray(Image.open(io.BytesIO(pixels(page))).convert("RGB")).astype(int).reshape(-1, 3)
    for colour in ((254, 0, 0), (0, 128, 1), (0, 0, 254), (255, 215, 0)):
        assert (np.abs(shown - colour).max(axis=1) < 20).sum() > 500, colour
    assert page.locator("h1").inner_text() == "Wall & co"
    assert page.locator("nav button").count() == 4


def test_it_zooms_and_pans_with_mouse_and_keyboard(page: Any) -> None:
    seen = [pixels(page)]
    page.mouse.move(500, 300)
    steps: list[Callable[[], None]] = [
        lambda: page.mouse.wheel(0, -400),
        lambda: drag(page),
        lambda: page.keyboard.press("ArrowRight"),
        lambda: page.keyboard.press("+"),
        lambda: page.locator("#out").click(),
    ]
    for number, step in enumerate(steps):
        step()
        page.mouse.move(500, 300)
        seen.append(pixels_once(page, partial(ne, seen[-1]), f"step {number} changed nothing"))
    page.keyboard.press("0")
    pixels_once(page, partial(eq, seen[0]), "0 does not lead back")


def test_it_zooms_with_two_fingers(page: Any) -> None:
    before = pixels(page)
    session = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 60), ("touchMove", 90), ("touchMove", 160), ("touchEnd", None)):
        points = [] if apart is None else [{"x": 500 - apart, "y": 300, "id": 0}, {"x": 500 + apart, "y": 300, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    pixels_once(page, partial(ne, before), "two fingers changed nothing")


def test_a_group_then_a_picture_can_be_chosen_without_a_mouse(page: Any) -> None:
    page.locator("nav button").first.focus()
    page.keyboard.press("Enter")
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    panel = page.locator("#picture")
    assert panel.is_visible()
    first = panel.locator(".key").inner_text()
    assert "Group 1: 50 pictures" in panel.inner_text()
    page.keyboard.press("ArrowRight")
    assert panel.locator(".key").inner_text() != first
    page.keyboard.press("Escape")
    assert panel.is_hidden()
