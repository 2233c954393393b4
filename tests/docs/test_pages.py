"""What the pages say is run as they say it: commands, programs, and the two pages that are written from the code."""

import contextlib
import functools
import importlib
import inspect
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reference
import typer

import lookalike
from lookalike import encoders
from lookalike.cli import app, evaluation
from lookalike.cli.renamed import current
from lookalike.collection import reader
from lookalike.encoders import default, load_encoder
from lookalike.types import Encoder
from tests.docs import folder, pages
from tests.support import ROOT


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUN = [page for page in pages.PAGES if pages.runnable(page)]
SPOKEN = [page for page in pages.PAGES if next(pages.commands(page), None)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the photos of the pages, indexed once."""
    home = tmp_path_factory.mktemp("home")
    folder.make(home)
    return home


@functools.cache
def load_once(encoder: str) -> Encoder:
    return load_encoder(encoder)


@pytest.fixture
def home(made: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it for one page, which is where its commands are typed."""
    place = shutil.copytree(made, tmp_path / "home")
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # One process for all commands: each network is loaded once.
    for module in (reader, default):
        monkeypatch.setattr(module, "load_encoder", load_once)
    with contextlib.chdir(place):
        yield place


@pytest.mark.parametrize("page", RUN, ids=name)
def test_what_a_page_says_to_type_works_as_written(page: Path, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in pages.runnable(page):
        if block.language == "sh":
            pages.run(block.text)
        else:
            exec(compile(block.text, name(page), "exec"), names)
        printed = capfd.readouterr().out
        if block.output is not None:
            assert pages.same(printed, home) == pages.same(block.output, home), block.text


@functools.cache
def group() -> Any:
    return typer.main.get_command(app)


def parse(words: list[str]) -> None:
    """Raises what typer raises for a wrong command line; nothing is run."""
    first, *rest = evaluation.spread(current(words))
    if first.startswith("-"):
        return
    group().commands[first].make_context(first, rest)


@pytest.mark.parametrize("page", SPOKEN, ids=name)
def test_every_command_of_a_page_is_one_that_there_is(page: Path) -> None:
    for line in pages.commands(page):
        words = shlex.split(line, comments=True)
        ends = [at for at, word in enumerate(words) if word in ("|", ">", ">>", "&&", "&", "2>")]
        with contextlib.suppress(SystemExit):
            parse(words[: ends[0]] if ends else words)


def test_a_page_with_a_command_that_is_none_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("    lookalike search x --no-such-option\n\n```sh\nlookalike search x --box 1\n```\n")
    first, second = pages.commands(page)
    with pytest.raises(Exception, match="No such option"):
        parse(shlex.split(first))
    assert second == "search x --box 1"


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_page_that_is_written_from_the_code_says_what_the_code_says(page: str) -> None:
    assert (reference.FOLDER / page).read_text(encoding="utf-8") == reference.PAGES[page]()


def test_every_environment_variable_that_is_read_is_in_the_table() -> None:
    table = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition("## Exit statuses")[0]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lookalike").rglob("*.py"))
    read = set(re.findall(r"[\"'$](LOOKALIKE_[A-Z_]*[A-Z]|HF_[A-Z_]*[A-Z]|XDG_[A-Z_]*[A-Z])\b", source))
    assert {"LOOKALIKE_CACHE", "LOOKALIKE_TOKEN", "HF_HUB_OFFLINE"} <= read
    assert sorted(name for name in read if f"`{name}`" not in table) == []


def test_every_extra_is_in_the_table() -> None:
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Extras")[2].partition("```")[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(extra for extra in project["optional-dependencies"] if f"`{extra}`" not in table) == []


def test_every_page_is_in_the_contents_of_the_site() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r"^ +- ([\w/-]+\.md)$", contents, re.MULTILINE))
    there = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert listed == there | {"changelog.md", "contributing.md", "security.md"}


@pytest.mark.parametrize("kind", ["DINOV2", "CLIP", "SSCD", "ONNX"])
def test_every_option_of_an_encoder_is_on_the_page_of_encoders(kind: str) -> None:
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8").partition("## Options")[2]
    module, _, attribute = str(getattr(encoders, kind)).partition(":")
    load = getattr(importlib.import_module(module), attribute)
    names = set(inspect.signature(load).parameters) - {"name", "name_or_path"}
    assert names
    short = {"pooling": "pool"}
    assert [name for name in sorted(names) if f"`{short.get(name, name)}=" not in text] == []


def test_every_public_name_is_in_the_python_reference() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    errors = {public for public in lookalike.__all__ if public.endswith("Error")}
    missing = [public for public in lookalike.__all__ if f"::: lookalike.{public}\n" not in text]
    assert sorted(missing) == sorted(errors), "errors are a module of their own"


RATES = {
    "`efficientnet-lite0`": r"\| efficientnet-lite0, indexing \| \d+ \| ([\d.]+) \|",
    "`rootsift`": r"\| rootsift, indexing \| \d+ \| ([\d.]+) \|",
    "`dinov2-base`, ": r"\| ours, int8 \| ([\d.]+) \|",
    "`dinov2-base` ": r"\| ours, fp32 \| ([\d.]+) \|",
}
"""How a row of the table of times begins, and the figure of images a second that it was computed from."""


@pytest.mark.parametrize("page", ["README.md", "docs/first-minute.md"])
@pytest.mark.parametrize("encoder", RATES)
def test_the_time_to_expect_follows_from_the_recorded_figures(encoder: str, page: str) -> None:
    figures = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    rate = re.search(RATES[encoder], figures)
    assert rate
    hours, minutes = divmod(round(20_000 / float(rate[1]) / 60), 60)
    (row,) = re.findall(rf"^\| {re.escape(encoder)}.*$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert f"| {f'{hours} hour ' if hours else ''}{minutes} minutes |" in row
