"""The whole job in one command: a gallery, its collection, a table, and a page of queries with their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.collection import collection as collections
from lookalike.errors import LookalikeError
from lookalike.evaluation import evaluate
from lookalike.evaluation.datasets import synthetic as scenes
from lookalike.evaluation.page import PagePicture, Section, page, save_report
from lookalike.search.query import Key
from lookalike.types import Encoder, Hit, Progress
from lookalike.utils.text import counted, printable

QUERIES = 12
RESULTS = 10


@dataclass(frozen=True)
class Demo:
    """What a demo prints (a table, or a list of nearest pairs), and the page that it writes."""

    text: str
    page: Path


def made_up(out: Path, encoder: Encoder, progress: Progress | None = None) -> Demo:
    """Render a small town, measure the encoder on it, and write `out`/report.html; nothing is downloaded."""
    scenes.render(out / "town")
    report = evaluate("vgg", root=out / "town", encoder=encoder, cache=out / "cache", progress=progress)
    save_report(report, out)
    return Demo(report.text(), out / "report.html")


def own_photos(folder: Path, out: Path, encoder: Encoder, progress: Progress | None = None) -> Demo:
    """Index the user's photos into `out` (nothing is written beside them) and ask with some of them."""
    with collections.open(folder, encoder=encoder, collection=out / "collection") as collection:
        collection.index(progress=progress)
        if len(collection) < 2:
            raise LookalikeError(
                f"{folder} holds {counted(len(collection), 'usable image')}; a demo needs at least two"
            )
        queries, count = _spread(collection.keys()), len(collection)
        results = {key: collection.search(Key(key), RESULTS, exclude_self=True) for key in queries}
        paths = {key: collection.search(Key(key), 1)[0].path for key in queries}
    sections = [Section(key, PagePicture(paths[key], key, "the query"), _cards(hits)) for key, hits in results.items()]
    lead = f"{count:,} photos, {len(queries)} of them used as queries; encoder {encoder.name}. A score is a cosine."
    out.mkdir(parents=True, exist_ok=True)
    written = out / "report.html"
    text = page(f"Look-alikes in {folder.resolve().name}", lead, sections)
    written.write_text(text, encoding="utf-8", errors="surrogateescape")
    lines = [
        f"{hits[0].score:.4f}  {printable(key)} ~ {printable(hits[0].key)}" for key, hits in results.items() if hits
    ]
    return Demo("\n".join(["the nearest of each query:", *lines]), written)


def _spread(keys: Sequence[str]) -> list[str]:
    """A few keys from all over the folder, the same ones every time."""
    places = np.linspace(0, len(keys) - 1, min(QUERIES, len(keys))).astype(int)
    return [keys[place] for place in dict.fromkeys(places.tolist())]


def _cards(hits: Sequence[Hit]) -> list[PagePicture]:
    return [PagePicture(hit.path, hit.key, f"{hit.rank} · {hit.score:.3f}") for hit in hits]
