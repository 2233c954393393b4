"""Commands that make, ask and keep collections: index, search, info, remove, verify."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lookalike.cli.app import AsJson, CollectionPath, Device, EncoderName, Precision, app
from lookalike.cli.output import listed, note, print_json, printable, tell_skipped, write
from lookalike.errors import LookalikeError

if TYPE_CHECKING:
    from lookalike.types import Box


@app.command(epilog="Example: lookalike index ~/Pictures --encoder rootsift")
def index(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders, tars, zips or text lists.")],
    encoder: EncoderName = None,
    collection: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the collection here, not in FOLDER/.lookalike.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Embed everything anew; the old one serves until then.")
    ] = False,
    precision: Annotated[
        Precision | None, typer.Option(help="auto: int8 if it does as well on 64 of these images; fp32 is the default.")
    ] = None,
    device: Device = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything was skipped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the collection of a folder, or bring it into step with the folder. May be interrupted at any moment."""
    from lookalike import collection as collections
    from lookalike.progress import shown

    jobs = [
        (collections.open(together[0], encoder=encoder, collection=collection, device=device), together)
        for together in ([folders] if collection else [[folder] for folder in folders])
    ]
    skipped, printed = 0, []
    for opened, sources in jobs:
        start = time.monotonic()
        with opened, shown("images") as progress:
            report = opened.index(sources, progress, rebuild, precision)
            held, reasons = len(opened), opened.skipped()
        printed.append({"collection": str(opened.path), "images": held, **report.to_json()})
        if not as_json:
            counts = ", ".join(f"{count:,} {name}" for name, count in report.to_json().items() if count)
            print(f"{opened.path}: {held:,} images ({counts or 'nothing to do'}) in {time.monotonic() - start:.1f} s")
        skipped += report.skipped
        tell_skipped(reasons, opened.path)
        if not held and report.skipped:
            raise LookalikeError(f"{sources[0]}: none of {report.skipped:,} images could be used")
        if not held:
            note(f"{sources[0]} holds no images")
    if as_json:
        print_json(printed[0] if len(printed) == 1 else printed)
    if strict and skipped:
        raise typer.Exit(3)


@app.command(epilog="Example: lookalike search ~/Pictures holiday.jpg -k 20 --min-score 0.5")
def search(
    collection: CollectionPath,
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="Image files or keys; several are averaged.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    box: Annotated[str | None, typer.Option(metavar="L,T,R,B", help="Search for this region, in pixels.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out results below this cosine.")] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help="Leave out the query itself.")] = False,
    exact: Annotated[
        Literal["cosine", "l2"], typer.Option(help="l2: show squared Euclidean distances (IndexFlatL2) too.")
    ] = "cosine",
    encoder: EncoderName = None,
    device: Device = None,
    as_json: AsJson = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone, one a line.")] = False,
    null: Annotated[bool, typer.Option("-0", help="Print paths alone, each ended by a NUL byte.")] = False,
) -> None:
    """Find the images that look most like QUERY. A score is a cosine: higher is better, 1 is the same."""
    from lookalike import collection as collections

    region = _box(box)
    if as_json + paths + null > 1:
        raise typer.BadParameter("--json, --paths and -0 exclude each other")
    if region and len(query) > 1:
        raise typer.BadParameter("--box goes with one query, not with several")
    with collections.open(collection, encoder=encoder, device=device) as opened:
        start = time.perf_counter()
        resolved = opened.resolve(query, region)
        ranking = opened.rank(resolved, k, region is not None, exclude_self)
        hits = opened.hits(ranking, min_score)
        took = 1000 * (time.perf_counter() - start)
        extra: list[dict[str, Any]] = [{} for _ in hits]
        if exact == "l2":
            distances = opened.distances(resolved.probe, ranking.ids[: len(hits)])
            extra = [{"distance": float(distance)} for distance in distances]
        shown = [
            {"rank": hit.rank, "key": hit.key, "path": str(hit.path) if hit.path else None, "score": hit.score, **more}
            for hit, more in zip(hits, extra, strict=True)
        ]
        if as_json:
            asked = query[0] if len(query) == 1 else query
            name = opened.store.header.encoder
            print_json({"query": asked, "encoder": name, "k": k, "took_ms": round(took, 3), "results": shown})
        elif paths or null:
            for hit in hits:
                write(str(hit.path or hit.key), "\0" if null else "\n")
        else:
            for result in shown:
                numbers = f"{result['rank']:4d}  {result['score']:7.4f}"
                distance = f"  {result['distance']:7.4f}" if "distance" in result else ""
                print(f"{numbers}{distance}  {printable(result['path'] or result['key'])}")


@app.command(epilog="Example: lookalike info ~/Pictures --skipped")
def info(
    collection: CollectionPath,
    skipped: Annotated[bool, typer.Option("--skipped", help="List what could not be used, with the reasons.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a collection holds and what it was made with."""
    from lookalike import collection as collections

    with collections.open(collection) as opened:
        facts, reasons = opened.info(), opened.skipped()
    if as_json:
        if skipped:
            facts["skipped"] = [{"key": key, "reason": reason} for key, reason in reasons]
        print_json(facts)
    elif skipped:
        for key, reason in reasons:
            print(f"{printable(key)}\t{printable(reason)}")
    else:
        for name, value in facts.items():
            print(f"{name:12} {printable(listed(value))}")


@app.command(epilog="Example: lookalike remove ~/Pictures 2019/blurred.jpg")
def remove(
    collection: CollectionPath,
    key: Annotated[list[str], typer.Argument(metavar="KEY", help="As `lookalike search` prints them in --json.")],
) -> None:
    """Take images out of the collection. Their files stay; they come back when they change or with --rebuild."""
    from lookalike import collection as collections

    with collections.open(collection) as opened:
        count = opened.remove(key)
        print(f"{opened.path}: {count:,} removed, {len(opened):,} images left")


@app.command(epilog="Example: lookalike verify ~/Pictures --repair")
def verify(
    collection: CollectionPath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take damaged rows out; `lookalike index` embeds them again.")
    ] = False,
) -> None:
    """Compare every vector and every catalog row with its checksum. Exit status 1 where something is wrong."""
    from lookalike import collection as collections

    with collections.open(collection) as opened:
        damage = opened.verify(repair)
        if not damage:
            print(f"{opened.path}: {len(opened):,} images, all whole")
            return
        for fault in damage.faults:
            print(f"{opened.path}: {printable(fault)}")
        for row, name in damage.rows:
            print(f"row {row}: {printable(name)}: {'taken out' if repair else 'damaged'}")
    if not repair:
        raise LookalikeError(f"{collection} is damaged; `lookalike verify --repair` takes the damaged rows out")
    if damage.rows:
        note("run `lookalike index` to embed them again")


def _box(text: str | None) -> "Box | None":
    if text is None:
        return None
    from lookalike.types import Box

    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--box {text}: four numbers are wanted, left,top,right,bottom") from None
    return Box(left, top, right, bottom)
