from pathlib import Path

import pytest

from lookalike.cli import demo
from lookalike.errors import LookalikeError
from tests.support.pictures import PixelEncoder, picture


def test_the_made_up_town_ends_in_a_table_and_a_page(tmp_path: Path, encoder: PixelEncoder) -> None:
    result = demo.made_up(tmp_path, encoder)
    assert "mAP" in result.text
    assert "24 queries · 96 images" in result.text
    html = result.page.read_text(encoding="utf-8")
    assert html.count("<section") == 24
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_folder_of_photos_is_shown_without_writing_into_it(
    photos: Path, tmp_path: Path, encoder: PixelEncoder
) -> None:
    before = sorted(photos.rglob("*"))
    result = demo.own_photos(photos, tmp_path / "out", encoder)
    assert sorted(photos.rglob("*")) == before
    html = result.page.read_text(encoding="utf-8")
    assert html.count("<section") == 12
    assert html.count("data:image/jpeg") >= 12
    assert "12 photos, 12 of them used as queries" in html
    assert len(result.text.splitlines()) == 13


def test_a_key_is_an_image_of_the_collection_whatever_lies_in_the_working_folder(
    photos: Path, tmp_path: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = demo.own_photos(photos, tmp_path / "out", encoder).text
    (tmp_path / "here").mkdir()
    for file in photos.iterdir():
        (tmp_path / "here" / file.name).write_bytes(b"no image")
    monkeypatch.chdir(tmp_path / "here")
    assert demo.own_photos(photos, tmp_path / "again", encoder).text == text


def test_a_folder_with_one_photo_is_too_little(tmp_path: Path, encoder: PixelEncoder) -> None:
    (tmp_path / "photos").mkdir()
    picture(1).save(tmp_path / "photos" / "only.png")
    with pytest.raises(LookalikeError, match="holds 1 usable image; a demo needs at least two"):
        demo.own_photos(tmp_path / "photos", tmp_path / "out", encoder)


def test_a_name_that_would_control_the_terminal_is_escaped(tmp_path: Path, encoder: PixelEncoder) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "clear\x1b[2J\n.png"):
        picture(1).save(tmp_path / "photos" / name)
    text = demo.own_photos(tmp_path / "photos", tmp_path / "out", encoder).text
    assert "clear\\x1b[2J\\n.png" in text
    assert "\x1b" not in text
