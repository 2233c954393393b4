"""A ranking to hits: rows and scores to keys, paths and ranks, each row verified against its checksums."""

from collections.abc import Mapping, Sequence

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


def _is_kept(score: float, confidence: float | None, options: SearchOptions) -> bool:
    is_near = options.min_score is None or score >= options.min_score
    return is_near and (not options.found or is_same(confidence))


def _by_time(results: Sequence[Hit], items: Sequence[Item], gallery: SearchedGallery) -> list[Hit]:
    """The oldest first, those of no known time last."""
    known = gallery.facts(items)
    times = [known[item.sha256].taken if item.sha256 in known else None for item in items]
    order = sorted(range(len(results)), key=lambda number: (times[number] is None, times[number] or ""))
    return [results[number] for number in order]
