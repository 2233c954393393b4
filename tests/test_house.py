import ast
import subprocess
import sys
from pathlib import Path

import lookalike

PACKAGE = Path(lookalike.__file__).parent
# A module imports only from rows above its own; the longest matching name decides.
ROWS = """
types errors
utils
images
encoders index
storage
search integrations
analysis
collection
evaluation service
cli
__main__
""".strip().splitlines()


def row(module: str) -> int:
    name = module.removeprefix("lookalike").removeprefix(".")
    while name and not any(name in line.split() for line in ROWS):
        name = name.rpartition(".")[0]
    assert name, f"{module} has no row in the house plan"
    return next(number for number, line in enumerate(ROWS) if name in line.split())


def imports(path: Path, module: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lookalike"):
            for name in node.names:
                inner = PACKAGE.joinpath(*node.module.split(".")[1:], name.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                found.append(f"{node.module}.{name.name}" if is_module else node.module)
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.startswith("lookalike")]
    return [name for name in found if name not in (module, "lookalike")]


def test_modules_import_only_from_the_rows_above() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["lookalike", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        if module == "lookalike":
            continue
        for name in imports(path, module):
            same_room = name.split(".")[1] == module.split(".")[1]
            if not same_room and row(name) >= row(module):
                wrong.append(f"{module} (row {row(module)}) imports {name} (row {row(name)})")
    assert not wrong, "\n".join(wrong)


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
