"""Pictures and hyperlinks in a terminal, by the bytes that it gets; and nothing of them elsewhere."""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.images.cards import Card
from lookalike.images.terminal import COLUMNS, ROWS, Terminal, blocks, detect, encoded, grid, sixel
from tests.cli.terminals import typed, without_names
from tests.support.pictures import picture

CONTROL = b"in\x1b]0;title\x07it.jpg"
PLAIN = b"\x1b[?62;22c"
SIXEL = b"\x1b[6;20;10t\x1b[?62;4;22c"
KITTY = b"\x1b_Gi=31;OK\x1b\\\x1b[?62;22c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("terminal") / "my photos"
    place.mkdir()
    for number in range(3):
        picture(number).save(place / f"{number}.jpg")
    picture(4).save(place / "plain.jpg")
    os.rename(place / "plain.jpg", os.path.join(os.fsencode(place), CONTROL))  # noqa: PTH104, PTH118
    with Collection(place / ".lookalike", "thumbnail", [place]) as collection:
        collection.index()
    return place


def test_a_terminal_that_knows_kittys_protocol_gets_a_grid_and_links(folder: Path) -> None:
    status, output, errors = typed(["search", folder, folder / "0.jpg"], KITTY)
    assert (status, errors) == (0, b"")
    (sent,) = re.findall(rb"\x1b_Ga=T,f=100,c=63,r=6,q=2,m=(.*?)\r\n", output, re.DOTALL)
    data = b"".join(re.findall(rb";([A-Za-z0-9+/=]+)\x1b\\", b"\x1b_G;" + sent.partition(b";")[0] + b";" + sent[2:]))
    strip = Image.open(io.BytesIO(base64.b64decode(data)))
    assert strip.size == ((4 * COLUMNS + 3) * 8, ROWS * 16)
    assert "1 · 1.0000" in output.decode()
    uri = (folder / "0.jpg").as_uri().encode()
    assert output.count(b"\x1b]8;;" + uri + b"\x1b\\") == 2, "below the picture, and in the list"
    assert "my%20photos" in uri.decode()


def test_control_characters_of_names_reach_no_terminal(folder: Path) -> None:
    _, output, _ = typed(["search", folder, "0.jpg"], KITTY)
    assert b"\x1b]0;" not in output
    assert b"\x07" not in output
    assert b"in\\x1b]0;title\\x07it.jpg" in output
    assert b"in%1B%5D0%3Btitle%07it.jpg" in output


def test_a_terminal_that_knows_sixels_gets_them_at_the_size_of_its_cells(folder: Path) -> None:
    output = typed(["search", folder, "0.jpg", "-k", 2], SIXEL)[1]
    assert re.search(rb'\x1bP0;1;0q"1;1;310;120#0;2;', output)
    assert output.partition(b"\x1bP")[2].count(b"-\x1b\\\r\n") == 1


def test_a_terminal_that_shows_no_pictures_gets_none_unless_they_are_asked_for(folder: Path) -> None:
    output = typed(["search", folder, "0.jpg"], PLAIN)[1].decode()
    assert "   1   1.0000  " in output
    assert not re.search("\x1bP|\x1b_Ga|▀", output)
    drawn = typed(["search", folder, "0.jpg", "--preview"], PLAIN)[1].decode()
    assert 4 * COLUMNS * (ROWS - 1) < drawn.count("▀") + drawn.count("▄") <= 4 * COLUMNS * ROWS


@pytest.mark.parametrize(
    ("options", "environment"), [(["--no-preview"], {}), ([], {"NO_COLOR": "1"}), (["--json"], {}), (["--paths"], {})]
)
def test_there_is_no_preview_and_no_question_where_none_is_wanted(
    folder: Path, options: list[str], environment: dict[str, str]
) -> None:
    output = typed(["search", folder, "0.jpg", *options], KITTY, environment)[1]
    assert b"\x1b_G" not in output
    assert b"0.jpg" in output


