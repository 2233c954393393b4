"""Commands that make and keep collections: index, info, remove, verify, whiten."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import completion
from lookalike.cli.app import AsJson, CollectionPath, Device, Precision, app
from lookalike.cli.cluster import Taken, take
from lookalike.cli.keys import as_key
from lookalike.cli.maintenance import StoreAs, watch
from lookalike.cli.output import (
    by_reason,
    listed,
    note,
    print_json,
    printable,
    refuse_unindexed,
    say,
    tell_lost_index,
    tell_skipped,
    tell_unreachable,
    tell_withheld,
)
from lookalike.errors import LookalikeError
from lookalike.utils.text import command, counted

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection
    from lookalike.collection.sync import IndexReport
    from lookalike.types import Progress


LISTED = 20
"""Files of one reason that `info --skipped` prints as text."""


@app.command(epilog="Example: lookalike index ~/Pictures")
def index(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="Folders, tars, zips or text lists.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="See `lookalike encoders`; several keep a set of vectors each.",
            autocompletion=completion.encoders,
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--collection", metavar="DIR", help="Keep the collection here, not in FOLDER/.lookalike."),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Embed everything anew; the old one serves until then.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            "--to",
            metavar="URI",
            help="Keep the vectors in a server: milvus://HOST/NAME, postgresql://HOST/DB.",
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="auto: int8 if it does as well on 64 of these images; fp32 is the default.")
    ] = None,
    device: Device = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URI", help="In place of FOLDER: what `lookalike embed` made.")
    ] = None,
    stored: StoreAs = None,
    meta: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A CSV or Parquet of columns for `search --where`.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Pass over what it names, as in .gitignore; kept. '' forgets all."),
    ] = None,
    regions: Annotated[
        bool | None,
        typer.Option(
            "--regions/--no-regions",
            help="Vectors of parts of each image too, to find things inside pictures; --no-regions deletes them.",
        ),
    ] = None,
    region_spec: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Which parts: see docs/regions.md; implies --regions.")
    ] = None,
    watching: Annotated[bool, typer.Option("--watch", help="Go on: follow every change until Ctrl-C.")] = False,
    allow_removals: Annotated[
        bool, typer.Option("--allow-removals", help="Take out what is gone, even where most of a source is.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if anything was skipped, with 1 if a source may be away.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the collection of a folder, or bring it into step with the folder. May be interrupted at any moment."""
    from lookalike.utils.progress import shown

    if source:
        given: dict[str, object] = {
            "FOLDER": folders,
            "--rebuild": rebuild,
            "--watch": watching,
            "--exclude": exclude is not None,
            "--regions": regions is not None or region_spec,
        }
        given |= {"--precision": precision, "--device": device, "a second --encoder": (encoder or ())[1:]}
        name = encoder[0] if encoder else None
        return take(source, path, Taken(engine, name, stored, tuple(meta or ()), strict, as_json), given)
    if not folders:
        raise typer.BadParameter("name a FOLDER, or --from URI")
    if watching and len(folders) > 1 and not path:
        raise typer.BadParameter("--watch goes with one folder, or with one --collection of several")
    _check_tables(meta or ())
    names = list(encoder or ())
    if engine and len(folders) > 1 and not path:
        raise typer.BadParameter("--engine holds one collection: give one FOLDER, or --collection")
    ignore = None if exclude is None else [pattern for pattern in exclude if pattern]
    regions = _wants_regions(regions, region_spec)
    whole = rebuild or bool(engine or precision or stored or watching or exclude is not None or regions is not None)
    jobs = _jobs(folders, path, {"device": device, "engine": engine}, whole)
    skipped, withheld, printed = 0, 0, []
    for job in jobs:
        collection, sources, start = job.collection, job.sources, time.monotonic()
        with collection, shown("images") as progress:
            run = Run(progress, rebuild, precision, device, engine, stored, meta or (), ignore, allow_removals)
            report = (_refresh if job.is_part else _index)(collection, sources, names, run)
            counts = _regions(collection, regions, region_spec, progress) | _region_totals(collection)
            images, reasons = len(collection), collection.skipped()
        away = list(report.unreachable)
        printed.append(
            {"collection": str(collection.path), "images": images, **report.to_json(), "unreachable": away, **counts}
        )
        if not as_json:
            changes = ", ".join(f"{count:,} {name}" for name, count in report.to_json().items() if count)
            seconds = time.monotonic() - start
            say(f"{collection.path}: {counted(images, 'image')} ({changes or 'nothing to do'}) in {seconds:.1f} s")
        skipped, withheld = skipped + report.skipped, withheld + report.withheld + len(away)
        tell_skipped(reasons, collection.path)
        tell_withheld(report)
        tell_unreachable(report, collection.folder)
        if not images and report.skipped:
            raise LookalikeError(f"{job.name}: none of {counted(report.skipped, 'image')} could be used")
        if not images:
            note(f"{job.name} holds no images")
    if as_json:
        print_json(printed[0] if len(printed) == 1 else printed)
    if watching:
        with collection:
            watch(collection, sources or _folders(collection))
    if strict and withheld:
        raise typer.Exit(1)
    if strict and skipped:
        raise typer.Exit(3)


