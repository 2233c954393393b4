"""The first minute on a machine that reached a package index and reaches no model hub: no option is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.pictures import picture

REFUSING = """
import sys

def refuse(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and not isinstance(arguments[1], str)):
        raise OSError(101, "Network is unreachable")

sys.addaudithook(refuse)
from lookalike.cli import main
main()
"""
"""The command line in a process in which no name is looked up and nothing is connected to."""


def run(tmp_path: Path, *words: object, **environment: str) -> tuple[int, str, str]:
    hidden = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_ENDPOINT", "LOOKALIKE_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    fresh = {"HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", REFUSING, *map(str, words)],
        capture_output=True, text=True, check=False, env={**kept, **fresh, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(6):
        picture(number, (400, 300)).save(folder / f"{number}.jpg")
    picture(3, (400, 300)).save(folder / "3 again.jpg", quality=60)
    return folder


def test_without_a_network_and_without_options_a_folder_is_indexed_and_searched(tmp_path: Path, album: Path) -> None:
    status, output, errors = run(tmp_path, "index", album)
    assert (status, "7 images (7 added)" in output) == (0, True)
    (line,) = errors.splitlines()
    assert line.startswith("lookalike: using efficientnet-lite0: dinov2-base cannot be fetched (")
    assert line.endswith("; `lookalike index FOLDER --encoder dinov2-base` adds its vectors later")
    status, output, errors = run(tmp_path, "search", album, album / "3.jpg", "-k", 2, "--paths")
    assert (status, output.splitlines(), errors) == (0, [f"{album}/3.jpg", f"{album}/3 again.jpg"], "")
    # It stays the collection's encoder, whatever the default is next time, and nothing is said of it again.
    picture(9, (400, 300)).save(album / "new.jpg")
    status, output, errors = run(tmp_path, "index", album, HF_HUB_OFFLINE="1")
    assert (status, "1 added, 7 unchanged" in output, errors) == (0, True, "")


def test_an_encoder_that_was_named_is_missed_in_one_line(tmp_path: Path, album: Path) -> None:
    status, output, errors = run(tmp_path, "index", album, "--encoder", "dinov2-base")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "the weights of dinov2-base are not on this machine and cannot be fetched (" in errors
    assert "--encoder efficientnet-lite0" in errors
    assert not (album / ".lookalike" / "collection.json").exists()
