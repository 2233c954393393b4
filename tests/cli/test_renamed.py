"""Options by the names that they had before: each still works, and says on stderr what it is called now."""

import json
from pathlib import Path

import pytest

from lookalike.cli.renamed import RENAMED, current
from tests.cli.running import Run

NEW = {"--filter": "--where", "--not": "--negative", "--not-text": "--negative-text"}


def line(old: str) -> str:
    return f"lookalike: {old} is called {NEW[old]} now; the old name works for one more release\n"


def test_these_options_of_search_have_other_names_now() -> None:
    assert RENAMED == {"search": NEW}


@pytest.mark.parametrize("old", NEW)
def test_an_old_name_becomes_the_new_one_with_its_value_apart_or_behind_an_equals_sign(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = NEW[old]
    assert current(["search", "photos", old, "a = b", "x.jpg"]) == ["search", "photos", new, "a = b", "x.jpg"]
    assert current(["search", f"{old}=a=b", "photos"]) == ["search", f"{new}=a=b", "photos"]
    assert capsys.readouterr() == ("", 2 * line(old))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["search", "photos", "--where", "key:a*", "--negative=x.jpg", "--negative-text", "words"],
        ["search", "photos", "--filters", "--nothing", "not", "filter=x"],
        ["search", "photos", "--", "--filter", "--not=x", "--not-text"],
        ["label", "photos", "--filter", "x"],
    ],
)
def test_everything_else_stays_as_it_is_and_nothing_is_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert current(arguments) == arguments
    assert capsys.readouterr() == ("", "")


def test_only_what_stands_before_the_two_dashes_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", "--filter", "key:*", "photos", "--", "--filter"]
    assert current(arguments) == ["search", "--where", "key:*", "photos", "--", "--filter"]
    assert capsys.readouterr() == ("", line("--filter"))


@pytest.mark.parametrize("written", [["--filter", "key:trip/*"], ["--filter=key:trip/*"]])
def test_a_search_by_the_old_name_of_the_filter_finds_the_same(run: Run, indexed: Path, written: list[str]) -> None:
    search = ("search", indexed, "01.jpg", "--paths")
    today = run(*search, "--where", "key:trip/*")
    assert len(today[1].splitlines()) == 4
    assert run(*search, *written) == (0, today[1], line("--filter"))


def test_a_search_by_the_old_names_of_what_is_unwanted_finds_the_same(run: Run, worded: Path) -> None:
    search = ("search", worded, "red.png", "-k", 16, "--paths")
    plain, picture = run(*search)[1], run(*search, "--negative", "05.jpg")[1]
    words = run(*search, "--negative-text", "blue")[1]
    assert len({plain, picture, words}) == 3
    assert run(*search, "--not", "05.jpg") == (0, picture, line("--not"))
    assert run(*search, "--not-text", "blue") == (0, words, line("--not-text"))


def test_a_name_that_looks_like_an_old_option_is_a_query_behind_the_two_dashes(run: Run, indexed: Path) -> None:
    name = "--filter=01.jpg"
    (indexed / "05.jpg").rename(indexed / name)
    run("index", indexed)
    assert run("search", indexed, "-k", 1, "--paths", "--", name) == (0, f"{indexed / name}\n", "")


def test_the_json_document_is_all_that_stands_on_stdout(run: Run, indexed: Path) -> None:
    search = ("search", indexed, "01.jpg", "--json")
    status, output, errors = run(*search, "--filter", "key:trip/*", "--not", "05.jpg")
    assert (status, errors) == (0, line("--filter") + line("--not"))
    document = json.loads(output)
    today = json.loads(run(*search, "--where", "key:trip/*", "--negative", "05.jpg")[1])
    assert document["results"] == today["results"]
    assert {result["key"].partition("/")[0] for result in document["results"]} == {"trip"}
