"""Commands that look at a collection as a whole: duplicates, label, map."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli.app import AsJson, CollectionPath, app
from lookalike.cli.output import note, print_json, printable, write
from lookalike.errors import LookalikeError
from lookalike.utils.files import reason

if TYPE_CHECKING:
    from lookalike.analysis.duplicates import Group

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
AsPaths = Annotated[bool, typer.Option("--paths", help="Print the paths that could go alone, one a line.")]
Chosen = Annotated[str | None, typer.Option("--encoder", metavar="NAME", help="Use the vectors of this encoder.")]


@app.command(epilog="Example: lookalike duplicates ~/Pictures --level near --move-to ~/Extras")
def duplicates(
    path: CollectionPath,
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="Find what of this collection is in the first one.")
    ] = None,
    level: Annotated[
        Literal["exact", "near", "similar"],
        typer.Option(help="The same bytes; the same picture in another file; also cropped or written on."),
    ] = "exact",
    threshold: Annotated[
        float | None, typer.Option(metavar="COSINE", help="Instead of a level: copies have at least this cosine.")
    ] = None,
    encoder: Chosen = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    paths: AsPaths = False,
    move_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Move what could go below DIR; without --yes, only say so.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really move.")] = False,
) -> None:
    """Find groups of images that are copies of one picture, and suggest which to keep."""
    from contextlib import ExitStack

    from lookalike.analysis import duplicates as listing
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    if as_json + as_csv + paths > 1:
        raise typer.BadParameter("--json, --csv and --paths exclude each other")
    if yes and move_to is None:
        raise typer.BadParameter("--yes goes with --move-to DIR")
    with ExitStack() as stack:
        folders = [path, other] if other else [path]
        searched = [stack.enter_context(collections.open(folder)).chosen(encoder) for folder in folders]
        with shown("comparisons") as progress:
            groups = searched[0].duplicates(level, threshold, searched[1] if other else None, progress)
        if as_json:
            print_json(listing.as_json(groups))
        elif as_csv:
            listing.write_csv(groups, sys.stdout)
        elif paths:
            for extra in listing.extra_paths(groups):
                write(str(extra), "\n")
        else:
            _print_groups(groups)
        if move_to:
            _move(groups, move_to, yes)


def _print_groups(groups: "list[Group]") -> None:
    for number, group in enumerate(groups, 1):
        print(f"group {number}: {len(group.members)} images")
        for member in group.members:
            size = f"{member.item.width} x {member.item.height}"
            mark = "keep " if member.keep else "extra"
            print(f"  {mark}  {member.score:6.4f}  {size:>13}  {printable(str(member.path or member.item.key))}")
    extras = [member for group in groups for member in group.extras]
    freed = sum(member.item.size for member in extras)
    note(f"{len(groups):,} groups, {len(extras):,} images could go, {freed / 1e6:,.1f} MB")


def _move(groups: "list[Group]", folder: Path, really: bool) -> None:
    from lookalike.analysis import move_files as moves

    planned = moves.plan(groups, folder)
    done = moves.execute(planned) if really else iter(planned)
    stayed = moved = 0
    for move in done:
        if move.reason:
            stayed += 1
            note(f"stays: {move.key}: {move.reason}")
        else:
            moved += 1
            note(f"{'moved' if really else 'would move'}: {move.source} to {move.target}")
    note(f"{moved:,} {'moved' if really else 'would be moved; --yes moves them'}, {stayed:,} stay")


@app.command(epilog="Example: lookalike label ~/Pictures --labels words.txt --out labels.csv")
def label(
    path: CollectionPath,
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="One label a line.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many labels an image gets at most.")] = 1,
    template: Annotated[
        list[str] | None, typer.Option(help='The sentence around a label, such as "a photo of a {}"; repeatable.')
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out labels below this cosine.")] = -1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, in place of CSV.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here, not on the screen.")] = None,
) -> None:
    """Give every image the labels that fit it best, without training; the collection needs an encoder that reads."""
    from lookalike.analysis import zero_shot as labelling
    from lookalike.collection import collection as collections

    words = labelling.read_labels(labels)
    templates = tuple(template or (labelling.TEMPLATE,))
    with collections.open(path) as collection, _output(out) as file:
        keys, best = collection.label(words, k, templates, min_score)
        if as_json:
            labelling.write_json(keys, best, file)
        else:
            labelling.write_csv(keys, best, file, min(k, len(words)))
    if out:
        note(f"wrote {out}")


@contextmanager
def _output(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
    except OSError as error:
        raise LookalikeError(f"{out} cannot be written ({reason(error)})") from error


@app.command("map", epilog="Example: lookalike map ~/Pictures --out map.html")
def map_(
    path: CollectionPath,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page that is written.")] = Path("map.html"),
    groups: Annotated[
        int | None, typer.Option(min=1, help="How many groups; default: by the number of images.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Show a random choice of this many where there are more.")] = 20_000,
    encoder: Chosen = None,
) -> None:
    """Draw all images on one page that zooms: similar ones together, in groups with a representative each."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(path) as collection, shown("images") as progress:
        count = collection.chosen(encoder).map(out, groups, most, progress)
    print(f"{out}: {count:,} images")