def test_what_is_piped_is_plain_text(folder: Path) -> None:
    command = [sys.executable, "-m", "lookalike", "search", str(folder), "0.jpg", "-k", "1"]
    environment = {**without_names(), "TERM": "xterm-kitty"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == f"   1   1.0000  {folder}/0.jpg\n"


def test_serve_says_how_it_is_stopped_and_opens_the_page(folder: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    # It asks for the page, as a browser does, and says so in the terminal.
    loaded = "print(f'shown {urllib.request.urlopen(sys.argv[1]).status} {sys.argv[1]} whole', flush=True)"
    ignore = "signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal sends Ctrl-C to it as well."
    browser.write_text(f"#!{sys.executable}\nimport signal, sys, urllib.request\n{ignore}\n{loaded}\n")
    browser.chmod(0o755)
    words = ["serve", folder, "--port", 0, "--drain-seconds", 0, "--open"]
    status, output, _ = typed(words, environment={"BROWSER": str(browser)}, keys=b"\x03", prompt=b"whole")
    first, second, third, *_ = output.decode().replace("\r", "").split("\n")
    assert (status, second, third) == (0, "lookalike: Ctrl-C stops it", f"shown 200 {first} whole")


def cards(count: int) -> list[Card]:
    return [Card(f"{number}.jpg", lambda _: picture(1), f"{number} · 0.5000") for number in range(count)]


def test_a_narrow_terminal_has_several_rows_and_a_long_name_keeps_its_end() -> None:
    drawn = grid(cards(5), Terminal("iterm", 40))
    assert drawn.count("\x1b]1337;File=inline=1;size=") == 3
    assert [line.split() for line in drawn.splitlines()[1:3]] == [
        ["0", "·", "0.5000", "1", "·", "0.5000"],
        ["0.jpg", "1.jpg"],
    ]
    long = grid([Card("holiday/2019/IMG_20190704_120001.jpg", lambda _: picture(1))], Terminal("blocks"))
    assert long.splitlines()[-1] == "…704_120001.jpg"
    wide = grid([Card("ありがとうございます.jpg", lambda _: picture(1))], Terminal("blocks"))
    assert wide.splitlines()[-1] == "…ございます.jpg"


def test_terminals_are_told_by_their_names_except_inside_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMUX", "TERM_PROGRAM", "LC_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    outer, inner = os.openpty()
    monkeypatch.setattr("lookalike.images.terminal._answer", lambda: b"")
    with os.fdopen(inner, "w") as output:
        found = []
        for term, program in (
            ("xterm-kitty", ""),
            ("xterm", "iTerm.app"),
            ("tmux-256color", "iTerm.app"),
            ("dumb", ""),
        ):
            monkeypatch.setenv("TERM", term)
            monkeypatch.setenv("TERM_PROGRAM", program)
            seen = detect(output)
            found.append(seen and seen.kind)
    os.close(outer)
    assert found == ["kitty", "iterm", None, None]


def test_sixels_paint_the_picture_that_was_encoded() -> None:
    image = Image.new("RGBA", (7, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 3, 8))
    image.putpixel((6, 7), (0, 0, 255, 255))
    painted = unpainted(sixel(image))
    assert painted.shape == (8, 7, 3)
    assert (painted[:, :3] == -1).all()
    assert painted[0, 3].tolist() == [100, 0, 0]
    assert painted[7, 6].tolist() == [0, 0, 100]


def unpainted(text: str) -> np.ndarray:
    """The pixels (height, width, 3), in percent, that a terminal paints; -1 where it leaves the background."""
    head, body = text.removesuffix("\x1b\\").split("#", 1)
    width, height = map(int, head.split(";")[-2:])
    palette: dict[int, tuple[int, ...]] = {}
    pixels = np.full((height, width, 3), -1)
    column = top = colour = 0
    for count, letter, number, defined in re.findall(r"(?:!(\d+))?([?-~$-])|#(\d+)(?:;2;([\d;]+))?", f"#{body}"):
        if defined:
            palette[int(number)] = tuple(map(int, defined.split(";")))
        elif number:
            colour = int(number)
        elif letter in "$-":
            column, top = 0, top + 6 * (letter == "-")
        else:
            end = column + int(count or 1)
            for row in range(6):
                if (ord(letter) - 63) >> row & 1:
                    pixels[top + row, column:end] = palette[colour]
            column = end
    return pixels


def test_half_blocks_have_two_colours_a_cell() -> None:
    image = Image.new("RGB", (2, 2), "red")
    image.paste((0, 0, 255), (0, 1, 2, 2))
    assert blocks(image, 2, 1) == "\x1b[38;2;255;0;0;48;2;0;0;255m▀" * 2 + "\x1b[0m"
    assert encoded(Image.new("RGBA", (2, 2)), "blocks", 1, 1) == "\x1b[0m \x1b[0m"
