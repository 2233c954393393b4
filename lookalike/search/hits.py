"""A ranking to hits: rows and scores to keys, paths and ranks, each row verified against its checksums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lookalike.errors import CollectionError
from lookalike.search.confidence import is_same
from lookalike.search.evidence import Assessment
from lookalike.search.gallery import NO_PARTS
from lookalike.search.options import SearchOptions
from lookalike.search.regions import BestPart
from lookalike.search.results import Results
from lookalike.search.searched import SearchedGallery
from lookalike.storage.store import Item
from lookalike.types import Hit, Ranking

T = TypeVar("T")
ROUNDS = 8
"""How often a search that meets damaged rows is repeated without them; in a collection with more it is refused."""


class DamagedRows(CollectionError):  # noqa: N818 - says what is wrong
    """Rows of a ranking, and parts of rows, that do not match their checksums."""

    def __init__(self, gallery: SearchedGallery, rows: Sequence[int], parts: Mapping[int, BestPart]) -> None:
        place, row = gallery.stores[0].path, next(iter((*rows, *parts)))
        first, way = f"row {row} ({gallery.item(row).key})", f"run `lookalike verify {place} --repair`"
        super().__init__(f"{place}: {first} and {len(rows) + len(parts) - 1} more are damaged; {way}")
        self.rows, self.parts = rows, parts


def hits(
    ranking: Ranking,
    gallery: SearchedGallery,
    options: SearchOptions,
    assessment: Assessment,
    parts: Mapping[int, BestPart] = NO_PARTS,
) -> Results:
    """The results of a ranking that begins after `options.offset`, without those that `options` cut off.

    `parts` are those that rows count with. Raises DamagedRows where a row, its vector or that of its part does not
    match its checksum.
    """
    results, damaged, damaged_parts = Results(found=assessment.found), list[int](), dict[int, BestPart]()
    items: list[Item] = []
    with gallery.snapshot():
        for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
            confidence = assessment.confidence(row)
            if _is_kept(score, confidence, options):
                item = gallery.intact_item(row)
                if item is None:
                    damaged.append(row)
                    continue
                part = parts.get(row)
                if part and not part.is_intact:
                    damaged_parts[row] = part
                box = ranking.boxes.get(row) or (part.box if part else None)
                rank = options.offset + len(results) + 1
                place, opener = gallery.path_of(item), gallery.opener(item)
                results.append(Hit(rank, item.key, place, float(score), confidence, box, opener=opener))
                items.append(item)
    if damaged or damaged_parts:
        raise DamagedRows(gallery, damaged, damaged_parts)
    if options.sort == "taken":
        results[:] = _by_time(results, items, gallery)
    return results


@dataclass(frozen=True)
class Ranked:
    """A ranking, in the rows of `gallery`, its confidence, and the parts that images count with."""

    ranking: Ranking
    gallery: SearchedGallery
    assessment: Assessment
    parts: Mapping[int, BestPart]


def intact(rank: Callable[[], Ranked], options: SearchOptions) -> Results:
    """The hits, ranked again without the damaged rows that are met on the way; raises DamagedRows for too many."""
    for remaining in reversed(range(ROUNDS)):
        ranked = rank()
        try:
            return hits(ranked.ranking, ranked.gallery, options, ranked.assessment, ranked.parts)
        except DamagedRows as error:
            if not remaining:
                raise
            ranked.gallery.leave_out(error.rows, error.parts)
    raise AssertionError("the last round returns or raises")


def unless_replaced(search: Callable[[], T], state: Callable[[], object]) -> T:
    """The result of `search()`, which is repeated where what is on disk (`state`) was replaced meanwhile."""
    while True:
        searched = state()
        try:
            answer = search()
        except CollectionError:
            if state() == searched:
                raise
            continue
        # Row numbers are valid for a single store: in another, they mean other images.
        if state() == searched:
            return answer


def _is_kept(score: float, confidence: float | None, options: SearchOptions) -> bool:
    is_near = options.min_score is None or score >= options.min_score
    return is_near and (not options.found or is_same(confidence))


def _by_time(results: Sequence[Hit], items: Sequence[Item], gallery: SearchedGallery) -> list[Hit]:
    """The oldest first, those of no known time last."""
    known = gallery.facts(items)
    times = [known[item.sha256].taken if item.sha256 in known else None for item in items]
    order = sorted(range(len(results)), key=lambda number: (times[number] is None, times[number] or ""))
    return [results[number] for number in order]
