"""Old names of options: each works for one more release and prints the new name on stderr."""

from collections.abc import Sequence

from lookalike.cli.output import note

RENAMED = {"search": {"--filter": "--where", "--not": "--negative", "--not-text": "--negative-text"}}
"""Command to old names of its options and the new names."""


def current(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line with old names of options replaced by new ones; each is noted on stderr."""
    names = RENAMED.get(arguments[0], {}) if arguments else {}
    result: list[str] = []
    for at, argument in enumerate(arguments):
        if argument == "--":
            return [*result, *arguments[at:]]
        option, equals, value = argument.partition("=")
        if option in names:
            note(f"{option} is called {names[option]} now; the old name works for one more release")
        result.append(f"{names.get(option, option)}{equals}{value}")
    return result
