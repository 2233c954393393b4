"""Encoders, options and re-rankers to a table: every combination measured once, with its costs."""

import functools
import hashlib
import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.encoders import load_encoder
from lookalike.encoders.default import default_encoder
from lookalike.errors import EncoderError, EvaluationError, ImageError
from lookalike.evaluation.compare import LEVEL, paired_interval
from lookalike.evaluation.datasets.benchmark import Benchmark, Names
from lookalike.evaluation.protocols import protocol_for
from lookalike.evaluation.report import aligned, decimal, markdown_table
from lookalike.evaluation.run import evaluate
from lookalike.images import decode as images
from lookalike.images.sources import open_source
from lookalike.search import rerank as rerankers
from lookalike.types import Encoder, Progress
from lookalike.utils.files import write_whole
from lookalike.utils.text import counted

SAMPLE = 16
"""Images that an encoder is timed on."""
NO_RERANK = "none"


@dataclass(frozen=True)
class Cell:
    """One combination: an encoder with its options, and a re-ranking."""

    encoder: str
    options: tuple[tuple[str, str], ...] = ()
    rerank: str = NO_RERANK

    @property
    def name(self) -> str:
        """Its name in a table."""
        options = ",".join(f"{name}={value}" for name, value in self.options)
        return self.encoder + (f"[{options}]" if options else "")


@dataclass(frozen=True)
class GridRow:
    """The figures and costs of a cell; one that cannot be measured has a `refused` reason instead."""

    cell: Cell
    map: float = math.nan
    ms_an_image: float = math.nan
    bytes_a_vector: int = 0
    ms_a_query: float = math.nan
    refused: str | None = None
    pareto: bool = False
    ap: Mapping[str, float] = field(default_factory=dict)
    """Average precision by query, which says whether another row's mAP differs by more than noise."""


COSTS = (
    f"cost: ms/image to prepare and encode one (mean of {SAMPLE} of the gallery, decoded before), "
    "bytes/vector in float32, ms/query to search and re-rank",
    f"★: no row that costs no more is as good; mAPs differ where the {LEVEL} % interval of the paired bootstrap over "
    "the queries is above zero, times where they differ by over a tenth",
)


@dataclass(frozen=True)
class Grid:
    """All combinations, the best mAP first, refused ones last."""

    heading: str
    rows: tuple[GridRow, ...]

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "heading": self.heading,
            "rows": [
                {"encoder": row.cell.encoder, "options": dict(row.cell.options), "rerank": row.cell.rerank}
                | ({"refused": row.refused} if row.refused else _figures(row) | {"pareto": row.pareto})
                for row in self.rows
            ],
            "notes": list(COSTS),
        }

    def table(self) -> list[list[str]]:
        """A heading row and a row for each combination; a star marks the Pareto set."""
        rows = [["encoder", "re-ranking", "mAP", "ms/image", "bytes/vector", "ms/query", "best for its cost"]]
        for row in self.rows:
            if row.refused:
                rows.append([row.cell.name, row.cell.rerank, "–", "–", "–", "–", row.refused])
                continue
            cost = [f"{row.ms_an_image:.1f}", str(row.bytes_a_vector), f"{row.ms_a_query:.2g}"]
            rows.append([row.cell.name, row.cell.rerank, decimal(row.map), *cost, "★" if row.pareto else ""])
        return rows

    def text(self) -> str:
        """For a terminal."""
        return "\n".join([self.heading, "", aligned(self.table()), "", *COSTS])

    def markdown(self) -> str:
        """For a document."""
        return "\n".join([self.heading, "", markdown_table(self.table()), "", *(f"- {line}" for line in COSTS), ""])


@dataclass(frozen=True)
class Setting:
    """What all combinations of a grid have in common; see `evaluate`."""

    protocol: str | None = None
    k: tuple[int, ...] | None = None
    uncropped: bool = False


@dataclass(frozen=True)
class Combinations:
    """Every encoder with every choice of `options` (as of load_encoder: pooling, preprocess, …) and each re-ranking.

    An option without values is left to the encoder. Several sizes stand for as many values: `squash-224,336,448`, also
    in a name. Without encoders it is the default one, which is decided when the first combination is measured.
    """

    encoders: Sequence[str]
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rerank: Sequence[str] = ()

    def cells(self) -> Iterator[Cell]:
        """Re-ranking varies fastest, so that one encoder is done with before the next is loaded."""
        options = {name: _each(values) for name, values in self.options.items() if values}
        for encoder, *values in itertools.product(_each(self.encoders) or [default_encoder()], *options.values()):
            for spec in tuple(dict.fromkeys(self.rerank)) or (NO_RERANK,):
                yield Cell(encoder, tuple(zip(options, values, strict=True)), spec)


