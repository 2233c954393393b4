"""A ranking to hits: rows and scores to keys, paths and ranks, each row verified against its checksums."""

from lookalike.search.gallery import StoredGallery
from lookalike.search.options import SearchOptions
from lookalike.types import Hit, Ranking


def hits(ranking: Ranking, gallery: StoredGallery, options: SearchOptions) -> list[Hit]:
    """The results of a ranking that begins after `options.offset`, without those below `options.min_score`.

    Raises CollectionError where a row or its vector does not match its checksum.
    """
    least, results = options.min_score, list[Hit]()
    with gallery.store.catalog.snapshot():
        for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
            if least is None or score >= least:
                item = gallery.intact_item(row)
                rank = options.offset + len(results) + 1
                results.append(Hit(rank, item.key, gallery.origins.path(item), float(score)))
    return results
