"""Commands that ask a collection: search, and explain."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lookalike.cli import completion
from lookalike.cli.app import Also, AsJson, CollectionPath, Device, EncoderName, app
from lookalike.cli.before import check_before
from lookalike.cli.keys import as_key, known
from lookalike.cli.output import check_files, linked, note, print_json, printable, write
from lookalike.cli.pictures import Html, Open, Preview, explain_page, page_wanted, preview, search_page, write_page
from lookalike.errors import LookalikeError
from lookalike.utils.text import command, counted
from lookalike.utils.timing import listening
from lookalike.utils.verbosity import is_verbose

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection
    from lookalike.collection.united import Collections
    from lookalike.search.options import SearchOptions
    from lookalike.search.query import Query
    from lookalike.search.results import Results
    from lookalike.types import Box, Hit

BoxText = Annotated[str | None, typer.Option("--box", metavar="L,T,R,B", help="Only this region of it, in pixels.")]


DRAWING = b"software\0lookalike"
"""In the PNG that `explain --out` writes."""


@app.command(epilog="Example: lookalike search ~/Pictures holiday.jpg -k 20 --min-score 0.5")
def search(
    path: CollectionPath,
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Image files, keys or URLs; several are averaged.")
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many results.")] = 10,
    box: BoxText = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="COSINE", help="Leave out results below this cosine.")
    ] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help="Leave out the query itself.")] = False,
    text: Annotated[str | None, typer.Option(metavar="WORDS", help="What is wanted, in words.")] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option("--negative", metavar="IMAGE", help="Push away what looks like this; repeatable."),
    ] = None,
    negative_text: Annotated[
        str | None, typer.Option("--negative-text", metavar="WORDS", help="Push this away.")
    ] = None,
    weight: Annotated[
        list[float] | None, typer.Option("--weight", metavar="NUMBER", help="One for each QUERY, in their order.")
    ] = None,
    combine: Annotated[
        Literal["mean", "max"], typer.Option(help="Several queries: their mean, or the best of their scores.")
    ] = "mean",
    invariant: Annotated[
        str | None,
        typer.Option(metavar="flip,rotate,scale", help="Ask for mirrored, turned, smaller and larger copies too."),
    ] = None,
    rerank: Annotated[
        list[str] | None,
        typer.Option(
            "--rerank",
            metavar="SPEC",
            help="Such as spatial,top=100; repeatable.",
            autocompletion=completion.rerankers,
        ),
    ] = None,
    fuse: Annotated[
        Literal["rank", "scores"], typer.Option(help="How images and words together become one ranking.")
    ] = "rank",
    sort: Annotated[Literal["score", "taken"], typer.Option(help="taken: show the results by time.")] = "score",
    regions: Annotated[
        bool | None,
        typer.Option(
            "--regions/--no-regions", help="Images count with their best parts; the default where there are any."
        ),
    ] = None,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Pass over this many results.")] = 0,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Only some images: key:beach/* and taken >= 2019-07")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Search as if this image (a key, or its file) were not there; repeatable."),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the true nearest that an index must find; 1 is exact."),
    ] = None,
    found: Annotated[
        bool, typer.Option("--found", help="Only what shows the same thing as the QUERY rather than not.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="In doubt, compare the pixels of the best 10, for their confidence.")
    ] = False,
    exact: Annotated[
        Literal["cosine", "l2"], typer.Option(help="l2: show squared Euclidean distances (IndexFlatL2) too.")
    ] = "cosine",
    also: Also = None,
    encoder: EncoderName = None,
    device: Device = None,
    as_json: AsJson = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone, one a line.")] = False,
    null: Annotated[bool, typer.Option("-0", help="Print paths alone, each ended by a NUL byte.")] = False,
    drawn: Preview = None,
    html: Html = None,
    is_shown: Open = False,
    index: Annotated[
        bool, typer.Option("--index", help="Index COLLECTION first, where that was never done; without it, it asks.")
    ] = False,
) -> None:
    """Find the images that look most like QUERY, or fit the words. A score is a cosine: 1 is the same."""
    from lookalike.search.options import SearchOptions
    from lookalike.search.query import Query

    region = parse_box(box)
    refuse_swapped("search", path, query or ())
    path, where = within(path, where)
    if as_json + paths + null > 1:
        raise typer.BadParameter("--json, --paths and -0 exclude each other")
    if not query and not text:
        raise typer.BadParameter("name a QUERY, or say --text what is wanted")
    if region and len(query or ()) != 1:
        raise typer.BadParameter("--box goes with one query, not with several")
    if exact == "l2" and also:
        raise typer.BadParameter("--exact l2 goes with one collection, not with --also")
    if exact == "l2" and (len(query or ()) != 1 or text or negative or negative_text or invariant):
        raise typer.BadParameter("--exact l2 goes with one query image and nothing else")
    question = Query(
        examples=tuple(query or ()),
        text=text,
        negatives=tuple(negative or ()),
        negative_text=negative_text,
        box=region,
        weights=tuple(weight) if weight else None,
        combine=combine,
        invariant=tuple(invariant.split(",")) if invariant else (),
    )
    options = SearchOptions(
        k=k,
        offset=offset,
        min_score=min_score,
        exclude_self=exclude_self,
        where=where,
        exclude=frozenset(exclude or ()),
        rerank=tuple(rerank or ()),
        recall=recall,
        fuse=fuse,
        found=found,
        verify=verify,
        sort=sort,
        regions=regions,
    )
    folders = [path, *(also or ())]
    check_files(html)

    def check() -> None:
        check_before(folders, question, options)

    with _opened(folders, encoder, device, index, check) as searched:
        options = replace(options, exclude=known(options.exclude, searched))
        result = _ask(searched, question, options, with_distances=exact == "l2")
        best = _best(searched, question, options) if not result.hits and not as_json else []
        if file := page_wanted(html, is_shown):
            write_page(file, search_page(question, result.hits, searched), is_shown)
    if as_json:
        _print_json(query, text, k, result)
    elif paths or null:
        for hit in result.hits:
            write(str(hit.path or hit.key), "\0" if null else "\n")
    else:
        preview(result.hits.cards, drawn)
        _print_lines(result)
    if not result.hits and not as_json:
        note(_none(result.hits, best, options))
    elif result.hits.found is False and not as_json:
        note("probably nothing like it here; these are only alike")


def _best(collection: "Collection | Collections", question: "Query", options: "SearchOptions") -> "Sequence[Hit]":
    """The result that would be first if nothing was cut off; none where the filter leaves no image."""
    return collection.find(question, replace(options, k=1, offset=0, min_score=None, found=False))


def _none(results: "Results", best: "Sequence[Hit]", options: "SearchOptions") -> str:
    """Why there is no result, and what the best would have been."""
    if not best:
        return "no image fits --where" if options.where else "there is no other image here"
    would = f"the best is {best[0].key}, {best[0].score:.4f}"
    if options.found and results.found is False:
        return f"probably nothing like it here ({would}); without --found, what is alike is listed"
    if options.min_score is not None and best[0].score < options.min_score:
        return f"nothing here has a score of {options.min_score:g} or more; {would}"
    return f"no result is left after the first {options.offset:,}; {would}"


def refuse_swapped(name: str, path: Path, queries: Sequence[str], *rest: str) -> None:
    """Raise LookalikeError where a picture stands for COLLECTION, and a folder for QUERY."""
    folder = next((query for query in queries if Path(query).expanduser().is_dir()), None)
    if folder is not None and path.is_file() and not _is_archive(path):
        way = command(name, folder, path, *(query for query in queries if query != folder), *rest)
        raise LookalikeError(f"{path} is a file and {folder} a folder, which comes first; did you mean `{way}`?")


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in (".tar", ".zip", ".txt", ".gz", ".tgz")


def index_first(
    path: Path, encoder: str | None, device: str | None, without_asking: bool, check: Callable[[], None]
) -> None:
    """Index a folder that never was, where that is wanted; raises LookalikeError where nobody can be asked.

    `check` comes first: it raises LookalikeError for a question that would fail after all that work.
    """
    from lookalike.collection import collection as collections
    from lookalike.storage.manifest import remains
    from lookalike.utils.progress import shown

    with collections.open(path, encoder=encoder, device=device) as collection:
        if collection.exists or remains(collection.path):
            return
        is_asked = not without_asking and sys.stdin.isatty() and sys.stderr.isatty()
        if not (without_asking or is_asked):
            way = f"run `{command('index', collection.folder)}`, or search with --index"
            raise LookalikeError(f"{collection.folder} has not been indexed; {way}")
        check()
        if is_asked:
            _ask_to_index(collection.folder)
        with _resumable(collection.folder), shown("images") as progress:
            report = collection.index(progress=progress)
    note(f"{collection.path}: {counted(report.added, 'image')} indexed, {report.skipped:,} skipped")


def _ask_to_index(folder: Path) -> None:
    if not typer.confirm(f"{printable(str(folder))} has not been indexed. Index it now?", default=True, err=True):
        raise typer.Exit(1)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell how an indexing that Ctrl-C ended goes on: a search finds a collection then, and does not."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"what was committed stays; `{command('index', folder)}` goes on from there")
        raise


def within(path: Path, where: str | None) -> tuple[Path, str | None]:
    """A collection and a filter: of a folder inside an indexed one, that one's collection with only these images."""
    from lookalike.collection.parents import parent_of

    parent = parent_of(path)
    if parent is None:
        return path, where
    note(f"{path} lies in {parent.folder}, which is indexed: searching its images there")
    return parent.folder, f"{parent.where} and ({where})" if where else parent.where


