"""A benchmark: a gallery of images, queries, and the ground truth of each query in keys of the gallery."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from lookalike.errors import EvaluationError
from lookalike.images.sources import open_source
from lookalike.types import Box
from lookalike.utils.text import counted


@dataclass(frozen=True)
class Truth:
    """Ground truth of a query in keys of the gallery; junk is neither right nor wrong."""

    positives: frozenset[str]
    junk: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BenchmarkQuery:
    """A query: `image`, cut to `box` if not None; `truths` maps a setup ("all", "easy", …) to its ground truth.

    `hidden` are keys of the gallery that the query does not search, such as its own photo in leave-one-out.
    """

    name: str
    image: Path
    box: Box | None
    truths: Mapping[str, Truth]
    hidden: frozenset[str] = frozenset()

    def key(self, images: Path) -> str | None:
        """The key of its photo in the gallery of the folder `images`; None for a photo outside it."""
        return self.image.relative_to(images).as_posix() if self.image.is_relative_to(images) else None


@dataclass(frozen=True)
class Benchmark:
    """A gallery and its queries; keys are relative POSIX paths in `images`, as in a collection of that folder.

    `unreadable` are images that are broken as published; `notes` are printed with the figures. `leave_one_out`: every
    image of a class is a query for the others.
    """

    name: str
    images: Path
    queries: tuple[BenchmarkQuery, ...]
    protocol: str = "original"
    distractors: tuple[Path, ...] = ()
    unreadable: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    leave_one_out: bool = False


def check(benchmark: Benchmark) -> Benchmark:
    """The benchmark with a note on queries without positives; raises EvaluationError for contradictory ground truth."""
    if not benchmark.queries:
        raise EvaluationError(f"{benchmark.images.parent}: no queries; a ground truth needs at least one")
    missing = [query.name for query in benchmark.queries if not query.image.is_file()]
    if missing:
        first = next(query.image for query in benchmark.queries if query.name == missing[0])
        raise EvaluationError(f"the query image of {abridged(missing)} is missing (looked for {first})")
    empty: dict[str, list[str]] = {}
    for query in benchmark.queries:
        for setup, truth in query.truths.items():
            both = truth.positives & truth.junk
            if both:
                raise EvaluationError(f"{query.name}: both positive and junk ({setup}): {abridged(sorted(both))}")
            if not truth.positives:
                empty.setdefault(setup, []).append(query.name)
    for setup, names in empty.items():
        if len(names) == len(benchmark.queries):
            raise EvaluationError(f"no query has a positive ({setup}), so there is nothing to measure")
    notes = [
        f"without positives{'' if setup == 'all' else f' ({setup})'}, so out of the mean: {abridged(names)}"
        for setup, names in empty.items()
    ]
    return replace(benchmark, notes=tuple(dict.fromkeys([*benchmark.notes, *notes])))


def abridged(names: Iterable[str], count: int = 5) -> str:
    """The first names and the number of the others, for a message of one line."""
    listed = list(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(listed[:count]) + more


@dataclass(frozen=True)
class Names:
    """Ground-truth names, which often have no folder and no extension, to keys of the images in `folder`."""

    folder: Path

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of a collection of this folder, with unreadable images."""
        return tuple(entry.key for entry in open_source(self.folder).entries())

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for key in self.keys:
            path = PurePosixPath(key)
            for name in {key, path.name, path.stem, str(path.with_suffix(""))}:
                table.setdefault(name, []).append(key)
        return table

    def key(self, name: str) -> str | None:
        """The image of that name, None where there is none; raises EvaluationError where there are several."""
        candidates = self._by_name.get(name, [])
        if name in candidates and (self.folder / name).is_file():
            return name
        if len(candidates) > 1:
            raise EvaluationError(f"{name!r} in the ground truth could be {abridged(candidates)} in {self.folder}")
        return candidates[0] if candidates else None

    def require(self, names: Mapping[str, str]) -> dict[str, str]:
        """Every name to its key; `names` maps a name to where it was read. Raises EvaluationError for missing names."""
        keys = {name: key for name in names if (key := self.key(name)) is not None}
        missing = [f"{name} ({where})" for name, where in names.items() if name not in keys]
        if missing:
            count = counted(len(missing), "ground-truth name is", "ground-truth names are")
            gallery = f"{counted(len(self.keys), 'image')} in {self.folder}"
            raise EvaluationError(f"{count} not among the {gallery}: {abridged(missing)}")
        return keys


def first_folder(root: Path, names: tuple[str, ...], holds: str) -> Path:
    """The first of `names` that is a folder under `root`; raises EvaluationError that names its contents."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise EvaluationError(f"{root}: no folder {names[0]}/; put {holds} there")