@dataclass(frozen=True)
class Job:
    """What `index` does for one collection: bring it into step with `sources` (none: its own), or these parts of it."""

    collection: "Collection"
    name: Path
    sources: list[Path]
    is_part: bool = False


def _jobs(folders: list[Path], path: Path | None, settings: dict[str, str | None], whole: bool) -> list[Job]:
    """A job for each folder, or one for all in the collection `path`. `whole` says that no part will do."""
    from lookalike.collection import collection as collections

    if path is None:
        return [_job(folder, settings, whole) for folder in folders]
    collection = collections.open(folders[0], collection=path, **settings)
    return [Job(collection, folders[0], _photos(collection, folders))]


def _job(folder: Path, settings: dict[str, str | None], whole: bool) -> Job:
    from lookalike.collection import collection as collections
    from lookalike.collection.parents import parent_of

    parent = parent_of(folder)
    if parent is None:
        collection = collections.open(folder, **settings)
        return Job(collection, folder, _photos(collection, [folder]))
    if whole:
        raise LookalikeError(
            f"{folder} lies in {parent.folder}, which is indexed; give these options with {parent.folder}, or with "
            "--collection DIR for a collection of its own"
        )
    note(f"{folder} lies in {parent.folder}, which is indexed: bringing that part into step")
    return Job(collections.open(parent.folder, **settings), folder, [folder, folder.resolve()], is_part=True)


def _photos(collection: "Collection", sources: list[Path]) -> list[Path]:
    """The sources without the folder of the collection itself, which stands for those that it was made from."""
    return [source for source in sources if source.expanduser().resolve() != collection.path.resolve()]


def _folders(collection: "Collection") -> list[Path]:
    return [Path(source.location) for source in collection.sources() if Path(source.location).is_dir()]


