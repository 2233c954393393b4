"""The examples in public docstrings run, and print what they say."""

import doctest
import importlib

import pytest
from PIL import Image

import lookalike


@pytest.mark.parametrize(
    ("module", "examples"),
    [("types", 3), ("errors", 1), ("search.options", 1), ("search.query", 1)],
)
def test_the_examples_of_a_module_print_what_they_say(module: str, examples: int) -> None:
    results = doctest.testmod(
        importlib.import_module(f"lookalike.{module}"), extraglobs={"lookalike": lookalike, "Image": Image}
    )
    assert results.failed == 0
    assert results.attempted == examples