@dataclass(frozen=True)
class SearchResult:
    """What is printed: hits, the encoder that scored them, the time, and with `--exact l2` squared distances."""

    hits: "Results"
    encoder: str
    took_ms: float
    distances: list[float] | None
    damaged: list[str]

    def rows(self) -> list[dict[str, Any]]:
        """The hits, ready for JSON."""
        rows: list[dict[str, Any]] = self.hits.to_json()["results"]
        if self.distances is None:
            return rows
        return [row | {"distance": distance} for row, distance in zip(rows, self.distances, strict=True)]


@contextmanager
def _opened(
    paths: "Sequence[Path]", encoder: str | None, device: str | None, index: bool, check: Callable[[], None]
) -> "Iterator[Collection | Collections]":
    from lookalike.collection import collection as collections
    from lookalike.collection.parents import parent_of

    if len(paths) > 1:
        # Those that are away are told by `many`, and so is a folder that lies in another that is indexed.
        for path in paths if index else ():
            if path.expanduser().is_dir() and parent_of(path) is None:
                index_first(path, encoder, device, True, check)
        with many(paths, encoder, device) as united:
            yield united
    else:
        index_first(paths[0], encoder, device, index, check)
        with collections.open(paths[0], device=device) as whole:
            yield whole.chosen(encoder)


