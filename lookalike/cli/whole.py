"""Commands that look at a collection as a whole: duplicates, label, map."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli import completion
from lookalike.cli.app import Also, AsJson, CollectionPath, app
from lookalike.cli.output import check_files, linked, note, print_json, printable, say, write
from lookalike.cli.pictures import Html, Open, duplicates_page, page_wanted, write_page
from lookalike.cli.search import many
from lookalike.errors import LookalikeError
from lookalike.utils.files import reason, refuse_other
from lookalike.utils.text import command, counted

if TYPE_CHECKING:
    from lookalike.analysis.duplicates import Group, Groups
    from lookalike.collection.collection import Collection

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
AsPaths = Annotated[bool, typer.Option("--paths", help="Print the paths that could go alone, one a line.")]
Chosen = Annotated[
    str | None,
    typer.Option(
        "--encoder", metavar="NAME", help="Use the vectors of this encoder.", autocompletion=completion.encoders
    ),
]


@app.command(epilog="Example: lookalike duplicates ~/Pictures --level near --move-to ~/Extras")
def duplicates(
    path: CollectionPath,
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="Find what of this collection is in the first one.")
    ] = None,
    level: Annotated[
        Literal["exact", "same", "near", "similar"],
        typer.Option(
            help="The same bytes; the same pixels; re-encoded or resized; also cropped, framed, turned, mirrored."
        ),
    ] = "exact",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE", help="The lowest cosine of pictures that are compared; with level exact, of copies."
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="RULE", help="Keep the best, oldest, newest or largest copy, or that of a PATTERN.")
    ] = "best",
    also: Also = None,
    encoder: Chosen = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    paths: AsPaths = False,
    null: Annotated[bool, typer.Option("-0", help="As --paths, each ended by a NUL byte, for `xargs -0`.")] = False,
    move_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Move what could go below DIR; without --yes, only say so.")
    ] = None,
    trash: Annotated[
        bool, typer.Option("--trash", help="Put what could go into the trash; without --yes, only say so.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really move.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what was moved or put into the trash.")] = False,
    told_apart: Annotated[
        tuple[str, str] | None,
        typer.Option("--not", metavar="A B", help="Remember that two images (keys or paths) are no duplicates."),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="With --not: forget it again.")] = False,
    html: Html = None,
    is_shown: Open = False,
) -> None:
    """Find groups of images that are copies of one picture, and suggest which to keep."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    if as_json + as_csv + paths + null > 1:
        raise typer.BadParameter("--json, --csv, --paths and -0 exclude each other")
    if also and (other or move_to or trash or told_apart or undo):
        raise typer.BadParameter("--also lists copies across collections; it does not go with OTHER, --not or moving")
    if yes and move_to is None and not trash:
        raise typer.BadParameter("--yes goes with --move-to DIR or --trash")
    if move_to is not None and trash:
        raise typer.BadParameter("--move-to and --trash exclude each other")
    if forget and told_apart is None:
        raise typer.BadParameter("--forget goes with --not A B")
    check_files(html)
    if undo or told_apart:
        _remember(path, told_apart, forget) if told_apart else _undo(path)
        return
    with ExitStack() as stack:
        find = _copies_in(stack, path, other, also, encoder)
        by_content = paths or null or trash or move_to is not None
        with shown("comparisons") as progress:
            groups = find(level, threshold, progress=progress, keep=keep, by_content=by_content)
        if file := page_wanted(html, is_shown):
            write_page(file, duplicates_page(groups, ", ".join(map(str, [path, *(also or ())]))), is_shown)
        _print_copies(groups, as_json, as_csv, (("\0" if null else "\n") if paths or null else None))
        if groups.unseen:
            note(
                f"{counted(groups.unseen, 'image')} could not be looked at, as their files are away, changed or "
                f"unreadable; nothing of them is called spare; `{command('sources', path)}` "
                "lists what is away"
            )
        if move_to or trash:
            _move(groups, move_to, yes, stack.enter_context(collections.open(path)))


def _print_copies(groups: "Groups", as_json: bool, as_csv: bool, path_end: str | None) -> None:
    from lookalike.analysis import duplicates as listing

    if as_json:
        print_json(listing.as_json(groups))
    elif as_csv:
        listing.write_csv(groups, sys.stdout)
    elif path_end is not None:
        for extra in listing.extra_paths(groups):
            write(str(extra), path_end)
    else:
        _print_groups(groups)


