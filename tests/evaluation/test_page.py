"""Saved reports: Markdown, JSON, and a page that a real browser opens without a request or an error."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.evaluation.page import SHOWN, PagePicture, Section, page, save_report
from lookalike.evaluation.plots import bar_chart, line_chart
from lookalike.evaluation.report import Report, aligned, decimal, markdown_table
from lookalike.evaluation.run import evaluate
from lookalike.images.html import THUMBNAIL
from tests.evaluation.angles import AngleEncoder, paint, vgg
from tests.support.pictures import PixelEncoder

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


def open_page(browser: Any, file: Path) -> tuple[Any, list[str], list[str]]:
    """The page, its messages and errors, and its requests besides the file itself and data: URIs."""
    tab = browser.new_page()
    messages: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(file.as_uri(), wait_until="load")
    return tab, messages, [url for url in requests if url != file.as_uri() and not url.startswith("data:")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("page")
    angles = {f"a{degrees}": float(degrees) for degrees in range(0, 100, 10)}
    queries = {
        "good": ("a0 0 0 32 24", "a0;a10", "a20"),
        "bad": ("a50 0 0 16 24", "a0", ""),
        "none": ("a90 0 0 32 24", "", ""),
    }
    return evaluate("vgg", vgg(folder / "set", angles, queries), AngleEncoder(), cache=folder / "cache")


def test_a_browser_opens_the_page_with_every_picture_and_no_error(browser: Any, report: Report, tmp_path: Path) -> None:
    save_report(report, tmp_path)
    tab, messages, requests = open_page(browser, tmp_path / "report.html")
    assert (messages, requests) == ([], [])
    widths = tab.eval_on_selector_all("img", "pictures => pictures.map(p => p.complete ? p.naturalWidth : 0)")
    assert len(widths) == 2 + 2 * 10, "two queries with positives, each with the whole gallery"
    assert min(widths) > 0
    assert tab.locator("section h3").all_inner_texts() == ["bad · AP .0500 · 1 to find", "good · AP 1.0000 · 2 to find"]
    assert tab.locator("figure.positive").count() == 3
    assert tab.locator("figure.junk").count() == 1
    frame = "element => getComputedStyle(element).borderTopColor"
    assert tab.locator("figure.positive img").first.evaluate(frame) == "rgb(20, 130, 60)"
    assert tab.locator("svg").count() == 2
    tab.close()


def test_a_report_is_a_line_and_in_a_notebook_its_table(report: Report) -> None:
    assert re.fullmatch(r"Report\('vgg · .*, mAP [.\d]+\)", repr(report))
    html = report._repr_html_()
    assert (html.count("<table>"), html.count("<td>mAP</td>")) == (1, 1)


def test_the_page_follows_the_reader_into_the_dark(browser: Any, report: Report, tmp_path: Path) -> None:
    save_report(report, tmp_path)
    tab, _, _ = open_page(browser, tmp_path / "report.html")
    back = "getComputedStyle(document.body).backgroundColor"
    tab.emulate_media(color_scheme="light")
    light = tab.evaluate(back)
    tab.emulate_media(color_scheme="dark")
    assert (light, tab.evaluate(back)) == ("rgb(255, 255, 255)", "rgb(21, 23, 26)")
    tab.close()


def test_a_page_of_names_that_are_html_shows_them_as_they_are(browser: Any, tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 10)
    result = PagePicture(tmp_path / "a.png", HOSTILE, HOSTILE, verdict="positive")
    sections = [Section(HOSTILE, PagePicture(tmp_path / "a.png", HOSTILE), [result, PagePicture(None, HOSTILE)])]
    file = tmp_path / "page.html"
    chart = line_chart(HOSTILE, {HOSTILE: [(1, 0.5)]}, [1]) + bar_chart(HOSTILE, [(HOSTILE, 0.5)])
    file.write_text(page(HOSTILE, HOSTILE, sections, [chart]), "utf-8")
    tab, messages, requests = open_page(browser, file)
    assert (messages, requests) == ([], [])
    assert tab.locator("h1").inner_text() == tab.locator("h3").inner_text() == HOSTILE
    assert tab.locator("img").count() == 2
    assert tab.locator("img").first.get_attribute("alt") == HOSTILE
    tab.close()


def test_a_page_without_ground_truth_has_no_frames(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 10)
    html = page(
        "t",
        "l",
        [Section("q", PagePicture(tmp_path / "a.png", "a"), [PagePicture(tmp_path / "a.png", "b", "1 · 0.900")])],
    )
    assert '<figure class="plain">' in html
    assert "✓" not in html
    assert "✗" not in html


def test_a_picture_that_is_gone_is_said_and_a_name_that_is_not_utf8_shown(tmp_path: Path) -> None:
    html = page(
        "t", "l", [Section("q", PagePicture(tmp_path / "gone.png", "bad\udcff.png"), [PagePicture(None, "in.tar/x")])]
    )
    assert "no picture: no such file" in html
    assert "no picture: inside an archive" in html
    assert "bad?.png" in html
    html.encode("utf-8")


def test_the_files_that_are_saved_say_the_same(report: Report, tmp_path: Path) -> None:
    files = save_report(report, tmp_path / "out")
    assert [file.name for file in files] == ["report.json", "report.md", "report.html"]
    document = json.loads(files[0].read_text("utf-8"))
    assert document["map"] == pytest.approx(report.map)
    markdown = files[1].read_text("utf-8")
    assert f"| mAP | {decimal(report.map)} |" in markdown
    queries = [line.split(" | ")[0] for line in markdown.splitlines() if line.startswith(("| bad", "| good", "| none"))]
    assert queries == ["| bad", "| good", "| none"], "the worst first, those without positives last"
    assert "without positives, so out of the mean: none" in markdown


def test_every_figure_is_printed_with_what_it_is_divided_by(report: Report) -> None:
    rows = {row[0]: row for row in report.rows()}
    assert rows["mAP@k"][-1] == "min(k, R)"
    assert rows["P@k"][-1] == "k"
    assert rows["recall@k"][-1] == "R"
    assert rows["mAP"][-1].endswith("over R")
    assert "3 queries" in report.heading()


def test_a_terminal_has_the_map_on_a_line_of_its_own_and_figures_at_k_in_a_table(report: Report) -> None:
    lines = report.text().splitlines()
    assert lines[2].split()[:2] == ["mAP", decimal(report.map)]
    assert (lines[3], lines[4].split()[:2]) == ("", ["figure", "k=5"])
    assert not [line for line in lines[4:] if line.startswith("mAP ")]


def test_decimals_are_printed_as_the_report_prints_them() -> None:
    assert [decimal(value) for value in (0.8473, 1.0, 0.0, float("nan"), 0.99999)] == [
        ".8473",
        "1.0000",
        ".0000",
        "–",
        "1.0000",
    ]


def test_tables_line_up_and_do_not_break_on_a_bar() -> None:
    assert aligned([["a", "b", "c"], ["long", "12", "x"]]) == "a      b  c\nlong  12  x"
    assert markdown_table([["a"], ["x|y\nz"]]) == "| a |\n| --- |\n| x\\|y z |"


@pytest.fixture(scope="module")
def of_a_town(six_buildings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a benchmark of photographs, saved."""
    folder = tmp_path_factory.mktemp("of-a-town")
    save_report(evaluate("vgg", six_buildings, PixelEncoder(), cache=folder / "cache"), folder)
    return folder


def test_the_page_of_a_town_holds_every_query_and_every_picture_in_it(of_a_town: Path) -> None:
    html = (of_a_town / "report.html").read_text("utf-8")
    queries = re.findall(r"<section><h3>([a-z]+_[12]) · AP", html)
    assert sorted(queries) == [
        f"{name}_{number}"
        for name in ("bakery", "church", "palace", "theatre", "tower", "townhall")
        for number in (1, 2)
    ]
    pictures = re.findall(r'<img [^>]*src="data:image/jpeg;base64,([^"]*)"', html)
    assert len(pictures) == html.count("<img ") == 12 * (1 + SHOWN)
    for picture in set(pictures):
        with Image.open(io.BytesIO(base64.b64decode(picture, validate=True))) as image:
            image.load()
            assert max(image.size) == THUMBNAIL


def test_the_page_of_a_town_is_shown_without_an_error(of_a_town: Path, browser: Any) -> None:
    tab, messages, requests = open_page(browser, of_a_town / "report.html")
    assert (messages, requests, tab.locator("section").count()) == ([], [], 12)
    assert tab.eval_on_selector_all("img", "pictures => pictures.every(p => p.naturalWidth > 0)")
    tab.close()
