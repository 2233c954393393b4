"""Pages that commands write: self-contained, with names as they are, and shown in the browser where that is wanted."""

import re
import webbrowser
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.support.pictures import picture

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


def test_a_search_writes_one_page_of_its_query_and_results(run: Run, photos: Path, tmp_path: Path) -> None:
    picture(1).save(photos / HOSTILE)
    run("index", photos, "--encoder", "pixels")
    file = tmp_path / "page.html"
    status, output, errors = run("search", photos, photos / HOSTILE, "-k", 3, "--negative", "02.jpg", "--html", file)
    assert (status, errors, len(output.splitlines())) == (0, f"lookalike: wrote {file}\n", 3)
    page = file.read_text("utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 1 + 1 + 3
    assert [page.count(f'<figure class="{kind}">') for kind in ("query", "negative", "plain")] == [1, 1, 3]
    assert f"3 results, of 13 images in {photos}" in page
    assert f'href="{(photos / "01.jpg").as_uri()}"' in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.search(r"<script|src=x onerror=alert\(1\)>|src=\"http", page)
    assert "default-src 'none'" in page


def test_a_page_says_what_has_no_picture(run: Run, worded: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert run("search", worded, "--text", "red", "-k", 2, "--html", file)[0] == 0
    assert "with the words “red”" in file.read_text("utf-8")
    (worded / "01.jpg").unlink()
    assert run("search", worded, "01.jpg", "--html", file)[0] == 0
    assert file.read_text("utf-8").count("no picture: ") == 2


def test_duplicates_and_explain_write_pages_too(run: Run, indexed: Path, tmp_path: Path) -> None:
    assert run("duplicates", indexed, "--html", tmp_path / "copies.html")[0] == 0
    page = (tmp_path / "copies.html").read_text("utf-8")
    assert "1 group, 1 image could go" in page
    assert [page.count(f'<figure class="{kind}">') for kind in ("keep", "extra")] == [1, 1]
    assert run("explain", indexed, "01.jpg", "copy.png", "--html", tmp_path / "why.html")[0] == 0
    assert (tmp_path / "why.html").read_text("utf-8").count('src="data:image/jpeg;base64,') == 1
    status, _, errors = run("duplicates", indexed, "--html", tmp_path / "none" / "page.html")
    assert (status, errors.count("\n"), "cannot be written (there is no folder" in errors) == (1, 1, True)


def test_the_page_is_shown_in_the_browser(
    run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def remember(address: str) -> bool:
        shown.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", remember)
    run("search", indexed, "01.jpg", "--html", tmp_path / "a b.html", "--open")
    assert shown == [(tmp_path / "a b.html").as_uri()]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("search", indexed, "01.jpg", "--open")
    assert Path(shown[1].removeprefix("file://")).parent == tmp_path
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "no browser could be opened; open file://" in run("explain", indexed, "01.jpg", "copy.png", "--open")[2]
