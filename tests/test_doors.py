"""One way to ask: each option of a search has one name and one default in Python, on the command line and over HTTP."""

import inspect
import re
from dataclasses import fields
from typing import Any, get_args

import pytest
import typer

from lookalike.cli import app
from lookalike.cli.search import search
from lookalike.collection.collection import Collection
from lookalike.search.combine import Combine
from lookalike.search.options import Fuse, SearchOptions
from lookalike.search.query import Query
from lookalike.service.models import Options, SearchBody, form_fields
from lookalike.service.routes import aliases
from tests.support import ROOT

OPTIONS: dict[str, Any] = {
    field.name: field.default for cls in (SearchOptions, Query) for field in fields(cls) if field.name != "examples"
}
"""What can be said of a search, beside what it looks for."""
SINGULAR = {"negatives": "negative", "weights": "weight"}
"""Options that are repeated on the command line, one value each."""


def keywords() -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(Collection.search).parameters.items()}


def parameters(command: str) -> list[Any]:
    group: Any = typer.main.get_command(app)
    return list(group.commands[command].params)


def command_line() -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in parameters("search")}


def json_body() -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in SearchBody.model_fields.items()}


def plain(default: Any) -> Any:
    """A default as it is; an empty tuple, list or set says the same as None."""
    return default if isinstance(default, bool | int | float | str) else tuple(default or ()) or None


def test_these_are_the_options() -> None:
    names = "k offset min_score exclude_self where exclude rerank recall fuse found verify sort regions "
    names += "text negatives negative_text box weights combine invariant"
    assert sorted(OPTIONS) == sorted(names.split())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_one_name_and_one_default_at_all_doors(name: str) -> None:
    default = plain(OPTIONS[name])
    assert plain(keywords()[name]) == default
    assert plain(command_line()[SINGULAR.get(name, name)]) == default
    assert plain(json_body()[name]) == default


def test_no_door_has_an_option_of_its_own_that_changes_what_is_found() -> None:
    assert set(keywords()) == {"self", "query", *OPTIONS}
    # `filter` is the old name of a part of `where`.
    assert set(json_body()) == {"query", "filter", *OPTIONS}
    here = {"path", "also", "query", "encoder", "device", "exact", "as_json", "paths", "null", "help"}
    here |= {"drawn", "html", "is_shown", "index"}
    assert {*command_line(), "help"} == here | {SINGULAR.get(name, name) for name in OPTIONS}


def test_a_form_says_every_option_by_the_same_name() -> None:
    # Unwanted pictures are files of their own, and `prefix` stands for `filter`.
    assert set(form_fields()) == {*OPTIONS, "prefix"} - {"negatives"}
    for name, field in form_fields().items():
        assert plain(field.get("default")) == plain(OPTIONS.get(name)), name


def test_the_route_of_the_report_finds_as_many_as_all_others() -> None:
    assert inspect.signature(aliases.search).parameters["k"].default == OPTIONS["k"]


@pytest.mark.parametrize(("name", "values"), [("combine", get_args(Combine)), ("fuse", get_args(Fuse))])
def test_a_choice_is_between_the_same_words_at_all_doors(name: str, values: tuple[str, ...]) -> None:
    choice, _ = get_args(inspect.signature(search).parameters[name].annotation)
    assert get_args(choice) == values
    assert Options.model_json_schema()["properties"][name]["enum"] == list(values)
    assert form_fields()[name]["enum"] == list(values)


HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_page_about_the_service_tells_of_every_option(name: str) -> None:
    assert f"`{name}`" in HTTP


def test_the_page_about_the_service_tells_how_it_is_started() -> None:
    usage = HTTP.partition("lookalike serve ")[2].partition("\n\n")[0]
    options = {name for parameter in parameters("serve") for name in parameter.opts if name.startswith("--")}
    assert set(re.findall(r"--[a-z-]+", usage)) == options - {"--help"}
