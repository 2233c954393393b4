"""The notebooks in examples/ run as they are, and hold no outputs of a machine."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def outputs(notebook: Any) -> str:
    """All that the cells of a notebook show, as HTML where they have it."""
    shown = [output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/html") or output.get("data", {}).get("text/plain", "")
        for output in shown
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("first-search", ["9 images, thumbnail", "data:image/jpeg;base64,", "1 · 1.0000", "9 of 9 images"]),
        ("clean-a-dataset", ["group 1: keep", "['church again, the same bytes.jpg', 'church, smaller.jpg']", "look"]),
        ("measure-an-encoder", ["<table>", "mAP", "protocol original · thumbnail"]),
    ],
)
def test_a_notebook_runs_as_it_is(name: str, shown: list[str], own_cache: Path, tmp_path: Path) -> None:
    client = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=environment
    )
    text = outputs(notebook)
    assert [part for part in shown if part not in text] == []
    assert len(text.encode()) < 1_000_000


def test_there_are_three_and_their_outputs_are_stripped() -> None:
    assert len(NOTEBOOKS) == 3
    for file in NOTEBOOKS:
        notebook = json.loads(file.read_text("utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
