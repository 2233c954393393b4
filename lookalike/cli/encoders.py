"""The command that lists encoders, and fetches their weights."""

from typing import Annotated, Any

import typer

from lookalike.cli.app import AsJson, app
from lookalike.cli.output import note, print_json, say
from lookalike.errors import EncoderError
from lookalike.utils.text import meant

group = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(group, name="encoders")


@group.callback(invoke_without_command=True, epilog="Example: lookalike encoders")
def encoders(context: typer.Context, as_json: AsJson = False) -> None:
    """List the encoders: whether their weights are on this machine, their size and their licence."""
    if context.invoked_subcommand:
        return
    from lookalike.encoders import ENCODERS, default, weights

    rows = []
    for name in ENCODERS:
        state = "here" if weights.is_cached(name) else "to be fetched"
        if not weights.is_fetched(name):
            state = "needs no download"
        facts = weights.facts(name)
        rows.append(
            {
                "name": name,
                "weights": state,
                "default": name == default.FIRST,
                "license": facts.license if facts else None,
                "megabytes": facts.megabytes if facts else None,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        say(_line(row))
    note(
        "a local folder, a checkpoint, an ONNX file or a hub id (owner/name) is taken as well; options follow an @: "
        "dinov2-base@pool=gem, model.onnx@squash-256,mean=0.5,std=0.5"
    )


def _line(row: dict[str, Any]) -> str:
    size = "" if row["megabytes"] is None else f"{row['megabytes']:,} MB"
    default = " (the default)" if row["default"] else ""
    return f"{row['name']:20} {row['weights']:17} {size:>8}  {row['license'] or ''}{default}".rstrip()


@group.command(epilog="Example: lookalike encoders pull dinov2-base")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Encoders whose weights are fetched.")],
) -> None:
    """Fetch weights ahead of time, for use without a network."""
    from lookalike.encoders import ENCODERS, weights
    from lookalike.utils.progress import shown

    for name in names:
        if name in ENCODERS and not weights.is_fetched(name):
            say(f"{name}: needs no download")
            continue
        if name not in ENCODERS and name.count("/") != 1:
            raise EncoderError(f"{name}: no such encoder{meant(name, ENCODERS)}; there are {', '.join(weights.HUB)}")
        published = weights.model(name)
        if published.gated and not weights.is_cached(name):
            note(f"{name}: {published.license}, which restricts use; read it at {published.page}")
        with shown("bytes") as progress:
            say(f"{name}: {weights.pull(name, progress)}")
