import base64
import hashlib
import html.parser
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from operator import eq, ne
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.analysis import map as mapping
from lookalike.errors import CollectionError, LookalikeError
from lookalike.search.gallery import StoredGallery
from lookalike.storage import store
from lookalike.storage.manifest import Header
from lookalike.storage.store import Item
from lookalike.types import Vectors
from tests.support.vectors import FINGERPRINT

COLOURS = ("red", "green", "blue", "gold")
Wall = Callable[..., StoredGallery]


@pytest.fixture
def wall(tmp_path: Path) -> Iterator[Wall]:
    """Makes a gallery of plain pictures in four colours, `gone` of them without a file; every other row is removed."""
    with ExitStack() as stack:

        def hang(count: int, keys: dict[int, str] | None = None, gone: tuple[int, ...] = ()) -> StoredGallery:
            folder = tmp_path / f"wall-{len(list(tmp_path.iterdir()))}"
            names = [(keys or {}).get(number, f"{number}.jpg") for number in range(count)]
            for number in set(range(count)) - set(gone):
                (folder / names[number]).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (90, 60), COLOURS[number % 4]).save(folder / names[number])
            opened_store = stack.enter_context(closing(store.create(folder / ".c", Header("eight", FINGERPRINT, 8))))
            with opened_store.writing():
                source = opened_store.catalog.add_source("..", "")
                items = [
                    Item(-1, source, key, 1, 1, f"{row:064x}", 90, 60)
                    for row, key in enumerate(key for name in names for key in (name, f"removed {name}"))
                ]
                opened_store.add_many(items, around_four_directions(2 * count), new_keys=True)
                opened_store.catalog.remove(range(1, 2 * count, 2))
            return StoredGallery(opened_store)

        yield hang


def around_four_directions(count: int) -> Vectors:
    """Unit rows of eight numbers; two after each other are of one direction, and the next two of the next."""
    rows = np.random.default_rng(0).standard_normal((count, 8)) * 0.2
    rows += np.eye(8)[np.arange(count) // 2 % 4]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def data_of(page: str) -> dict[str, Any]:
    script = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert script
    return dict(json.loads(script[1]))


def test_the_page_shows_every_image_once_in_its_group(wall: Wall, tmp_path: Path) -> None:
    assert mapping.make(wall(40), tmp_path / "map.html", groups=4) == 40
    data = data_of((tmp_path / "map.html").read_text())
    assert sorted(data["keys"]) == sorted(f"{number}.jpg" for number in range(40))
    places = np.array(data["places"]).reshape(-1, 2)
    assert len(np.unique(places, axis=0)) == 40
    # Four directions, four colours: each island is of one colour.
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3)
    for group in range(4):
        assert np.ptp(colours[np.array(data["groups"]) == group].astype(int), axis=0).max() <= 2


def test_thumbnails_lie_on_the_sheet_where_the_script_looks_for_them(wall: Wall) -> None:
    page, _ = mapping.render(wall(40), groups=4)
    data = data_of(page)
    (sheet,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")).astype(int)
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3).astype(int)
    for number in range(40):
        row, column = divmod(number, data["columns"])
        middle = pixels[row * 64 + 32, column * 64 + 32]
        assert np.abs(middle - colours[number]).max() < 12


def test_nothing_is_loaded_from_elsewhere_and_only_these_scripts_run(wall: Wall) -> None:
    page, _ = mapping.render(wall(10))
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


def test_names_cannot_become_markup(wall: Wall) -> None:
    hostile = "</script><img src=x onerror=alert(1)>$data${data}<!--\udcff\u2028.jpg"
    page, _ = mapping.render(wall(3, keys={0: hostile}, gone=(0,)), title=f"<b>{hostile}")
    plain, _ = mapping.render(wall(3))
    assert hostile in data_of(page)["keys"]
    seen, expected = Elements(), Elements()
    seen.feed(page)
    expected.feed(plain)
    assert seen.seen == expected.seen
    page.encode("utf-8")


def test_an_image_that_is_gone_is_a_grey_patch(wall: Wall, caplog: pytest.LogCaptureFixture) -> None:
    page, count = mapping.render(wall(5, gone=(2,)))
    data = data_of(page)
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(-1, 3)
    assert count == 5
    assert colours[data["keys"].index("2.jpg")].tolist() == [128, 128, 128]
    assert "1 image could not be read" in caplog.text


def test_more_images_than_fit_are_chosen_from(wall: Wall) -> None:
    page, count = mapping.render(wall(50), most=20)
    assert count == 20
    assert len(data_of(page)["keys"]) == 20
    assert "20 of 50 pictures" in page


def test_links_lead_where_the_caller_says(wall: Wall) -> None:
    page, _ = mapping.render(wall(3), link=lambda item: f"/images/{item.row}")
    data = data_of(page)
    assert dict(zip(data["keys"], data["links"], strict=True)) == {
        "0.jpg": "/images/0", "1.jpg": "/images/2", "2.jpg": "/images/4",
    }  # fmt: skip


def test_what_cannot_be_done_is_one_line(wall: Wall, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="no images to show"):
        mapping.render(wall(0))
    with pytest.raises(LookalikeError, match=r"map\.html cannot be written \(no such file or directory\)"):
        mapping.make(wall(2), tmp_path / "absent" / "map.html")


def test_progress_ends_at_the_total(wall: Wall) -> None:
    seen: list[tuple[int, int | None]] = []
    mapping.render(wall(60), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(50, 60), (60, 60)]


@pytest.fixture
def page(wall: Wall, browser: Any, tmp_path: Path) -> Iterator[Any]:
    mapping.make(wall(200, keys={0: "<b>bold</b>.jpg"}), tmp_path / "map.html", groups=4, title="Wall & co")
    context = browser.new_context(viewport={"width": 1000, "height": 700}, reduced_motion="reduce", has_touch=True)
    tab, errors = context.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.goto((tmp_path / "map.html").as_uri())
    tab.wait_for_selector("body[data-ready]")
    yield tab
    assert errors == []
    context.close()


def pixels(page: Any) -> bytes:
    """The canvas of the map as a PNG, without the panels over it."""
    url = page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => "
        "done(document.getElementById('map').toDataURL()))))"
    )
    return base64.b64decode(url.partition(",")[2])


def pixels_once(page: Any, are_right: Callable[[bytes], bool], message: str) -> bytes:
    """The canvas as soon as it is right; a browser handles events of the mouse with a delay."""
    end = time.monotonic() + 60
    while not are_right(canvas := pixels(page)):
        assert time.monotonic() < end, message
    return canvas


def drag(page: Any) -> None:
    page.mouse.down()
    page.mouse.move(420, 260, steps=4)
    page.mouse.up()


def test_the_first_picture_of_the_map_shows_all_colours(page: Any) -> None:
    rgb = np.asarray(Image.open(io.BytesIO(pixels(page))).convert("RGB")).astype(int).reshape(-1, 3)
    for colour in ((254, 0, 0), (0, 128, 1), (0, 0, 254), (255, 215, 0)):
        assert (np.abs(rgb - colour).max(axis=1) < 20).sum() > 500, colour
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
