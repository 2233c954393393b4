import os
import shutil
import subprocess
import sys
from pathlib import Path

import lookalike
from lookalike.collection.collection import Collection
from tests.support import ROOT

PACKAGE = Path(lookalike.__file__).parent


def test_the_package_has_twelve_rooms_and_nothing_lies_beside_them() -> None:
    rooms = set(
        "utils images encoders index storage search integrations analysis collection evaluation service cli".split()
    )
    files = {"__init__.py", "__main__.py", "types.py", "errors.py", "py.typed"}
    assert {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"} == rooms | files


def test_an_import_that_runs_upwards_or_in_a_circle_is_refused_even_in_a_string(tmp_path: Path) -> None:
    for name in ("lookalike", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "data", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert linted(tmp_path)[0] == 0
    file = tmp_path / "lookalike" / "storage" / "catalog.py"
    lines = (
        "from lookalike.search import rank",
        'ROWS = "lookalike.integrations.milvus.client:connect"',
        "from lookalike.storage import store",
    )
    file.write_text("\n".join([file.read_text("utf-8"), *lines, ""]), "utf-8")
    status, text = linted(tmp_path)
    assert status == 1
    assert "lookalike.storage is not allowed to import lookalike.search" in text
    assert "lookalike.storage is not allowed to import lookalike.integrations" in text
    assert "lookalike.storage.catalog -> lookalike.storage.store" in text


def linted(folder: Path) -> tuple[int, str]:
    """What import-linter says of a copy of the package."""
    program = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    run = subprocess.run(
        [*program, "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def test_importing_the_package_and_asking_for_help_load_no_heavy_library() -> None:
    code = """
import sys, lookalike
from lookalike.cli import _run
assert _run(["--help"], debug=False) == 0 and _run(["search", "--help"], debug=False) == 0
heavy = {"torch", "onnxruntime", "faiss", "cv2", "fastapi", "matplotlib", "transformers", "huggingface_hub", "numpy",
         "prometheus_client"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_search_for_a_stored_image_loads_what_searches_and_nothing_else(photos: Path) -> None:
    with Collection(photos / ".lookalike", "thumbnail", [photos]) as collection:
        collection.index()
    code = """
import sys
from lookalike.cli import _run
assert _run(["search", sys.argv[1], sys.argv[2]], debug=False) == 0
needless = {"faiss", "cv2", "onnxruntime", "huggingface_hub", "rich", "filelock", "ssl", "http.client",
            "lookalike.encoders.thumb", "lookalike.encoders.pipeline", "lookalike.encoders.default",
            "lookalike.encoders.convnet", "lookalike.collection.writer",
            "lookalike.analysis.duplicates", "lookalike.storage.maintenance.verify"}
assert not needless & set(sys.modules), needless & set(sys.modules)
"""
    command = [sys.executable, "-c", code, str(photos), str(photos / "01.jpg")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "01.jpg" in run.stdout


def test_the_process_that_decodes_hostile_bytes_loads_no_archives_and_no_network() -> None:
    code = """
import sys
import lookalike.images.decode
loaded = {"lookalike.images.sources", "tarfile", "ssl", "http.client"} & set(sys.modules)
assert not loaded, loaded
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