_SIZES = re.compile(r"(?P<kind>[a-z]+)-(?P<sizes>\d+(?:x\d+)?(?:,\d+(?:x\d+)?)+)(?=,|$)")


def sizes(text: str) -> list[str]:
    """`name@squash-224,336,pool=gem` once for each size: `name@squash-224,pool=gem`, `name@squash-336,pool=gem`."""
    start = 0 if "@" not in text else text.rindex("@") + 1
    several = _SIZES.match(text, start)
    if Path(text).exists() or not several:
        return [text]
    before, after = text[:start], text[several.end() :]
    return [f"{before}{several['kind']}-{size}{after}" for size in several["sizes"].split(",")]


def _each(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(one for value in values for one in sizes(value)))


def grid(
    benchmark: Benchmark,
    combinations: Combinations,
    setting: Setting = Setting(),
    *,
    out: str | Path,
    cache: Path | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Grid:
    """Measure every combination on a benchmark.

    One report for each combination is kept in `out`. A combination that has one is not measured again, and
    combinations that differ only in re-ranking share their embeddings. `tell` is given the name of each combination
    before it is measured. Raises EvaluationError for an unknown protocol, QueryError for an unknown re-ranking.
    """
    protocol_for(benchmark, setting.protocol)
    for spec in combinations.rerank:
        if spec != NO_RERANK:
            rerankers.parse(spec)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    loaded = functools.cache(lambda name, options: _load(benchmark, name, options))
    content = _content(benchmark)
    rows = []
    for cell in combinations.cells():
        file = folder / f"{_identity(content, cell, setting)}.json"
        document = _read(file)
        try:
            if document is None:
                if tell:
                    tell(f"{cell.name} · {cell.rerank}")
                encoder, milliseconds = loaded(cell.encoder, cell.options)
                document = _measure(benchmark, cell, setting, encoder, cache, progress)
                document["cell"] = {"name": cell.name, "rerank": cell.rerank, "ms_an_image": milliseconds}
                write_whole(file, json.dumps(document, indent=1, allow_nan=False), durable=False)
            rows.append(_row(cell, document))
        except (EncoderError, EvaluationError) as error:
            rows.append(GridRow(cell, refused=str(error)))
    heading = f"{benchmark.name} · {counted(len(benchmark.queries), 'query', 'queries')}"
    return Grid(heading, tuple(sorted(mark_pareto(rows), key=lambda row: (row.refused is not None, -row.map))))


def _load(benchmark: Benchmark, name: str, options: tuple[tuple[str, str], ...]) -> tuple[Encoder, float]:
    """The encoder, and the milliseconds that it takes for an image, without decoding."""
    encoder = load_encoder(name, **dict(options))
    sample: list[images.Decoded] = []
    for key in Names(benchmark.images).keys:
        if len(sample) == SAMPLE:
            break
        try:
            sample.append(images.load(benchmark.images / key, size=encoder.decode_size))
        except ImageError:
            continue
    if not sample:
        raise EvaluationError(f"{benchmark.images}: no readable image")
    encoder.encode_batch([images.prepare(encoder, sample[0])])  # The first call may load or compile something.
    started = time.perf_counter()
    encoder.encode_batch([images.prepare(encoder, decoded) for decoded in sample])
    return encoder, 1000 * (time.perf_counter() - started) / len(sample)


def _measure(
    benchmark: Benchmark,
    cell: Cell,
    setting: Setting,
    encoder: Encoder,
    cache: Path | None,
    progress: Progress | None,
) -> dict[str, Any]:
    specs = () if cell.rerank == NO_RERANK else (cell.rerank,)
    report = evaluate(
        benchmark,
        encoder=encoder,
        protocol=setting.protocol,
        k=setting.k,
        uncropped=setting.uncropped,
        rerank=specs,
        cache=cache,
        progress=progress,
    )
    return report.to_json()


def _content(benchmark: Benchmark) -> str:
    """Queries, ground truth and images (keys, sizes, times) of a benchmark as text."""
    places = (benchmark.images, *benchmark.distractors)
    queries = [
        [query.name, str(query.image), repr(query.box), sorted(query.hidden)]
        + [[setup, sorted(truth.positives), sorted(truth.junk)] for setup, truth in sorted(query.truths.items())]
        for query in benchmark.queries
    ]
    entries = [[entry.key, entry.size, entry.mtime_ns] for place in places for entry in open_source(place).entries()]
    return json.dumps([benchmark.name, [str(place.resolve()) for place in places], queries, entries])


def _identity(content: str, cell: Cell, setting: Setting) -> str:
    """A file name of its own for each combination, setting, benchmark content and set of weights."""
    text = json.dumps([content, repr(cell), _weights(cell.encoder), repr(setting)])
    slug = "".join(letter if letter.isalnum() else "-" for letter in f"{cell.name}-{cell.rerank}").lstrip("-")
    return f"{slug[:60] or 'encoder'}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:12]}"


def _weights(encoder: str) -> list[tuple[str, int, int]]:
    """The files of a local checkpoint with sizes and times; the name is enough for a published one."""
    place = Path(encoder.partition("@")[0]).expanduser()
    files = [place] if place.is_file() else sorted(place.rglob("*")) if place.is_dir() else []
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def _read(file: Path) -> dict[str, Any] | None:
    """The report of a combination that was measured before; None where it is absent or damaged."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "cell" in document else None


def _row(cell: Cell, document: Mapping[str, Any]) -> GridRow:
    value = document["map"]["medium"] if isinstance(document["map"], dict) else document["map"]
    cost = document["cost"]
    precisions = {query["name"]: query["ap"] for query in document["queries"]}
    ap = {name: of["medium"] if isinstance(of, dict) else of for name, of in precisions.items()}
    return GridRow(
        cell,
        math.nan if value is None else float(value),
        float(document["cell"]["ms_an_image"]),
        int(cost["bytes_a_vector"]),
        1000 * float(cost["search_s"]) / len(document["queries"]),
        ap={name: float(value) for name, value in ap.items() if value is not None},
    )


def mark_pareto(rows: Iterable[GridRow]) -> list[GridRow]:
    """Mark the rows that are better, beyond noise, than every row that costs no more.

    The worst mAP is struck out first, by a row that is still there: so at least one row stays, though "within noise"
    and "within a tenth" are not transitive.
    """
    listed = list(rows)
    staying = sorted((row for row in listed if not row.refused), key=lambda row: row.map)
    for row in tuple(staying):
        if any(rival is not row and _dominates(rival, row) for rival in staying):
            staying = [other for other in staying if other is not row]
    best = {id(row) for row in staying}
    return [replace(row, pareto=id(row) in best) for row in listed]


def _dominates(rival: GridRow, row: GridRow) -> bool:
    """Whether `rival` costs no more than `row`, which is not better beyond noise, and is better or cheaper itself."""
    as_cheap = (
        rival.bytes_a_vector <= row.bytes_a_vector
        and _as_fast(rival.ms_an_image, row.ms_an_image)
        and _as_fast(rival.ms_a_query, row.ms_a_query)
    )
    cheaper = (
        rival.bytes_a_vector < row.bytes_a_vector
        or not _as_fast(row.ms_an_image, rival.ms_an_image)
        or not _as_fast(row.ms_a_query, rival.ms_a_query)
    )
    return as_cheap and (cheaper or rival.map > row.map) and not _better(row, rival)


def _better(row: GridRow, rival: GridRow) -> bool:
    """Whether the mAP of `row` is above that of `rival` beyond noise, by the queries that both have."""
    if not row.map > rival.map:
        return math.isnan(row.map)
    shared = row.ap.keys() & rival.ap.keys()
    if not shared:
        return True
    return paired_interval(np.array([row.ap[name] - rival.ap[name] for name in sorted(shared)]))[0] > 0


def _as_fast(milliseconds: float, other: float) -> bool:
    """Whether a timing is below another; a tenth more counts as the same, as timings differ by that between runs."""
    return milliseconds <= 1.1 * other


def _figures(row: GridRow) -> dict[str, float | int]:
    return {
        "map": row.map,
        "ms_an_image": row.ms_an_image,
        "bytes_a_vector": row.bytes_a_vector,
        "ms_a_query": row.ms_a_query,
    }
