"""The command line's root, and the arguments that several commands share."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperArgument, TyperGroup

from lookalike.cli import completion

PANELS = {
    "Start": ("index", "search", "serve", "demo", "mcp"),
    "Look at the whole": ("duplicates", "map", "label", "explain"),
    "Keep in order": (
        "info", "facts", "sources", "remove", "verify", "optimize", "compact", "whiten", "adapt",
    ),
    "Measure": ("encoders", "evaluate", "compare", "grid"),
    "Beyond one machine": ("embed", "merge", "export", "import"),
}  # fmt: skip
"""The commands as `lookalike --help` groups them."""
WIDEST = 120
"""Columns of a help text, where the terminal has as many."""


class Word(TyperArgument):
    """An argument that help names as people know it, without its Python type."""

    def display_type_rich(self, ctx: Any) -> None:
        """No type: the name says what to write."""


class Panels(TyperGroup):
    """Lists the commands in panels, each with its whole first sentence."""

    def __init__(self, **settings: Any) -> None:
        """Make words of the arguments of all commands, also of those in groups."""
        super().__init__(**settings)
        _show_words(self.commands.values())

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, and one for what is in none."""
        left = dict(self.commands)
        panels = [
            (title, [(name, left.pop(name)) for name in names if name in left]) for title, names in PANELS.items()
        ]
        for title, commands in [*panels, ("More", list(left.items()))]:
            if rows := [(name, _first_sentence(command.help)) for name, command in commands if not command.hidden]:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _show_words(commands: Iterable[Any]) -> None:
    for command in commands:
        for parameter in command.params:
            if isinstance(parameter, TyperArgument):
                # Typer makes every argument itself, and takes no class for them.
                parameter.__class__ = Word
        _show_words(getattr(command, "commands", {}).values())


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())
    sentence = paragraph.partition(". ")[0]
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


app = typer.Typer(
    cls=Panels,
    name="lookalike",
    help="Which images here look like this one? For any folder, without labels and without training.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more, such as the time of each stage.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """What stands before a command; `main` reads --quiet, --verbose and --debug, which may stand behind it too."""


CollectionPath = Annotated[
    Path,
    typer.Argument(
        metavar="COLLECTION", help="An indexed folder, or a collection.", autocompletion=completion.collections
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option(
        "--also",
        metavar="COLLECTION",
        help="Ask this one too, as if both were one.",
        autocompletion=completion.collections,
    ),
]
EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME", help="See `lookalike encoders`.", autocompletion=completion.encoders),
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cuda, mps or cpu for PyTorch; without it, a GPU if there is one.")
]
Precision = Literal["fp32", "int8", "auto"]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
