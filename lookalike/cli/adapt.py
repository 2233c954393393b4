"""The command that fits a collection to its user's labels: adapt."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.app import AsJson, CollectionPath, app
from lookalike.cli.output import note, print_json, say
from lookalike.utils.text import command, counted

if TYPE_CHECKING:
    from lookalike.analysis.adapt import Adaptation
    from lookalike.analysis.cross_validation import Change
    from lookalike.analysis.refit import Refit
    from lookalike.collection.collection import Collection


@app.command(epilog="Example: lookalike adapt ~/Pictures --labels labels.csv --dry-run")
def adapt(
    path: CollectionPath,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A CSV or Parquet: images (`image`, `path` or `key`), and what they show (`label`)."
        ),
    ] = None,
    folders: Annotated[bool, typer.Option("--folders", help="Images of one folder show the same thing.")] = False,
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV or Parquet with columns a, b and same (1 or 0).")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="OTHER", help="Take the map that this collection has learned.")
    ] = None,
    marks: Annotated[
        bool, typer.Option("--marks", help="Images that were marked on the page as the same thing, or not.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure; change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Give the collection its former vectors back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn from labelled images what matters here, if that is proven to help; no image is embedded again."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    given = [labels, folders or None, pairs, source, marks or None, undo or None]
    if sum(value is not None for value in given) != 1:
        raise typer.BadParameter("give one of --labels, --folders, --pairs, --marks, --from and --undo")
    if undo and dry_run:
        raise typer.BadParameter("--dry-run does not go with --undo")
    with collections.open(path) as collection:
        with shown("vectors") as progress:
            if undo:
                return _undo(collection, collection.undo_adapt(progress), as_json)
            finding = collection.adapt(labels, folders, pairs, source, dry_run, progress, marks)
            sets = _sets(collection, finding, (labels, folders, pairs), marks) if dry_run and finding.gain else []
        if as_json:
            document = {"collection": str(collection.path), **finding.to_json()}
            return print_json({**document, "sets": [vars(entry) for entry in sets]} if sets else document)
        _print(collection, finding)
        if sets:
            _print_sets(sets)


@dataclass(frozen=True)
class SetFigures:
    """What the vectors of an encoder reach on the labelled images, as they are and adapted; its place in the costs."""

    encoder: str
    bytes_a_vector: int
    map: float
    adapted_map: float
    proven: bool
    pareto: bool = False


def _sets(
    collection: "Collection", finding: "Adaptation", given: tuple[Path | None, bool, Path | None], marks: bool
) -> list[SetFigures]:
    """The vector sets of a collection that has several, the best first; the first is measured already."""
    if len(collection.sets) < 2:
        return []
    entries = []
    for name, further in collection.sets.items():
        gain = (finding if further is collection else further.adapt(*given, dry_run=True, marks=marks)).gain
        assert gain is not None, "labels were given"
        header = further.store.header
        size = header.dim * {"float32": 4, "float16": 2, "int8": 1}[header.dtype] + 4 * (header.dtype == "int8")
        after = gain.map.after if gain.is_proven else gain.map.before
        entries.append(SetFigures(name, size, gain.map.before, after, gain.is_proven))
    best = [replace(entry, pareto=not any(_is_better(rival, entry) for rival in entries)) for entry in entries]
    return sorted(best, key=lambda entry: -entry.adapted_map)


def _is_better(rival: SetFigures, entry: SetFigures) -> bool:
    """Whether a set is at least as good and as small as another, and better in one."""
    mine, other = (rival.adapted_map, -rival.bytes_a_vector), (entry.adapted_map, -entry.bytes_a_vector)
    return mine != other and all(a >= b for a, b in zip(mine, other, strict=True))


def _print_sets(sets: list[SetFigures]) -> None:
    from lookalike.evaluation.report import aligned

    rows = [["on your photos", "mAP", "adapted", "bytes/vector", "best for its size"]]
    for entry in sets:
        adapted = f"{entry.adapted_map:.3f}" if entry.proven else "no gain"
        star = "★" if entry.pareto else ""
        rows.append([entry.encoder, f"{entry.map:.3f}", adapted, f"{entry.bytes_a_vector:,}", star])
    say(f"\n{aligned(rows)}")


def _undo(collection: "Collection", missing: int, as_json: bool) -> None:
    if as_json:
        return print_json({"collection": str(collection.path), "undone": True, "without_former_vector": missing})
    count = counted(len(collection), "vector is what it was", "vectors are what they were")
    say(f"{collection.path}: {count} before `adapt`")
    if missing:
        count = counted(missing, "image was", "images were")
        note(f"{count} added since; `{command('index', collection.folder)}` embeds them")


def _print(collection: "Collection", finding: "Adaptation") -> None:
    if gain := finding.gain:
        counts = f"{counted(finding.images, 'labelled image')}, {counted(finding.groups, 'group')} of two or more"
        counts += (
            f", {counted(finding.distractors, 'unlabelled image')} as wrong results" if finding.distractors else ""
        )
        say(f"{counts}; measured on groups that were held out, {counted(gain.queries, 'query', 'queries')}")
        say(f"mAP             {_changed(gain.map)}")
        say(f"first is right  {_changed(gain.first)}")
        if gain.is_proven:
            say(f"method          {gain.method}")
    if finding.unknown:
        note(counted(finding.unknown, "name is of no image here", "names are of no image here"))
    if finding.contradicting:
        count = counted(finding.contradicting, "image has", "images have")
        note(f"{count} contradicting labels, and {'was' if finding.contradicting == 1 else 'were'} left out")
    if finding.unusable:
        note(f"{counted(finding.unusable, 'image has', 'images have')} a vector that cannot be used")
    if finding.confidence:
        say(f"confidence      {_judged(finding.confidence)}")
    if finding.applied:
        say(f"{collection.path}: {counted(len(collection), 'vector')} mapped, to {finding.dim} numbers each")
    elif finding.gain is None or finding.gain.is_proven:
        say(f"{collection.path}: would be mapped; nothing changed (--dry-run)")
    else:
        say(f"{collection.path}: no gain; {'vectors are as they were' if finding.refitted else 'nothing changed'}")
    if finding.dry_run and finding.confidence and finding.confidence.to_store():
        say(f"{collection.path}: would have the confidence of these labels")
    if finding.refitted:
        say(f"{collection.path}: its confidence is that of {'these labels' if finding.confidence else 'the other'}")


def _judged(refit: "Refit") -> str:
    if refit.model is None:
        return f"none: {refit.shortfall}"
    figures = f"false found {refit.false_found:.1%}, kept {refit.kept:.1%}, calibration error {refit.error:.3f}"
    if refit.ordinary_found is not None:
        figures += f"; {refit.ordinary_found:.1%} of unlabelled images count as found"
    return f"none: {refit.shortfall} ({figures})" if refit.shortfall else figures


def _changed(change: "Change") -> str:
    interval = f"{change.low:+.3f} … {change.high:+.3f}"
    return f"{change.before:.3f} → {change.after:.3f}   {change.difference:+.3f} (95 %: {interval})"
