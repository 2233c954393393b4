"""The VGG layout (Oxford5k, Paris6k, and any folder laid out like them) to a benchmark."""

from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth, abridged, first_folder
from lookalike.types import Box
from lookalike.utils.text import counted

IMAGE_FOLDERS = ("images", "jpg")
TRUTH_FOLDERS = ("groundtruth", "gt", "lab")
LABELS = ("good", "ok", "junk")
# Query files of Oxford put this prefix before the name of an image; those of Paris do not.
OXFORD_PREFIX = "oxc1_"
OXFORD_IMAGES, PARIS_IMAGES, QUERIES = 5063, 6392, 55

# HTML pages under the names of photos, listed at the set's home (parisbuildings/corrupt.txt); in no ground truth.
PARIS_CORRUPT = frozenset(
    f"paris_{name}"
    for name in (
        "louvre_000136 louvre_000146 moulinrouge_000422 museedorsay_001059 notredame_000188 pantheon_000284 "
        "pantheon_000960 pantheon_000974 pompidou_000195 pompidou_000196 pompidou_000201 pompidou_000467 "
        "pompidou_000640 sacrecoeur_000299 sacrecoeur_000330 sacrecoeur_000353 triomphe_000662 triomphe_000833 "
        "triomphe_000863 triomphe_000867"
    ).split()
)


@dataclass(frozen=True)
class VggQuery:
    """The text files of a query: names without extension, and the box in pixels of the whole image.

    Without a file `*_junk.txt` there is no junk.
    """

    name: str
    image: str
    box: Box
    good: tuple[str, ...]
    ok: tuple[str, ...]
    junk: tuple[str, ...]


def vgg(root: Path) -> Benchmark:
    """`root/images` and `root/groundtruth` with `*_query.txt`, `*_good.txt`, `*_ok.txt`, `*_junk.txt`."""
    return _benchmark("vgg", root)


def oxford5k(root: Path) -> Benchmark:
    """Oxford5k, original: 5,063 images and 55 queries (Philbin et al., CVPR 2007)."""
    return _whole(_benchmark("oxford5k", root), OXFORD_IMAGES)


def paris6k(root: Path) -> Benchmark:
    """Paris6k, original: 6,392 readable images and 55 queries (Philbin et al., CVPR 2008)."""
    return _whole(_benchmark("paris6k", root), PARIS_IMAGES)


def read_groundtruth(folder: Path) -> list[VggQuery]:
    """The queries of a VGG ground-truth folder, sorted by name; raises EvaluationError."""
    files = sorted(folder.glob("*_query.txt"))
    if not files:
        raise EvaluationError(f"{folder}: no *_query.txt; put the ground-truth files there")
    return [_read_query(file) for file in files]


def _read_query(file: Path) -> VggQuery:
    name = file.name.removesuffix("_query.txt")
    fields = _text(file).strip().rsplit(maxsplit=4)
    try:
        image, corners = fields[0], [float(field) for field in fields[1:]]
        box = Box(*corners)
    except (ValueError, IndexError, TypeError) as error:
        raise EvaluationError(f"{file}: expected 'image left top right bottom', found {_text(file)[:80]!r}") from error
    good, ok = (_lines(file.with_name(f"{name}_{label}.txt")) for label in LABELS[:2])
    ignored = file.with_name(f"{name}_junk.txt")
    junk = _lines(ignored) if ignored.exists() else ()
    return VggQuery(name, image.removeprefix(OXFORD_PREFIX), box, good, ok, junk)


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in _text(file).splitlines() if line.strip())


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error


def _benchmark(name: str, root: Path) -> Benchmark:
    folder = first_folder(root, IMAGE_FOLDERS, "the images")
    truth = first_folder(root, TRUTH_FOLDERS, "*_query.txt, *_good.txt, *_ok.txt, *_junk.txt")
    vgg_queries = read_groundtruth(truth)
    names = Names(folder)
    mentions: dict[str, str] = {}
    for query in vgg_queries:
        mentions.setdefault(query.image, f"{query.name}_query.txt")
        for label in LABELS:
            for image in getattr(query, label):
                mentions.setdefault(image, f"{query.name}_{label}.txt")
    keys = names.require(mentions)
    unreadable = frozenset(key for stem in PARIS_CORRUPT if (key := names.key(stem)))
    queries = tuple(_query(query, folder, keys) for query in vgg_queries)
    return Benchmark(name, folder, queries, unreadable=unreadable)


def _query(query: VggQuery, folder: Path, keys: dict[str, str]) -> BenchmarkQuery:
    truth = Truth(
        frozenset(keys[name] for name in (*query.good, *query.ok)), frozenset(keys[name] for name in query.junk)
    )
    return BenchmarkQuery(query.name, folder / keys[query.image], query.box, {"all": truth})


def _whole(benchmark: Benchmark, images: int) -> Benchmark:
    """Raise EvaluationError for a part of a published set, whose figures cannot be compared with published ones."""
    count = len(set(Names(benchmark.images).keys) - benchmark.unreadable)
    if (count, len(benchmark.queries)) != (images, QUERIES):
        queries = counted(len(benchmark.queries), "query", "queries")
        raise EvaluationError(
            f"{benchmark.images.parent} holds {count:,} images and {queries}, {benchmark.name} "
            f"has {images:,} and {QUERIES}; complete it, or measure this part as dataset vgg"
        )
    if benchmark.name == "paris6k":
        note = f"known corrupt images passed over: {abridged(sorted(benchmark.unreadable), 2)}"
        return replace(benchmark, notes=(*benchmark.notes, note)) if benchmark.unreadable else benchmark
    return benchmark
