"""The command line in the tests' own process."""

from collections.abc import Callable

import pytest

from lookalike.cli import main

Run = Callable[..., tuple[int, str, str]]
"""Arguments to exit status, stdout and stderr."""


def status_of(*arguments: object) -> int:
    """The exit status of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code
