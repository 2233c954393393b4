"""The description of a built package: README.md without links that only its folder has."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support import ROOT


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """scripts/hatch_readme.py, without the build tool, which only builds install."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", interface)
    spec = importlib.util.spec_from_file_location("hatch_readme", ROOT / "scripts" / "hatch_readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TEXT = "See [the page](docs/a.md#b), [us](https://example.org/), [below](#x) and ![a picture](docs/p.jpg)."


def test_with_an_address_links_and_pictures_lead_to_the_repository(hook: Any) -> None:
    assert hook.standing_alone(TEXT, "https://example.org/we/") == (
        "See [the page](https://example.org/we/blob/main/docs/a.md#b), [us](https://example.org/), [below](#x) and "
        "![a picture](https://example.org/we/raw/main/docs/p.jpg)."
    )


def test_without_an_address_links_become_what_they_say(hook: Any) -> None:
    assert hook.standing_alone(TEXT, "") == "See the page, [us](https://example.org/), [below](#x) and ."


def test_the_readme_itself_is_what_is_described(hook: Any) -> None:
    metadata: dict[str, Any] = {"urls": {"Source": "https://example.org/us"}}
    hook.ReadmeHook.update(SimpleNamespace(root=str(ROOT)), metadata)
    text = metadata["readme"]["text"]
    assert text.startswith("# lookalike\n")
    assert "](docs/" not in text
    assert "](https://example.org/us/blob/main/docs/first-minute.md)" in text
