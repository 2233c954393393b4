"""The first minute: help, completion, what a misspelt word means, and a folder that was never indexed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from lookalike.cli import app, completion
from tests.cli.running import Run
from tests.cli.terminals import typed
from tests.support.pictures import picture


def commands() -> list[str]:
    group: Any = typer.main.get_command(app)
    return list(group.commands)


def test_help_lists_every_command_in_a_panel_with_its_whole_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, output, _ = run("--help")
    panels = [line for line in output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert status == 0
    assert panels == ["Options:", "Start:", "Look at the whole:", "Keep in order:", "Measure:", "Beyond one machine:"]
    assert set(re.findall(r"^  ([a-z]+)  ", output, re.MULTILINE)) == set(commands())
    assert "..." not in output.partition("Options:")[2]
    assert "  index   Make the collection of a folder, or bring it into step with the folder.\n" in output
    assert max(map(len, output.splitlines())) <= 120


def test_quiet_says_nothing_but_errors_and_verbose_says_more(run: Run, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"text")
    assert run("index", photos, "--encoder", "pixels", "-q")[2] == ""
    assert run("search", photos, "01.jpg", "--min-score", 1, "--exclude-self", "--quiet") == (0, "", "")
    status, _, errors = run("-q", "search", photos, "none.jpg")
    assert (status, errors.count("\n"), "no such file" in errors) == (1, 1, True)
    assert "ms in all, among 12 images\n" in run("search", photos, "01.jpg", "-v")[2]
    assert run("search", photos, "01.jpg")[2] == ""


def test_words_behind_two_dashes_are_no_options(run: Run, indexed: Path) -> None:
    status, _, errors = run("search", indexed, "--", "-q")
    assert (status, "-q: no such file, and no such key" in errors) == (1, True)


def test_the_shell_completes_collections_encoders_and_methods(photos: Path, tmp_path: Path) -> None:
    (photos / ".lookalike").mkdir()
    (photos / ".lookalike" / "collection.json").touch()
    (tmp_path / "plain").mkdir()
    assert completion.collections(f"{tmp_path}/p") == [str(photos)]
    assert completion.collections(f"{tmp_path}/pl") == [f"{tmp_path}/plain/"]
    assert completion.collections(f"{tmp_path}/none/x") == []
    assert completion.encoders("dinov3") == ["dinov3-small", "dinov3-base", "dinov3-large"]
    assert completion.rerankers("s") == ["superglobal", "spatial"]
    words = f"lookalike search {tmp_path}/p --rerank al"
    asked = {"_LOOKALIKE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4"}
    command = [sys.executable, "-m", "lookalike"]
    shell = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert shell.stdout.split() == ["alpha-qe"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["index", "{photos}", "--encoder", "dinov2-bsae"],
            "dinov2-bsae: no such encoder, file or folder (did you mean",
        ),
        (["search", "{photos}", "01.jpg", "--rerank", "spatail"], "(did you mean spatial?); there are"),
        (["evaluate", "paris6"], "paris6: no such data set (did you mean paris6k?)"),
        (["encoders", "pull", "siglip2-bse"], "(did you mean siglip2-base?)"),
        (["search", "{photos}/01.jpg", "{photos}"], "did you mean `lookalike search {photos} {photos}/01.jpg`?"),
        (["explain", "{photos}/01.jpg", "{photos}", "a"], "did you mean `lookalike explain {photos} {photos}/01.jpg`?"),
    ],
)
def test_a_misspelt_word_is_told_with_what_it_may_mean(run: Run, photos: Path, words: list[str], said: str) -> None:
    status, output, errors = run(*(word.format(photos=photos) for word in words))
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert said.format(photos=photos) in errors


def test_a_misspelt_command_is_told_too(run: Run) -> None:
    status, _, errors = run("serch")
    assert (status, "Did you mean 'search'" in errors) == (2, True)


def test_without_a_result_the_best_is_named(run: Run, indexed: Path) -> None:
    best = json.loads(run("search", indexed, "05.jpg", "--exclude-self", "-k", 1, "--json")[1])["results"][0]
    would = f"the best is {best['key']}, {best['score']:.4f}"
    none = run("search", indexed, "05.jpg", "--exclude-self", "--min-score", 0.99)
    assert none == (0, "", f"lookalike: nothing here has a score of 0.99 or more; {would}\n")
    assert run("search", indexed, "05.jpg", "--exclude-self", "--offset", 99)[2].endswith(f"the first 99; {would}\n")
    assert run("search", indexed, "05.jpg", "--where", "key:none/*")[2] == "lookalike: no image fits --where\n"
    assert run("search", indexed, "05.jpg", "--min-score", 0.99, "--exclude-self", "--paths")[1] == ""


def test_one_image_is_one_and_two_are_several(run: Run, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "1.png")
    assert f"{tmp_path}/.lookalike: 1 image (1 added) in " in run("index", tmp_path, "--encoder", "pixels")[1]
    assert run("verify", tmp_path)[1] == f"{tmp_path}/.lookalike: 1 image, all whole\n"
    assert run("search", tmp_path, "1.png", "--exclude-self")[2] == "lookalike: there is no other image here\n"
    assert run("map", tmp_path, "--out", tmp_path / "map.html")[1] == f"{tmp_path}/map.html: 1 image\n"
    picture(2).save(tmp_path / "2.png")
    run("index", tmp_path)
    assert run("verify", tmp_path)[1] == f"{tmp_path}/.lookalike: 2 images, all whole\n"
    assert run("duplicates", tmp_path)[2] == "lookalike: 0 groups, 0 images could go, 0.0 MB\n"


def test_a_folder_that_was_never_indexed_is_indexed_first_where_that_is_wanted(run: Run, photos: Path) -> None:
    search = ("search", photos, photos / "01.jpg", "--encoder", "pixels", "-k", 1, "--paths")
    status, output, errors = run(*search)
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert f"run `lookalike index {photos}`, or search with --index" in errors
    assert not (photos / ".lookalike").exists()
    status, output, errors = run(*search, "--index")
    assert (status, output) == (0, f"{photos}/01.jpg\n")
    assert errors == f"lookalike: {photos}/.lookalike: 12 images indexed, 0 skipped\n"
    assert run(*search, "--index") == (0, f"{photos}/01.jpg\n", "")


@pytest.mark.parametrize(("key", "status", "is_indexed"), [(b"n\n", 1, False), (b"\n", 0, True)])
def test_on_a_terminal_it_asks(tmp_path: Path, key: bytes, status: int, is_indexed: bool) -> None:
    for number in range(2):
        picture(number).save(tmp_path / f"{number}.png")
    words = ["search", tmp_path, tmp_path / "1.png", "--encoder", "thumbnail", "--no-preview"]
    ended, output, _ = typed(words, keys=key)
    assert f"{tmp_path} has not been indexed. Index it now? [Y/n]: ".encode() in output
    assert (ended, (tmp_path / ".lookalike").exists()) == (status, is_indexed)
    assert (b"   1   1.0000  " in output) == is_indexed
