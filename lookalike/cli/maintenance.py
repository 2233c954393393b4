"""Commands for the upkeep of large collections: optimize, compact, merge, export, import."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli.app import AsJson, CollectionPath, app
from lookalike.cli.output import (
    note,
    print_json,
    refuse_unindexed,
    say,
    tell_lost_index,
    tell_unreachable,
    tell_withheld,
)
from lookalike.utils.text import counted

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection
    from lookalike.collection.sync import IndexReport

StoreAs = Annotated[
    Literal["float32", "float16", "int8"] | None,
    typer.Option("--store", help="How vectors are kept; int8 takes a quarter of float32."),
]


@app.command(epilog="Example: lookalike optimize ~/Pictures --index HNSW32_SQ8")
def optimize(
    path: CollectionPath,
    index: Annotated[
        str,
        typer.Option(
            "--index",
            metavar="SPEC",
            help="auto, exact (none), or any FAISS factory string; of an engine, hnsw or ivfflat.",
        ),
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Make an index, so that a search of many images is quick. Results stay right while images come and go."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(path) as collection, shown("vectors") as progress:
        report = collection.optimize(index, progress)
        facts = collection.info().get("index", {})
    if isinstance(facts, str):
        # An engine's own index.
        facts = {} if facts == "exact" else {"spec": facts, "rows": report.rows, "seconds": report.seconds}
    if as_json:
        points = [asdict(point) for point in report.curve]
        print_json({"collection": str(collection.path), "index": {**facts, "curve": points} if facts else None})
    elif report.spec == "exact":
        say(f"{collection.path}: {counted(report.rows, 'image is', 'images are')} searched exactly; no index is needed")
    elif not report.curve:
        size = f"{report.bytes / 2**20:,.0f} MiB"
        say(f"{collection.path}: {report.spec} over {counted(report.rows, 'image')} in {report.seconds:,.0f} s, {size}")
    else:
        say(f"{collection.path}: {report.spec} over {counted(report.rows, 'image')} in {report.seconds:,.0f} s")
        say(
            f"{facts['bytes a vector']:g} bytes a vector; measured on images that were held back, against exact search:"
        )
        say("results  recall  ms a query  effort  candidates a result")
        for point in report.curve:
            numbers = f"{point.recall:6.4f}  {1000 * point.seconds:10.3f}  {point.effort:6d}  {point.factor:19d}"
            say(f"{point.depth:7d}  {numbers}")


@app.command(epilog="Example: lookalike compact ~/Pictures --store float16")
def compact(
    path: CollectionPath,
    stored: StoreAs = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="URI", help="For vectors in a server: the new collection there, for a copy."),
    ] = None,
) -> None:
    """Give the space of removed images back, and with --store keep the vectors in another form."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(path) as collection:
        had_index = "index" in collection.info()
        with shown("rows") as progress:
            report = collection.compact(stored, progress, engine)
        say(
            f"{collection.path}: {counted(report.removed, 'removed row')} left behind, "
            f"{report.before / 1e6:,.1f} to {report.after / 1e6:,.1f} MB"
        )
    if had_index:
        tell_lost_index()


@app.command(epilog="Example: lookalike merge ~/Pictures /mnt/archive --into ~/all")
def merge(
    collections_: Annotated[list[Path], typer.Argument(metavar="A B ...", help="Collections of the same encoder.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="The new collection.")],
) -> None:
    """Make a collection of all that several hold. They stay as they are."""
    from lookalike.collection import collection as collections
    from lookalike.storage.maintenance.merge import merge as merged
    from lookalike.utils.progress import shown

    if len(collections_) < 2:
        raise typer.BadParameter("name two collections or more")
    parts = [collections.open(path) for path in collections_]
    for part in parts:
        refuse_unindexed(part)
    with shown("images") as progress:
        report = merged([part.path for part in parts], into, progress)
    say(
        f"{into}: {counted(report.images, 'image')}"
        + (f", {report.shared:,} in more than one" if report.shared else "")
    )
    with collections.open(into) as whole:
        regions = whole.info().get("regions")
    if regions:
        way = f"`lookalike index {into} --regions` adds what is missing"
        note(f"its regions are of {counted(regions['images'], 'distinct image')}; {way}")


@app.command(name="export", epilog="Example: lookalike export ~/Pictures vectors --format parquet")
def export_(
    path: CollectionPath,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A folder for the files; none is replaced.")],
    kind: Annotated[Literal["npy", "parquet", "csv", "faiss"], typer.Option("--format", help="What to write.")] = "npy",
) -> None:
    """Write vectors and keys to files that other programs read."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(path) as collection, shown("images") as progress:
        for file in collection.export(out, kind, progress):
            print(file)


@app.command(name="import", epilog="Example: lookalike import vectors.npy --names names.txt --into ~/imported")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .npy, or a folder that clip-retrieval wrote.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="The new collection.")],
    names: Annotated[Path | None, typer.Option(metavar="FILE", help="For a .npy: a key a line.")] = None,
    images: Annotated[Path | None, typer.Option(metavar="FOLDER", help="What the names are relative to.")] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="The encoder that made them: then images can be queries.")
    ] = None,
    stored: StoreAs = None,
) -> None:
    """Make a collection of vectors that were computed elsewhere."""
    from lookalike.storage.maintenance.transfer import import_vectors
    from lookalike.utils.progress import shown

    with shown("vectors") as progress:
        report = import_vectors(source, into, names, images, encoder, stored or "float32", progress)
    say(f"{into}: {counted(report.added, 'image')}")
    if report.unusable:
        note(f"{report.unusable:,} could not be used: no direction, or a key that was there already")


def watch(collection: "Collection", folders: list[Path]) -> None:
    """`index --watch` after its first run: prints a line for each burst of changes."""
    from lookalike.collection.watch import watch as watched

    def tell(report: "IndexReport") -> None:
        if counts := [f"{count:,} {name}" for name, count in report.to_json().items() if count]:
            print(", ".join(counts), flush=True)
        tell_withheld(report)
        tell_unreachable(report, collection.folder)

    watched(collection, folders, tell, ready=lambda: note(f"watching {', '.join(map(str, folders))}; Ctrl-C ends it"))
    note("no longer watching; what was committed stays")