def _ask(
    collection: "Collection | Collections", question: "Query", options: "SearchOptions", with_distances: bool
) -> SearchResult:
    from lookalike.collection.collection import Collection

    if not isinstance(collection, Collection):
        return _ask_many(collection, question, options)
    hits, took_ms = _timed(collection, question, options)
    distances = None
    if with_distances:
        distances = collection.distances(collection.resolve(question).probe, [hit.key for hit in hits]).tolist()
    scored_by = collection if question.examples else collection.text_set
    return SearchResult(hits, scored_by.store.header.encoder, took_ms, distances, scored_by.damaged)


def _timed(
    collection: "Collection | Collections", question: "Query", options: "SearchOptions"
) -> "tuple[Results, float]":
    """The hits, and the milliseconds that they took; with --verbose, those of each stage on stderr."""
    start = time.perf_counter()
    with listening() as seconds:
        hits = collection.find(question, options)
    took_ms = round(1000 * (time.perf_counter() - start), 3)
    if is_verbose():
        stages = "".join(f"{name} {1000 * each:.0f} ms, " for name, each in seconds.items())
        note(f"{stages}{took_ms:.0f} ms in all, among {counted(len(collection), 'image')}")
    return hits, took_ms


def _ask_many(collections: "Collections", question: "Query", options: "SearchOptions") -> SearchResult:
    if collections.mixes_encoders:
        note(f"scores of {' and '.join(collections.encoders)} do not compare: ordered by calibrated ones")
    hits, took_ms = _timed(collections, question, options)
    return SearchResult(hits, " and ".join(collections.encoders), took_ms, None, collections.damaged)


