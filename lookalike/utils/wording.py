"""What pydantic finds wrong with a value, in plain words: the value, and what to give instead."""

import json
from collections.abc import Mapping
from typing import Any

WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string_type": "text",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "greater_than": "more than {gt:g}",
    "less_than": "less than {lt:g}",
    "too_short": "at least {min_length:,} of them",
    "too_long": "at most {max_length:,} of them",
    "string_too_short": "a length of at least {min_length:,}",
    "string_too_long": "a length of at most {max_length:,}",
    "string_pattern_mismatch": "what fits {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""What a value must be, by the type of the finding, or by its first word."""
LONGEST = 40
"""Letters of a value that are repeated."""


def wording(finding: Mapping[str, Any]) -> str:
    """The words for one of the findings of `ValidationError.errors()`.

    Examples
    --------
    >>> wording({"type": "greater_than_equal", "input": 0, "ctx": {"ge": 1}, "msg": ""})
    '0 cannot be used; give 1 or more'
    >>> wording({"type": "int_parsing", "input": "many", "msg": ""})
    "'many' cannot be used; give a whole number"
    """
    kind, message = finding["type"], str(finding["msg"])
    if kind == "missing":
        return "missing; it must be given"
    if kind == "extra_forbidden":
        return "there is no such field; leave it out"
    if kind in ("value_error", "assertion_error"):
        return message.partition(", ")[2].rstrip(".")
    wanted = WANTED.get(kind) or WANTED.get(kind.partition("_")[0]) or message.removeprefix("Input should be ")
    return f"{_shown(finding.get('input'))} cannot be used; give {wanted.format(**finding.get('ctx') or {})}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}...")
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,}"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:LONGEST]
    return "an object" if isinstance(value, Mapping) else "this"
