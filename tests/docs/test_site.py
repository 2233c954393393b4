"""The hooks of the site: what would be loaded from elsewhere is refused, and links out of docs/ lead somewhere."""

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def hooks() -> Any:
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "scripts" / "docs_hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(uri: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=uri))


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://example.org/a.js">',
        "<img src=//example.org/a.png>",
        '<link rel="icon" href="http://x.org/i">',
    ],
)
def test_a_page_that_would_load_from_elsewhere_is_refused(tag: str, hooks: Any) -> None:
    with pytest.raises(hooks.PluginError, match=r"index\.md loads from elsewhere"):
        hooks.on_post_page(f"<p>{tag}</p>", page("index.md"))


@pytest.mark.parametrize(
    "tag",
    ['<a href="https://example.org/">', '<link rel="canonical" href="http://127.0.0.1:8001/">', '<img src="a.png">'],
)
def test_links_to_follow_and_files_of_the_site_are_none_of_that(tag: str, hooks: Any) -> None:
    assert hooks.on_post_page(tag, page("index.md")) == tag


@pytest.mark.parametrize(
    ("uri", "text", "expected"),
    [
        ("encoders.md", "[S](../SECURITY.md)", "[S](security.md)"),
        ("guides/clean.md", "[C](../../CONTRIBUTING.md#style)", "[C](../contributing.md#style)"),
        ("guides/clean.md", "[D](../duplicates.md)", "[D](../duplicates.md)"),
        ("security.md", "[H](docs/http.md#safety)", "[H](http.md#safety)"),
        ("contributing.md", "[pyproject.toml](pyproject.toml)", "pyproject.toml"),
        ("encoders.md", "[no](nowhere.md) [out](https://example.org/)", "[no](nowhere.md) [out](https://example.org/)"),
    ],
)
def test_links_lead_to_pages_of_the_site_or_become_text(uri: str, text: str, expected: str, hooks: Any) -> None:
    assert hooks.on_page_markdown(text, page(uri)) == expected
