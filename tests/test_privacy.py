"""Nothing leaves the machine: no command opens a socket of the internet but those that are told to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.assistant import assistant
from tests.support.pictures import picture
from tests.support.sockets import WATCHING

COMMANDS = [
    ["index", "{album}", "--encoder", "efficientnet-lite0"],
    ["index", "{album}"],
    ["search", "{album}", "{album}/3.jpg", "--rerank", "spatial,top=4", "--verify"],
    ["explain", "{album}", "{album}/3.jpg", "3 again.jpg"],
    ["duplicates", "{album}", "--level", "similar"],
    ["map", "{album}", "--out", "{out}/map.html"],
    ["facts", "{album}", "3.jpg"],
    ["info", "{album}"],
    ["verify", "{album}"],
    ["export", "{album}", "{out}/vectors"],
    ["adapt", "{album}", "--folders", "--dry-run"],
]
"""In this order; the last is refused for want of labels, which is an answer too."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "album").mkdir()
    (tmp_path / "watching").mkdir()
    (tmp_path / "watching" / "sitecustomize.py").write_text(WATCHING)
    for number in range(6):
        picture(number, (400, 300)).save(tmp_path / "album" / f"{number}.jpg")
    picture(3, (400, 300)).save(tmp_path / "album" / "3 again.jpg", quality=60)
    return tmp_path


def run(place: Path, words: list[str], *before: str) -> subprocess.CompletedProcess[str]:
    hidden = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_ENDPOINT", "LOOKALIKE_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    home = {"HOME": str(place / "home"), "HF_HOME": str(place / "hf"), "XDG_CACHE_HOME": str(place / "cache")}
    watched = {"PYTHONPATH": f"{place / 'watching'}{os.pathsep}{ROOT}", "SOCKETS": str(place / "sockets")}
    filled = [word.format(album=place / "album", out=place) for word in words]
    return subprocess.run(
        [*before, sys.executable, "-m", "lookalike", *filled],
        capture_output=True, text=True, check=False, env={**kept, **home, **watched},
    )  # fmt: skip


def sockets(place: Path) -> list[str]:
    file = place / "sockets"
    return file.read_text().splitlines() if file.exists() else []


def test_no_command_opens_a_socket(place: Path) -> None:
    for words in COMMANDS:
        done = run(place, words)
        assert done.returncode == 0 or words[0] == "adapt", done.stderr
        assert sockets(place) == [], words


def ask_everything(place: Path, *before: str) -> None:
    """Every tool of `lookalike mcp`, by the client of its protocol."""
    with assistant(place, place / "album", watching=place / "watching", before=before) as helper:
        assert helper.keys("search", query={"path": "3.jpg"}, rerank=["spatial,top=4"], verify=True)[0] == "3.jpg"
        assert helper.keys("similar", image={"key": "3.jpg"}, k=1) == ["3 again.jpg"]
        assert helper.answer("explain", query={"key": "3.jpg"}, item={"key": "3 again.jpg"})["inliers"] > 0
        assert helper.answer("duplicates", level="similar")["total_groups"] == 1
        assert helper.answer("facts", image={"key": "3.jpg"})["facts"]["format"] == "JPEG"
        assert helper.answer("collections")["collections"][0]["images"] == 7
    assert helper.errors.read_text() == ""


def test_an_assistant_opens_no_socket(place: Path) -> None:
    assert run(place, COMMANDS[0]).returncode == 0
    ask_everything(place)
    assert sockets(place) == []


def test_the_hook_sees_what_is_told_to_reach_out(place: Path) -> None:
    """Else the test above would pass whatever happened."""
    run(place, COMMANDS[0])
    done = run(place, ["search", "{album}", "http://127.0.0.1:9/x.jpg"])
    assert done.returncode == 1
    assert sockets(place)


def test_it_all_works_where_there_is_no_interface(place: Path) -> None:
    alone = str(ROOT / "scripts" / "alone")
    if subprocess.run([alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    for words in COMMANDS[:-1]:
        done = run(place, words, alone)
        assert done.returncode == 0, done.stderr
    ask_everything(place, alone)
