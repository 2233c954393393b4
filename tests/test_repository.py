"""What a stranger looks for beside the code: license, changes, how to help, and nothing of anybody's own machine."""

import ast
import hashlib
import os
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = (".ci", "benchmarks", "docs", "lookalike", "scripts", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

TERMS = "59d8f0ba87ad9a2f1a431123c8d16646e5b89ba53653e818f16d136d77263c99"
"""SHA-256 of the terms, from the title to their end, with one space between words."""
LAZY = re.compile(r"lookalike(\.\w+)+:\w+")
INDEX = re.compile(r"https?://[^\s\"'<>)]*(pypi|pythonhosted|/simple(?![\w-]))|--(extra-)?index-url", re.IGNORECASE)
# `me` is the user of examples.
MACHINE = re.compile(r"/(home|Users)/(?!me\b)\w|(?<![\w.*/-])/(root|work|workspace)/\w")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file that belongs to the repository."""
    above = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git" and ".coverage" not in path.name]
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted([*above, *below]):
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def lazy_tables() -> set[str]:
    """Names of the package's tables that map a word to `module:attribute`."""
    tables = set()
    for path in (ROOT / "lookalike").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Dict) and any(is_lazy(entry) for entry in value.values):
                target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
                tables |= {target.id} if isinstance(target, ast.Name) else set()
    return tables


def is_lazy(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(LAZY.fullmatch(node.value))


def test_the_license_is_the_whole_text() -> None:
    text = read("LICENSE")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    lines = [line.strip() for line in text.splitlines()]
    assert lines[1:3] == ["Apache License", "Version 2.0, January 2004"]
    numbers = [int(match[1]) for line in lines if (match := re.match(r"(\d)\. [A-Z]", line))]
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert "END OF TERMS AND CONDITIONS" in lines
    assert "APPENDIX: How to apply the Apache License to your work." in lines
    assert len(lines) == 202


def test_no_word_of_the_license_was_changed() -> None:
    terms = " ".join(read("LICENSE").partition("APPENDIX")[0].split())
    assert hashlib.sha256(terms.encode()).hexdigest() == TERMS


def test_what_runs_before_a_commit_is_the_check() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["language"], hook["entry"]) == ("local", "system", "scripts/check")
    assert (hook["pass_filenames"], hook["always_run"]) == (False, True)
    assert os.access(ROOT / "scripts" / "check", os.X_OK)


def test_the_changelog_begins_with_what_is_to_come_and_names_this_version() -> None:
    heads = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", read("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] == ("Unreleased", "")
    dates = dict(heads[1:])
    assert PROJECT["project"]["version"] in dates
    assert all(dates.values()), "a version has its date"


def test_sections_of_the_changelog_have_the_usual_names_and_something_in_them() -> None:
    sections = re.split(r"^###? ", read("CHANGELOG.md"), flags=re.MULTILINE)
    for name, _, body in (section.partition("\n") for section in sections[1:]):
        assert name.startswith("[") or name in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"), name
        assert body.strip() or name == "[Unreleased]", f"nothing under {name}"


def test_who_contributes_is_told_of_every_table() -> None:
    tables = lazy_tables()
    assert {"ENCODERS", "ENGINES", "RERANKERS", "DATASETS"} <= tables
    text = read("CONTRIBUTING.md")
    missing = [name for name in sorted(tables | {"METRICS", "DENOMINATORS"}) if f"`{name}`" not in text]
    assert not missing, f"CONTRIBUTING.md says nothing of {', '.join(missing)}"


def test_where_a_new_part_goes_is_there() -> None:
    table = read("CONTRIBUTING.md").partition("| new |")[2].partition("\n\n")[0]
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.py)?|types\.py)`", table)
    assert {"types.py", "encoders/", "encoders/__init__.py"} <= set(paths)
    assert not [path for path in paths if not (ROOT / "lookalike" / path).exists()]


def test_who_finds_a_hole_is_told_how_to_report_it_and_what_is_supported() -> None:
    text = read("SECURITY.md")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == ["Reporting", "Supported versions", "What is defended", "What is not defended"]
    minor = PROJECT["project"]["version"].rpartition(".")[0]
    assert f"{minor}.x" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_page_of_figures_begins_as_a_new_one_would() -> None:
    head = runpy.run_path(str(ROOT / "benchmarks" / "record.py"))["HEAD"]
    assert read("docs/performance.md").startswith(f"{head}\n## ")


def test_what_a_source_distribution_takes_along_is_there() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"LICENSE", "README.md", "CHANGELOG.md"} <= set(included)
    assert not [name for name in included if not (ROOT / name).exists()]


def test_no_text_names_a_package_index_or_somebodys_machine() -> None:
    seen = dict(texts())
    assert {"README.md", "Dockerfile", "scripts/test", "lookalike/__init__.py", "tests/test_repository.py"} <= set(seen)
    named = [
        f"{name}: {match[0]}" for name, text in seen.items() if (match := INDEX.search(text) or MACHINE.search(text))
    ]
    assert not named


# With a gap, since this file is read as well.
@pytest.mark.parametrize(
    "text", ["https:/ /pypi.org/x", "http:/ /cache/simple", "/ho me/anna/x", "/ro ot/x", "(/wo rk/x)"]
)
def test_such_names_would_be_noticed(text: str) -> None:
    whole = text.replace(" ", "")
    assert INDEX.search(whole) or MACHINE.search(whole)


@pytest.mark.parametrize(
    "text", ["milvus:///home/me/try.db", "https://example.org/simple-photo", "docs/work/x", "2/root/x"]
)
def test_other_addresses_and_paths_are_none_of_them(text: str) -> None:
    assert not INDEX.search(text)
    assert not MACHINE.search(text)
