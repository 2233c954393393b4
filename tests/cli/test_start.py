"""The first minute: help, completion, what a misspelt word means, and a folder that was never indexed."""

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from lookalike.cli import app, completion
from lookalike.cli.log_lines import logged
from lookalike.encoders import weights
from lookalike.errors import LookalikeError
from lookalike.utils.verbosity import LEVEL
from tests.cli.running import Run, status_of
from tests.cli.terminals import typed
from tests.support import ROOT
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
        (
            ["explain", "{photos}/01.jpg", "{photos}", "a"],
            "did you mean `lookalike explain {photos} {photos}/01.jpg a`?",
        ),
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


@pytest.mark.parametrize(
    ("key", "status", "is_indexed"),
    [(b"n\n", 1, False), (b"\n", 0, True), (b"\x03", 130, False)],
)
def test_on_a_terminal_it_asks(tmp_path: Path, key: bytes, status: int, is_indexed: bool) -> None:
    for number in range(2):
        picture(number).save(tmp_path / f"{number}.png")
    words = ["search", tmp_path, tmp_path / "1.png", "--encoder", "thumbnail", "--no-preview"]
    ended, output, _ = typed(words, keys=key)
    assert f"{tmp_path} has not been indexed. Index it now? [Y/n]: ".encode() in output
    assert (ended, (tmp_path / ".lookalike").exists()) == (status, is_indexed)
    assert (b"   1   1.0000  " in output) == is_indexed
    assert b"Traceback" not in output
    assert output.endswith(b"\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch.jpg"], "nosuch.jpg: no such file, and none of that name in {photos}"),
        (["01.jpg", "--negative", "nosuch.jpg"], "nosuch.jpg: no such file"),
        (["01.jpg", "--where", "taken >> 3"], "filter 'taken >> 3': a value is wanted"),
        (["01.jpg", "--box", "9000,9000,9100,9100"], "box 9000,9000,9100,9100 has no area inside the image of"),
        (["notes.txt"], "notes.txt: "),
    ],
)
def test_a_mistake_is_told_before_a_folder_is_indexed_for_it(
    run: Run, photos: Path, words: list[str], said: str
) -> None:
    (photos / "notes.txt").write_text("no picture", encoding="utf-8")
    status, output, errors = run("search", photos, *words, "--encoder", "pixels", "--index")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert said.format(photos=photos) in errors
    assert not (photos / ".lookalike").exists()


def test_what_will_be_a_key_may_be_the_query_of_a_folder_that_is_indexed_first(run: Run, photos: Path) -> None:
    words = ("search", photos, "01.jpg", "--encoder", "pixels", "--where", "key:0*", "-k", 1, "--paths", "--index")
    assert run(*words)[:2] == (0, f"{photos}/01.jpg\n")


