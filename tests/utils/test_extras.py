import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from lookalike.utils.extras import install_hint
from tests.support import ROOT

SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "lookalike").rglob("*.py")}


def test_a_hint_has_the_quotation_marks_that_zsh_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert install_hint("heic") == 'pip install "lookalike[heic]"'


def test_in_an_environment_of_uv_without_pip_uv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "my tools"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert install_hint("jxl") == f"uv pip install --python '{tmp_path}/my tools' \"lookalike[jxl]\""


def test_in_an_environment_of_pipx_its_own_pip_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lookalike").mkdir()
    (tmp_path / "lookalike" / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "lookalike"))
    assert install_hint("raw") == 'pipx runpip lookalike install "lookalike[raw]"'


def test_every_hint_is_made_in_one_place_and_names_an_extra_that_there_is() -> None:
    written = {path.name for path, text in SOURCES.items() if re.search(r"pip install .?lookalike\[", text)}
    assert written == {"extras.py"}
    named = {extra for text in SOURCES.values() for extra in re.findall(r"install_hint\([\"'](\w+)[\"']\)", text)}
    assert {"heic", "jxl", "milvus", "parquet", "postgres", "raw", "ray", "text", "torch", "watch"} <= named
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert named <= set(project["optional-dependencies"])
