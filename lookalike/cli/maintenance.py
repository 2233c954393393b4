"""Commands that keep large collections: optimize, compact, merge, export, import."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli.app import AsJson, CollectionPath, app
from lookalike.cli.output import note, print_json

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection

StoreAs = Annotated[
    Literal["float32", "float16", "int8"] | None,
    typer.Option("--store", help="How vectors are kept; int8 takes a quarter of float32."),
]


@app.command(epilog="Example: lookalike optimize ~/Pictures --index HNSW32_SQ8")
def optimize(
    collection: CollectionPath,
    index: Annotated[
        str, typer.Option("--index", metavar="SPEC", help="auto, exact (none), or any FAISS factory string.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Make an index, so that a search of many images is quick. Results stay right while images come and go."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(collection) as opened, shown("vectors") as progress:
        report = opened.optimize(index, progress)
        facts = opened.info().get("index", {})
    if as_json:
        points = [asdict(one) for one in report.curve]
        print_json({"collection": str(opened.path), "index": {**facts, "curve": points} if facts else None})
    elif not report.curve:
        print(f"{opened.path}: {report.rows:,} images are searched exactly; no index is needed")
    else:
        print(f"{opened.path}: {report.spec} over {report.rows:,} images in {report.seconds:,.0f} s")
        print(
            f"{facts['bytes a vector']:g} bytes a vector; measured on images that were held back, against exact search:"
        )
        print("recall@10  ms a query  effort  candidates a result")
        for one in report.curve:
            print(f"{one.recall:9.4f}  {1000 * one.seconds:10.3f}  {one.effort:6d}  {one.factor:19d}")


@app.command(epilog="Example: lookalike compact ~/Pictures --store float16")
def compact(collection: CollectionPath, stored: StoreAs = None) -> None:
    """Give the space of removed images back, and with --store keep the vectors in another form."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(collection) as opened:
        had_index = "index" in opened.info()
        with shown("rows") as progress:
            report = opened.compact(stored, progress)
        print(
            f"{opened.path}: {report.removed:,} removed rows left behind, "
            f"{report.before / 1e6:,.1f} to {report.after / 1e6:,.1f} MB"
        )
    if had_index:
        note("the index went with the old row numbers; run `lookalike optimize` again")


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
    paths = [collections.open(path).path for path in collections_]
    with shown("images") as progress:
        report = merged(paths, into, progress)
    print(f"{into}: {report.images:,} images" + (f", {report.shared:,} in more than one" if report.shared else ""))


@app.command(name="export", epilog="Example: lookalike export ~/Pictures vectors --format parquet")
def export_(
    collection: CollectionPath,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A folder for the files; none is replaced.")],
    kind: Annotated[Literal["npy", "parquet", "csv", "faiss"], typer.Option("--format", help="What to write.")] = "npy",
) -> None:
    """Write vectors and keys to files that other programs read."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(collection) as opened, shown("images") as progress:
        for path in opened.export(out, kind, progress):
            print(path)


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
    from lookalike.encoders import load_encoder
    from lookalike.storage.maintenance.transfer import import_vectors
    from lookalike.utils.progress import shown

    loaded = load_encoder(encoder) if encoder else None
    with shown("vectors") as progress:
        report = import_vectors(source, into, names, images, loaded, stored or "float32", progress)
    print(f"{into}: {report.added:,} images")
    if report.unusable:
        note(f"{report.unusable:,} could not be used: no direction, or a key that was there already")


def watch(opened: "Collection", folders: list[Path]) -> None:
    """`index --watch`: what it does after the first run, a line for each burst of changes."""
    from lookalike.collection.watch import watch as watched

    watched(
        opened,
        folders,
        lambda report: print(
            ", ".join(f"{count:,} {name}" for name, count in report.to_json().items() if count), flush=True
        ),
        ready=lambda: note(f"watching {', '.join(map(str, folders))}; Ctrl-C ends it"),
    )
    note("no longer watching; what was committed stays")