def many(paths: "Sequence[Path]", encoder: str | None = None, device: str | None = None) -> "Collections":
    """Several collections as one; those that cannot be opened are named on stderr."""
    from lookalike.collection.united import open_many

    collections = open_many(paths, encoder=encoder, device=device)
    for reason in collections.away.values():
        note(f"left out: {reason}")
    return collections


def _print_json(query: list[str] | None, text: str | None, k: int, result: SearchResult) -> None:
    document: dict[str, Any] = {"query": query[0] if query and len(query) == 1 else query}
    document |= {"text": text} if text else {}
    document |= {"encoder": result.encoder, "k": k, "took_ms": result.took_ms, "found": result.hits.found}
    document |= {"results": result.rows()}
    print_json(document | {"damaged": result.damaged})


def _print_lines(result: SearchResult) -> None:
    distances = [""] * len(result.hits) if result.distances is None else [f"  {each:7.4f}" for each in result.distances]
    for hit, distance in zip(result.hits, distances, strict=True):
        box = f"  --box {','.join(f'{side:.0f}' for side in hit.box.corners())}" if hit.box else ""
        print(f"{hit.rank:4d}  {hit.score:7.4f}{distance}  {linked(hit.path, str(hit.path or hit.key))}{box}")


def signed(out: Path) -> dict[str, Any]:
    """What Pillow writes into a drawing, so that the next one may replace it."""
    from PIL.PngImagePlugin import PngInfo

    if out.suffix.lower() != ".png":
        return {}
    signature = PngInfo()
    signature.add_text("Software", "lookalike")
    return {"pnginfo": signature}


@app.command(epilog="Example: lookalike explain ~/Pictures holiday.jpg beach.jpg --out why.png")
def explain(
    path: CollectionPath,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="An image file, a key or a URL.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="An image of the collection: its key, or its file.")],
    also: Also = None,
    box: BoxText = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw both, with what matches.")] = None,
    as_json: AsJson = False,
    html: Html = None,
    is_shown: Open = False,
) -> None:
    """Say why two images look alike: the points (or patches) that match, and the map that they agree on."""
    from lookalike.analysis.explain import draw
    from lookalike.collection import collection as collections
    from lookalike.search.query import Key
    from lookalike.utils.files import refuse_other

    check_files(out, html)
    region = parse_box(box)
    refuse_swapped("explain", path, (query,), key)
    with many([path, *also]) if also else collections.open(path) as collection:
        key = as_key(key, collection)
        explanation = collection.explain(query, key, region)
        if out:
            refuse_other(out, DRAWING)
            picture = draw(explanation, collection.picture(query, region), collection.picture(Key(key)))
            try:
                picture.save(out, **signed(out))
            except (OSError, ValueError) as error:
                raise LookalikeError(f"{out} cannot be written ({error})") from error
            note(f"wrote {out}")
        if file := page_wanted(html, is_shown):
            write_page(file, explain_page(explanation, query, key), is_shown)
    print_json(explanation.to_json()) if as_json else print(explanation.text())


def parse_box(text: str | None) -> "Box | None":
    """L,T,R,B as a `Box`; raises BadParameter for anything else."""
    if text is None:
        return None
    from lookalike.types import Box

    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--box {text}: four numbers are wanted, left,top,right,bottom") from None
    return Box(left, top, right, bottom)
