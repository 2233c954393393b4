"""What a report was made with and of: enough to make it again, and to see what has changed since."""

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.encoders import efficientnet, rootsift, split_name
from lookalike.encoders import weights as published
from lookalike.errors import EncoderError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery
from lookalike.search.gallery import StoredGallery
from lookalike.utils.cores import cores
from lookalike.utils.files import known_sha256, sha256_of

PACKAGES = ("lookalike", "numpy", "pillow", "faiss-cpu", "onnxruntime", "opencv-python-headless", "torch")
"""Those whose version may change a figure, as far as they are installed."""
SEEDS = {"bootstrap": 0, "spatial": 0}
"""Of `compare` and `grid`, and of RANSAC in OpenCV; nothing else that an evaluation does is random."""
PROGRAMS = ("lookalike", "lookalike.exe")
MODULES = ("/lookalike/__main__.py", "/lookalike/cli/__main__.py")
"""Of `python -m`; any other package has a `__main__.py` too."""


def installed_versions() -> dict[str, str]:
    """Python's version, and those of `PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def this_machine() -> dict[str, Any]:
    """System and processor, without the machine's name."""
    return {"system": platform.system(), "release": platform.release(), "processor": _processor(), "cores": cores()}


def _processor() -> str:
    """The processor's model where Linux says it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def command_line() -> str | None:
    """This process' command line, if it is ours: other programs may have secrets in theirs."""
    program = Path(sys.argv[0])
    if program.name not in PROGRAMS and not program.as_posix().endswith(MODULES):
        return None
    return shlex.join(["lookalike", *(_without_secret(argument) for argument in sys.argv[1:])])


def _without_secret(argument: str) -> str:
    """An argument without the credentials of a URI."""
    scheme, slashes, rest = argument.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if slashes else argument


@dataclass(frozen=True)
class EvaluationOptions:
    """The arguments of `evaluate` as JSON has them; None for an object of Python's that has no name to be made by."""

    dataset: str | None = None
    root: str | None = None
    encoder: str | None = None
    protocol: str | None = None
    k: tuple[int, ...] | None = None
    uncropped: bool = False
    distractors: tuple[str, ...] = ()
    rerank: tuple[str | None, ...] = ()
    engine: str | None = None
    calibration: bool = False
    qrels: str | None = None
    junk: str | None = None


@dataclass(frozen=True)
class Provenance:
    """`weights` and `data` are SHA-256 by name; `command` is None where it was not the command line that asked."""

    options: EvaluationOptions
    weights: Mapping[str, str]
    data: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    seeds: Mapping[str, int] = field(default_factory=lambda: dict(SEEDS))
    machine: Mapping[str, Any] = field(default_factory=this_machine)
    command: str | None = field(default_factory=command_line)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return asdict(self)


def weights(encoder: str) -> dict[str, str]:
    """The SHA-256 of each file of weights that an encoder of this name reads; none where it has none."""
    try:
        name, _ = split_name(encoder)
        return {file.name: known_sha256(file) for file in _files(name) if file.is_file()}
    except (EncoderError, OSError):
        return {}


def _files(name: str) -> Sequence[Path]:
    if name == "efficientnet-lite0":
        file = efficientnet.weights_file()
        return [file] if file else []
    if name == "rootsift":
        return [rootsift.VOCABULARY]
    if not Path(name).exists() and not published.is_fetched(name) and name.count("/") != 1:
        return []
    place = Path(name) if Path(name).exists() else published.find(name)
    if place is None or place.is_file():
        return [place] if place else []
    return [place / file for file in published.HUB[name].files] if name in published.HUB else sorted(place.iterdir())


def gallery_digest(gallery: StoredGallery) -> str:
    """A SHA-256 over the images' keys and contents, in any order: over the sorted digests of key and content."""
    digests = bytearray()
    for item in gallery.live_items():
        digests += hashlib.sha256(f"{item.key}\0{item.sha256}".encode("utf-8", "surrogateescape")).digest()
    # As texts of 32 bytes, which numpy sorts as bytes: a list of them would take three times the memory.
    return hashlib.sha256(np.sort(np.frombuffer(bytes(digests), "S32")).tobytes()).hexdigest()


def truth_digest(benchmark: Benchmark) -> str:
    """A SHA-256 over the queries with their pictures, boxes and ground truth."""
    total = hashlib.sha256()
    for query in benchmark.queries:
        total.update(json.dumps(_described(query, benchmark)).encode())
    return total.hexdigest()


def _described(query: BenchmarkQuery, benchmark: Benchmark) -> list[Any]:
    key = query.key(benchmark.images)
    # A picture of the gallery is in its digest.
    picture = key if key is not None else sha256_of(query.image)
    truths = [[setup, sorted(truth.positives), sorted(truth.junk)] for setup, truth in sorted(query.truths.items())]
    return [query.name, picture, str(query.box), sorted(query.hidden), truths]
