"""The command that tells what images say of themselves, and reads it where that was not done yet."""

from typing import Annotated, Any

import typer

from lookalike.cli.app import AsJson, CollectionPath, app
from lookalike.cli.keys import as_key
from lookalike.cli.output import note, number, print_json, printable
from lookalike.utils.text import counted


@app.command(epilog="Example: lookalike facts ~/Pictures 2019/beach.jpg")
def facts(
    path: CollectionPath,
    key: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="Images of the collection; none: read all that is missing."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Read all images, also those that were read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say when, where and with what photos were taken; without KEY, read it of images that were indexed before.

    Filters of `lookalike search --where` test these facts. Nothing is embedded.
    """
    from lookalike.collection import collection as collections
    from lookalike.utils.progress import shown

    with collections.open(path) as collection:
        if key:
            known = {each: collection.facts(each) for each in (as_key(name, collection) for name in key)}
            print_json(known) if as_json else _print(known)
            return
        with shown("files") as progress:
            report = collection.read_facts(again, progress)
        summary = collection.info().get("facts", {})
    note(f"{counted(report.read, 'file')} read, {counted(report.unreadable, 'is', 'are')} gone, changed or damaged")
    if report.sidecars:
        note(f"{counted(report.sidecars, 'sidecar was', 'sidecars were')} new, changed or gone")
    print_json(summary) if as_json else print(f"{collection.path}: {printable(summed(summary))}")


def _print(known: dict[str, dict[str, Any]]) -> None:
    for key, values in known.items():
        print(printable(key))
        for name, value in values.items():
            shown = ", ".join(value) if isinstance(value, list) else number(value)
            print(f"  {name:12} {printable(shown)}")


def summed(summary: dict[str, Any]) -> str:
    """What the images of a collection say of themselves, in one line: ranges, and the commonest values with counts."""
    parts = [f"of {counted(summary.get('images', 0), 'image')}"]
    for name, value in summary.items():
        shown = name.replace("_", " ")
        if isinstance(value, list):
            least, most = map(number, value)
            parts.append(f"{shown}: {least}" if least == most else f"{shown}: {least} to {most}")
        elif isinstance(value, dict) and value:
            parts.append(f"{shown}: " + ", ".join(f"{text} ({count:,})" for text, count in value.items()))
    return "; ".join(parts)