def _copies_in(
    stack: "ExitStack", path: Path, other: Path | None, also: Sequence[Path] | None, encoder: str | None
) -> "Callable[..., Groups]":
    """`duplicates` of one collection, of one against another, or of several as one."""
    from lookalike.collection import collection as collections

    if also:
        return stack.enter_context(many([path, *also], encoder)).duplicates
    first, *second = [
        stack.enter_context(collections.open(folder)).chosen(encoder) for folder in (path, other) if folder
    ]
    return partial(first.duplicates, other=second[0] if second else None)


def _remember(path: Path, images: tuple[str, str], forget: bool) -> None:
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        collection.not_duplicates(*images, forget)
    note(f"{images[0]} and {images[1]} {'may be duplicates again' if forget else 'are no duplicates'}")


def _undo(path: Path) -> None:
    from collections import Counter

    from lookalike.analysis.journal import ONLY_BY_HAND
    from lookalike.collection import collection as collections

    with collections.open(path) as collection:
        outcomes: Counter[str | None] = Counter()
        for entry, failed in collection.moves.undo():
            outcomes[failed] += 1
            if failed != ONLY_BY_HAND:
                note(f"stays away: {entry.source}: {failed}" if failed else f"put back: {entry.source}")
    if count := outcomes[ONLY_BY_HAND]:
        note(
            f"{counted(count, 'file is', 'files are')} in the trash, which only you can look into on this system: put "
            f"them back there; {collection.moves.path} lists where they lay"
        )
    note(f"{outcomes[None]:,} put back, {outcomes.total() - outcomes[None]:,} not")


def _print_groups(groups: "list[Group]") -> None:
    from lookalike.analysis.duplicates import suggestion, summary

    for number, group in enumerate(groups, 1):
        say(f"group {number}: {counted(len(group.members), 'image')}")
        for member in group.members:
            size = f"{member.item.width} x {member.item.height}"
            shown = linked(member.path, str(member.path or member.item.key))
            why = f"  ({printable(group.reason)})" if member is group.kept and group.reason else ""
            say(f"  {suggestion(member):5}  {member.score:6.4f}  {member.level or '':7}  {size:>13}  {shown}{why}")
    note(summary(groups))


def _move(groups: "list[Group]", folder: Path | None, really: bool, collection: "Collection") -> None:
    from lookalike.analysis import move_files as moves

    planned = moves.plan_trash(groups) if folder is None else moves.plan(groups, folder)
    carry_out = moves.execute_trash if folder is None else moves.execute
    done = carry_out(planned, collection.moves) if really else iter(planned)
    stayed = moved = 0
    for move in done:
        if move.reason:
            stayed += 1
            note(f"stays: {move.key}: {move.reason}")
        else:
            moved += 1
            note(f"{'moved' if really else 'would move'}: {move.source} to {move.target or 'the trash'}")
    note(f"{moved:,} {'moved' if really else 'would be moved; --yes moves them'}, {stayed:,} stay")
    if really and moved:
        note(f"`{command('duplicates', collection.folder, '--undo')}` puts them back")


@app.command(epilog="Example: lookalike label ~/Pictures --labels words.txt --out labels.csv")
def label(
    path: CollectionPath,
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="One label a line.")],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many labels an image gets at most.")] = 1,
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="SENTENCE", help='The sentence around a label, such as "a photo of a {}"; repeatable.'),
    ] = None,
    min_score: Annotated[float, typer.Option(metavar="COSINE", help="Leave out labels below this cosine.")] = -1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, in place of CSV.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here, not on the screen.")] = None,
) -> None:
    """Give every image the labels that fit it best, without training; the collection needs an encoder that reads."""
    from lookalike.analysis import zero_shot as labelling
    from lookalike.collection import collection as collections

    check_files(out)
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
    refuse_other(out, b"key")
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
        int | None, typer.Option(metavar="N", min=1, help="How many groups; default: by the number of images.")
    ] = None,
    most: Annotated[
        int, typer.Option(metavar="N", min=1, help="Show a random choice of this many where there are more.")
    ] = 20_000,
    encoder: Chosen = None,
) -> None:
    """Draw all images on one page that zooms: similar ones together, in groups with a representative each."""
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    check_files(out)
    with collections.open(path) as collection, shown("images") as progress:
        count = collection.chosen(encoder).map(out, groups, most, progress)
    say(f"{out}: {counted(count, 'image')}")