@app.command(epilog="Example: lookalike info ~/Pictures --skipped")
def info(
    path: CollectionPath,
    skipped: Annotated[bool, typer.Option("--skipped", help="List what could not be used, with the reasons.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a collection holds and what it was made with."""
    from lookalike.cli.facts import summed
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        facts, reasons = collection.info(), collection.skipped()
    if as_json:
        if skipped:
            facts["skipped"] = [{"key": key, "reason": reason} for key, reason in reasons]
        print_json(facts)
    elif skipped:
        for reason, keys in by_reason(reasons).items():
            for key in keys[:LISTED]:
                print(f"{printable(key)}\t{printable(reason)}")
            if len(keys) > LISTED:
                print(f"and {len(keys) - LISTED:,} more, {len(keys):,} in all; --json has them\t{printable(reason)}")
    else:
        for name, value in facts.items():
            if value == []:
                # No further sets: a name without a value says nothing.
                continue
            say(f"{name:12} {printable(summed(value) if name == 'facts' else listed(value))}")


@app.command(epilog="Example: lookalike sources ~/index --move /media/old /media/new")
def sources(
    path: CollectionPath,
    move: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="OLD NEW", help="The images of OLD lie in NEW now; none is embedded."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --move: also if NEW holds other images.")] = False,
    forget: Annotated[str | None, typer.Option(metavar="SOURCE", help="Drop a source with its images.")] = None,
    as_json: AsJson = False,
) -> None:
    """List where the images come from, and whether that can be reached; move a source, or forget it."""
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        if move:
            collection.move_source(*move, force=force)
            note(f"{move[0]} is {move[1]} now; `{command('index', collection.folder)}` brings it into step")
        if forget:
            count = counted(collection.forget_source(forget), "image is", "images are")
            note(f"{forget}: {count} no longer in {collection.path}")
        places = collection.sources()
    if as_json:
        print_json([place.to_json() for place in places])
    else:
        for place in places:
            say(f"{place.state:11}  {place.images:9,}  {printable(place.location)}")


@app.command(epilog="Example: lookalike remove ~/Pictures 2019/blurred.jpg")
def remove(
    path: CollectionPath,
    key: Annotated[list[str], typer.Argument(metavar="KEY", help="As `lookalike search` prints them in --json.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let them in again, with the next `lookalike index`.")] = False,
) -> None:
    """Take images out of the collection. Their files stay; they come back when they change, or with --undo."""
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        if undo:
            back = counted(collection.restore(key), "image comes", "images come")
            say(f"{collection.path}: {back} back with the next `lookalike index`")
            return
        count = collection.remove([as_key(name, collection) for name in key])
        say(f"{collection.path}: {count:,} removed, {counted(len(collection), 'image')} left")


@app.command(epilog="Example: lookalike verify ~/Pictures --repair")
def verify(
    path: CollectionPath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take damaged rows out; `lookalike index` embeds them again.")
    ] = False,
) -> None:
    """Compare every vector and every catalog row with its checksum. Exit status 1 where something is wrong."""
    from lookalike.collection import collection as collections
    from lookalike.storage.manifest import remains

    with collections.open(path) as collection:
        if not remains(collection.path):
            refuse_unindexed(collection)
        damage = collection.verify(repair)
        if not damage:
            say(f"{collection.path}: {counted(len(collection), 'image')}, all whole")
            return
        for fault in damage.faults:
            say(f"{collection.path}: {printable(fault)}")
        for row, name in damage.rows:
            say(f"row {row}: {printable(name)}: {'taken out' if repair else 'damaged'}")
    if not repair:
        raise LookalikeError(f"{path} is damaged; `{command('verify', path, '--repair')}` takes the damaged rows out")
    if damage.rows:
        note(f"run `{command('index', collection.folder)}` to embed them again")


@dataclass(frozen=True)
class Run:
    """How the vectors of every encoder are made."""

    progress: "Progress"
    rebuild: bool
    precision: str | None
    device: str | None
    engine: str | None
    dtype: str | None
    meta: Sequence[Path]
    ignore: Sequence[str] | None
    allow_removals: bool


def _index(collection: "Collection", sources: list[Path], encoders: list[str], run: Run) -> "IndexReport":
    """The vectors of every encoder that is named; without one, of all that the collection has.

    A collection keeps its own vectors: those of another encoder become a set beside them, unless `--rebuild` is given.
    """
    from lookalike.collection.collection import Collection
    from lookalike.encoders import with_options
    from lookalike.index import ann

    names = [with_options(name, precision=run.precision) if run.precision else name for name in encoders]
    # What is made anew may be damaged or of another release: nothing of it is read here.
    anew = run.rebuild and (len(names) < 2 or collection.store.header.encoder not in names)
    keeps = collection.exists and not anew
    others = [name for name in names if _is_another(collection, name)] if keeps else names[1:]
    own = next((name for name in names if name not in others), None)
    reports = []
    if own or not others:
        # The name says what `--precision` asks for; without a name, the collection's encoder gets it.
        precision = None if own else run.precision
        first = Collection(collection.path, own, sources, run.device, run.engine)
        index = collection.path / ann.FOLDER / ann.FILE
        had_index = index.is_file()
        report = first.index(
            sources,
            run.progress,
            run.rebuild,
            precision,
            run.dtype,
            ignore=run.ignore,
            allow_removals=run.allow_removals,
        )
        reports.append(report)
        if had_index and not index.is_file():
            tell_lost_index()
        # Another object may have put another collection in its place.
        collection.close()
    reports += [collection.add_set(name, run.progress, run.allow_removals) for name in others]
    for table in run.meta:
        read, used = collection.attach(table)
        note(f"{table}: {used:,} of {counted(read, 'line')} name an image here")
    return reports[0]


def _check_tables(meta: Sequence[Path]) -> None:
    for table in meta:
        if not table.is_file():
            raise LookalikeError(f"{table}: no such file; --meta names a CSV or Parquet")


def _wants_regions(regions: bool | None, spec: str | None) -> bool | None:
    """Whether regions are added or deleted; None: neither."""
    if regions is False and spec:
        raise typer.BadParameter("--region-spec and --no-regions exclude each other")
    if spec:
        from lookalike.encoders.regions import read_spec

        read_spec(spec)
    return True if spec else regions


def _regions(
    collection: "Collection", wanted: bool | None, spec: str | None, progress: "Progress"
) -> dict[str, object]:
    """Add regions or bring them into step, at a price that is told before, or delete them; what `--json` says of it."""
    if wanted is False:
        note(f"{collection.path}: {'the regions are deleted' if collection.drop_regions() else 'there are no regions'}")
    if not wanted:
        return {}
    cost = collection.region_cost(spec)
    if cost.images:
        size, pictures = f"{cost.bytes / 1e6:,.1f} MB", f"{cost.images:,} images"
        note(f"regions of {pictures}: at most {cost.regions:,}, {size}, about {cost.seconds:,.0f} s")
    report = collection.add_regions(spec, progress)
    for key, why in report.unreadable.items():
        note(f"no regions of {printable(key)}: {why}")
    return {"regions": report.to_json()}


def _region_totals(collection: "Collection") -> dict[str, object]:
    """What `--json` says of a collection with regions: how many it has, of how many pictures, whatever a run added."""
    facts = collection.info().get("regions")
    return {"regions_total": {name: facts[name] for name in ("images", "regions")}} if facts else {}


def _refresh(collection: "Collection", paths: list[Path], encoders: list[str], run: Run) -> "IndexReport":
    """Bring a part of a collection into step; a name of an encoder that it does not have asks for the whole."""
    missing = [name for name in encoders if name not in collection.sets]
    if missing:
        way = command("index", collection.folder, "--encoder", missing[0])
        raise LookalikeError(f"{collection.path} has no vectors of {missing[0]}; add them to the whole: {way}")
    report = collection.refresh(paths, run.progress, run.allow_removals)
    for table in run.meta:
        read, used = collection.attach(table)
        note(f"{table}: {used:,} of {counted(read, 'line')} name an image here")
    return report


def _is_another(collection: "Collection", name: str) -> bool:
    """Whether the vectors of this encoder are not the collection's own; decided by its weights, not by its spelling."""
    from lookalike.collection.collection import Collection
    from lookalike.errors import EncoderMismatch

    if name == collection.store.header.encoder:
        return False
    if name in collection.sets:
        return True
    try:
        with Collection(collection.path, name) as same:
            same.encoder  # noqa: B018 - raises where its vectors are others
    except EncoderMismatch:
        return True
    return False


@app.command(epilog="Example: lookalike whiten ~/Pictures --dim 512")
def whiten(
    path: CollectionPath,
    dim: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Shorten vectors to this length; default: all that vary.")
    ] = None,
    power: Annotated[float, typer.Option(metavar="NUMBER", min=0, max=1, help="1 whitens, 0 only turns.")] = 1.0,
    shrinkage: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=1, help="Move variances towards their mean.")
    ] = 0.0,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="OTHER", help="Learn from this collection, of the same encoder.")
    ] = None,
) -> None:
    """Let all directions of the vectors count alike (PCA whitening), here and for every query from now on."""
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        before = collection.info()["dim"]
        learned = collection.whiten(dim, power, shrinkage, source)
        count = counted(len(collection), "vector")
        say(f"{collection.path}: {count} whitened, from {before} to {learned.dim} numbers each")
