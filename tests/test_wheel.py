"""The wheel as a stranger gets it: installed from a package index into a fresh environment, far from the repository."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.cli.test_offline import REFUSING
from tests.support import ROOT
from tests.support.pictures import picture
from tests.test_repository import PROJECT

VERSION = PROJECT["project"]["version"]
UNREACHABLE = re.compile(r"NewConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded|name resolution")
"""What pip says where it reaches no package index; any other failure is the wheel's."""


def pip(*words: object) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        *map(str, words),
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("lookalike-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing but the wheel and what it depends on."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    interpreter = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    # Compiling all that is never imported takes longer than installing it.
    pip("--python", interpreter, "install", "--no-compile", "-c", ROOT / "constraints.txt", wheel)
    return interpreter


def run(python: Path, place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A program in a process without the repository, with caches of its own, that connects to nothing."""
    hidden = ("PYTHONPATH", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_ENDPOINT", "LOOKALIKE_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    fresh = {"HOME": str(place / "home"), "HF_HOME": str(place / "hf"), "XDG_CACHE_HOME": str(place / "cache")}
    return subprocess.run(
        [python, "-c", *map(str, words)], capture_output=True, text=True, check=False, cwd=place, env={**kept, **fresh}
    )


def test_the_wheel_has_all_files_of_the_package_and_no_others(wheel: Path) -> None:
    kept = {path for path in (ROOT / "lookalike").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(ROOT).as_posix() for path in kept}


def test_no_link_of_its_description_depends_on_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        _, _, description = packed.read(name).decode().partition("\n\n")
    assert "# lookalike" in description
    targets = re.findall(r"\]\(([^)\s]+)\)", description)
    assert len(targets) >= 8
    assert [target for target in targets if not target.startswith("https://")] == []


def test_what_was_installed_indexes_and_searches_where_no_hub_is_in_reach(python: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for number in range(5):
        picture(number, (400, 300)).save(album / f"{number}.jpg")
    picture(3, (400, 300)).save(album / "3 again.jpg", quality=60)
    done = run(python, tmp_path, REFUSING, "index", album)
    assert (done.returncode, "6 images (6 added)" in done.stdout) == (0, True), done.stderr
    assert done.stderr.startswith("lookalike: using efficientnet-lite0: dinov2-base cannot be fetched (")
    done = run(python, tmp_path, REFUSING, "search", album, album / "3.jpg", "-k", 2, "--paths")
    assert (done.stdout.splitlines(), done.stderr) == ([f"{album}/3.jpg", f"{album}/3 again.jpg"], "")
    assert run(python, tmp_path, REFUSING, "duplicates", album, "--level", "near", "--paths").returncode == 0


FACTS = """
import importlib.metadata, importlib.util, lookalike
from lookalike.service.app import create_app
print(lookalike.__file__, importlib.metadata.version("lookalike"), importlib.util.find_spec("torch"))
print(lookalike.load_encoder("rootsift").dim)
"""


def test_it_is_the_wheel_that_runs_and_it_brings_no_torch(python: Path, tmp_path: Path) -> None:
    done = run(python, tmp_path, FACTS)
    assert done.returncode == 0, done.stderr
    where, dim = done.stdout.splitlines()
    assert where.startswith(str(python.parents[1]))
    assert where.endswith(f" {VERSION} None")
    assert dim == "1024"
    program = python.with_name("lookalike")
    helped = subprocess.run([program, "encoders"], capture_output=True, text=True, check=True).stdout
    assert "efficientnet-lite0" in helped
