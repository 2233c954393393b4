"""Revisited Oxford and Paris (`gnd_*.pkl` beside the original images) to a benchmark with three setups."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import plain_pickle
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth, abridged, first_folder
from lookalike.evaluation.datasets.oxford import IMAGE_FOLDERS, PARIS_CORRUPT
from lookalike.types import Box
from lookalike.utils.text import counted

SETUPS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Setup to the labels that are its positives and its junk (Radenović et al., CVPR 2018)."""
ORIGINAL = {"all": (("ok",), ("junk",))}
"""The setup of a ground truth of this layout that does not tell easy from hard, as gnd_oxford5k.pkl."""
ROXFORD_IMAGES, RPARIS_IMAGES, QUERIES = 4993, 6322, 70


def roxford5k(root: Path) -> Benchmark:
    """Revisited Oxford: 4,993 images and 70 queries whose photos are not in the gallery."""
    return revisited("roxford5k", root, (ROXFORD_IMAGES, QUERIES))


def rparis6k(root: Path) -> Benchmark:
    """Revisited Paris: 6,322 images and 70 queries whose photos are not in the gallery."""
    return revisited("rparis6k", root, (RPARIS_IMAGES, QUERIES))


def any_revisited(root: Path) -> Benchmark:
    """One's own ground truth in this layout: the only `gnd*.pkl` in `root`, or `root` itself, of any size."""
    files = [root] if root.is_file() else sorted(root.glob("gnd*.pkl"))
    if len(files) != 1:
        listed = f"there are {abridged([file.name for file in files])}" if files else "there is none"
        raise EvaluationError(f"{root}: expected one ground truth gnd*.pkl, {listed}; give --root the file's own path")
    return _read("revisited", files[0])


def revisited(name: str, root: Path, counts: tuple[int, int] | None = None) -> Benchmark:
    """`root/images` and `root/gnd_<name>.pkl`; `counts` are the images and queries of the complete set."""
    file = root / f"gnd_{name}.pkl"
    if not file.is_file():
        first_folder(root, IMAGE_FOLDERS, "the images")
        raise EvaluationError(f"{file}: no such file; put the revisited ground truth there")
    return _read(name, file, counts)


def _read(name: str, file: Path, counts: tuple[int, int] | None = None) -> Benchmark:
    folder = first_folder(file.parent, IMAGE_FOLDERS, "the images")
    value = plain_pickle.load(file)
    try:
        gallery, queried, truths = _texts(value["imlist"]), _texts(value["qimlist"]), list(value["gnd"])
    except (TypeError, KeyError, IndexError) as error:
        raise EvaluationError(f"{file}: expected a dict of imlist, qimlist and gnd ({error})") from error
    if len(queried) != len(truths):
        raise EvaluationError(f"{file}: {len(queried)} query images, but ground truth for {len(truths)}")
    if counts and (len(gallery), len(queried)) != counts:
        here = f"{counted(len(gallery), 'image')} and {counted(len(queried), 'query', 'queries')}"
        raise EvaluationError(
            f"{file}: {here}, {name} has {counts[0]:,} and {counts[1]}; complete it, or measure this part as dataset "
            "revisited"
        )
    names = Names(folder)
    keys = names.require(dict.fromkeys(queried, "qimlist") | dict.fromkeys(gallery, "imlist"))
    searched = [keys[image] for image in gallery]
    hidden = frozenset(names.keys) - set(searched)
    told_apart = any(isinstance(truth, Mapping) and "easy" in truth for truth in truths)
    setups = SETUPS if counts or told_apart else ORIGINAL
    queries = tuple(
        replace(_query(file, image, truth, searched, setups), image=folder / keys[image], hidden=hidden)
        for image, truth in zip(queried, truths, strict=True)
    )
    unreadable = frozenset(key for stem in PARIS_CORRUPT if (key := names.key(stem)))
    if counts and (whole := [query.name for query in queries if query.box is None]):
        raise EvaluationError(f"{file}: no bbx of {abridged(whole)}; {name} has one for every query")
    protocol = "revisited" if setups is SETUPS else "original"
    return Benchmark(name, folder, queries, protocol, unreadable=unreadable)


def _texts(values: Iterable[Any]) -> list[str]:
    """Names as text; Python 2 wrote them as bytes."""
    texts = [value.decode("latin1") if isinstance(value, bytes) else value for value in values]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("names must be text")
    return texts


Setups = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]


def _query(file: Path, image: str, truth: Any, searched: list[str], setups: Setups) -> BenchmarkQuery:
    if not isinstance(truth, Mapping):
        raise EvaluationError(f"{file}: the ground truth of {image} is no dict")
    used = {label for positive, junk in setups.values() for label in (*positive, *junk)}
    labels = {label: _keys(file, image, label, truth.get(label), searched) for label in sorted(used)}
    truths = {
        setup: Truth(_union(labels, positive), _union(labels, junk)) for setup, (positive, junk) in setups.items()
    }
    return BenchmarkQuery(image, Path(image), _box(file, image, truth["bbx"]) if "bbx" in truth else None, truths)


def _union(labels: Mapping[str, frozenset[str]], names: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(labels[name] for name in names))


def _box(file: Path, image: str, corners: Any) -> Box:
    values = corners.ravel().tolist() if isinstance(corners, np.ndarray) else corners
    refusal = EvaluationError(f"{file}: bbx of {image} is not four numbers: left, top, right, bottom")
    if not isinstance(values, list | tuple) or len(values) != 4 or not all(isinstance(v, int | float) for v in values):
        raise refusal
    try:
        return Box(*map(float, values))
    except OverflowError as error:
        raise refusal from error


def _keys(file: Path, image: str, label: str, rows: Any, searched: list[str]) -> frozenset[str]:
    """Indices into imlist to keys; only flat lists are read, however the file nests them."""
    values = rows.ravel().tolist() if isinstance(rows, np.ndarray) else rows
    if not isinstance(values, list | tuple):
        raise EvaluationError(f"{file}: {label} of {image} is no list of indices into imlist")
    for value in values:
        if not isinstance(value, int | np.integer) or not 0 <= value < len(searched):
            raise EvaluationError(
                f"{file}: {label} of {image} holds {_printable(value)}, no index into {counted(len(searched), 'image')}"
            )
    return frozenset(searched[value] for value in values)


def _printable(value: Any) -> str:
    """A number, or the type of what is none; Python refuses to print integers of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return str(value) if isinstance(value, int | float | np.number) else type(value).__name__
