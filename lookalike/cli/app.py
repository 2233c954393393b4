"""The command line's root, and the arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="lookalike",
    help="Which images here look like this one? For any folder, without labels and without training.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        from lookalike import __version__

        print(f"lookalike {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


CollectionPath = Annotated[Path, typer.Argument(metavar="COLLECTION", help="An indexed folder, or a collection.")]
Also = Annotated[
    list[Path] | None, typer.Option("--also", metavar="COLLECTION", help="Ask this one too, as if both were one.")
]
EncoderName = Annotated[str | None, typer.Option("--encoder", metavar="NAME", help="See `lookalike encoders`.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cuda, mps or cpu for PyTorch; without it, a GPU if there is one.")
]
Precision = Literal["fp32", "int8", "auto"]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