def test_a_command_in_a_message_is_quoted_for_the_shell(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "my photos; it's\x1b[1m"
    folder.mkdir()
    picture(1).save(folder / "1.png")
    shown = str(folder).replace("\x1b", "\\x1b")
    way = "run `lookalike index " + shlex.quote(str(folder)).replace("\x1b", "\\x1b") + "`"
    for words in (
        ["search", folder, "1.png"],
        ["info", folder],
        ["serve", folder],
        ["mcp", folder],
        ["verify", folder],
    ):
        status, _, errors = run(*words)
        assert (status, errors.startswith(f"lookalike: error: {shown} has not been indexed; {way}")) == (1, True), words


def test_verify_and_merge_of_a_folder_that_was_never_indexed_say_so(run: Run, indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    said = f"lookalike: error: {tmp_path}/new has not been indexed; run `lookalike index {tmp_path}/new`\n"
    assert run("verify", tmp_path / "new") == (1, "", said)
    assert run("merge", indexed, tmp_path / "new", "--into", tmp_path / "both") == (1, "", said)
    (indexed / ".lookalike" / "collection.json").unlink()
    assert "collection.json is missing" in run("merge", indexed, indexed, "--into", tmp_path / "both")[2]
    assert "has not been indexed" not in run("verify", indexed, "--repair")[2]


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_the_shell_closed_is_no_error(
    photos: Path, indexed: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (photos.parent / "new").mkdir()
    with monkeypatch.context() as closed:
        closed.setattr(sys, name, None)
        statuses = [status_of("search", indexed, "01.jpg", "--paths"), status_of("search", photos.parent / "new", "x")]
        statuses.append(status_of("search", indexed, "01.jpg"))
        getattr(sys, name).close()
    output, errors = capfd.readouterr()
    assert statuses == [0, 1, 0]
    assert ("01.jpg" in output, "has not been indexed" in errors) == (name != "stdout", name != "stderr")
    assert "has not been indexed" not in output


@pytest.mark.parametrize(
    ("place", "words", "said"),
    [
        ("typer.main.get_command", ["info", "{indexed}"], ["interrupted"]),
        ("lookalike.cli.search._ask", ["search", "{indexed}", "01.jpg"], ["interrupted"]),
        (
            "lookalike.cli.collections._index",
            ["index", "{indexed}"],
            ["interrupted; what was committed stays, and the same command goes on from there"],
        ),
        (
            "lookalike.collection.collection.Collection.index",
            ["search", "{new}", "1.png", "--index", "--encoder", "pixels"],
            ["what was committed stays; `lookalike index {new}` goes on from there", "interrupted"],
        ),
    ],
)
def test_ctrl_c_says_what_stays_only_where_something_was_written(
    run: Run,
    indexed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    words: list[str],
    said: list[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    names = {"indexed": indexed, "new": tmp_path / "new"}
    names["new"].mkdir()
    picture(1).save(names["new"] / "1.png")
    monkeypatch.setattr(place, interrupted)
    status, _, errors = run(*(word.format(**names) for word in words))
    assert (status, errors.strip().splitlines()) == (130, [f"lookalike: {line.format(**names)}" for line in said])


INTERRUPTING = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
runpy.run_module("lookalike", run_name="__main__")
"""
"""The command line in a process that gets Ctrl-C's signal when it loads a module."""


@pytest.mark.parametrize(("module", "said"), [("typer", ""), ("lookalike.collection", "lookalike: interrupted\n")])
def test_ctrl_c_while_modules_are_loaded_ends_as_it_does_later(tmp_path: Path, module: str, said: str) -> None:
    environment = {**os.environ, "INTERRUPTED_AT": module, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", INTERRUPTING, "info", str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", said.strip())


def test_what_the_library_warns_of_is_a_line_like_all_others_and_none_where_quiet_was_said(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,place\n01.jpg,here\nx.jpg,there\ny.jpg,there\n")
    line = f"lookalike: {table}: only 1 of 3 lines name an image here; there is no 'x.jpg'\n"
    assert run("index", photos, "--encoder", "pixels", "--meta", table)[2].startswith(line)
    assert run("index", photos, "--meta", table, "-q")[2] == ""


def test_a_logged_error_is_said_where_quiet_was_said_with_its_traceback_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    token = LEVEL.set(-1)
    with logged():
        try:
            raise ValueError("torn")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("GET /a\nb")
        logging.getLogger("uvicorn.error").warning("a request was malformed")
    LEVEL.reset(token)
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert (first, second, last) == ("lookalike: GET /a\\nb", "Traceback (most recent call last):", "ValueError: torn")
    logging.getLogger("uvicorn.error").warning("nothing is left behind")
    assert "left behind" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate folders --root nosuch", "nosuch: no such folder"),
        ("evaluate folders --root nosuch --device cpu", "nosuch: no such folder"),
        ("evaluate folders --root nosuch --explain", "nosuch: no such folder"),
        ("evaluate vgg --root new", "new"),
        ("evaluate folders --root things --protocol foo", "foo"),
        ("evaluate folders --root things --rerank foo", "'foo' is no re-ranking method"),
        ("evaluate folders --root things --distractors nosuch", "nosuch: no such folder of distractors"),
        ("evaluate folders --root things --protocol report --rerank spatial", "does not go with --rerank"),
        ("evaluate folders --root things --run nosuch/a.run", "nosuch/a.run cannot be written (there is no folder"),
        ("evaluate folders --root things --out photo.png", "photo.png is a file; name a folder"),
        ("grid folders --root things --rerank foo", "'foo' is no re-ranking method"),
        ("grid folders --root things --protocol foo", "foo"),
        ("grid folders --root things --out photo.png", "photo.png is a file; name a folder"),
        ("demo nosuch", "nosuch: no such folder"),
        ("demo new --out photo.png", "photo.png is a file; name a folder"),
        ("import nosuch.npy --into made --encoder dinov2-base", "nosuch.npy"),
        ("index things --meta nosuch.csv", "nosuch.csv: no such file"),
        ("index things --region-spec foo", "'foo': no such spec of regions"),
        ("search things things/a/0.png --index --html nosuch/a.html", "nosuch/a.html cannot be written"),
        ("search things things/a/0.png --index --weight 1 --weight 2", "1 queries need as many weights, not 2"),
        ("embed nosuch --to made", "nosuch: no such folder or file"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_fetched(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    for name in ("a/0", "a/1", "b/2", "b/3"):
        (tmp_path / "things" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / "things" / f"{name}.png")
    (tmp_path / "new").mkdir()
    picture(1).save(tmp_path / "photo.png")
    fetched: list[str] = []

    def pull(name: str) -> None:
        fetched.append(name)
        raise LookalikeError("nothing is fetched here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "is_cached", lambda _: False)
    monkeypatch.setattr(weights, "pull", pull)
    status, _, errors = run(*words.split())
    assert (status, fetched, said in errors) == (1, [], True)
    assert not (tmp_path / "things" / ".lookalike").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", ".", "x", "-k", "x"], "Invalid value for '-k': 'x' cannot be used; give a whole number"),
        (["search", ".", "x", "--min-score", "high"], "'high' cannot be used; give a number"),
        (["whiten", ".", "--power", "7"], "Invalid value for '--power': '7' cannot be used; give 1 or less"),
        (["search", ".", "x", "--fuse", "foo"], "Invalid value for '--fuse': 'foo' is not one of 'rank', 'scores'"),
    ],
)
def test_a_wrong_value_of_an_option_is_told_in_plain_words(run: Run, words: list[str], said: str) -> None:
    status, _, errors = run(*words)
    assert (status, said in errors) == (2, True)
