"""Re-rankers: methods that reorder a first ranking. A table of their names, and a parser of specs."""

from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from lookalike.errors import QueryError
from lookalike.types import Reranker
from lookalike.utils.text import meant

RERANKERS = {
    "average-qe": "lookalike.search.rerank.expansion:AverageQE",
    "alpha-qe": "lookalike.search.rerank.expansion:AlphaQE",
    "dba": "lookalike.search.rerank.expansion:Augmentation",
    "k-reciprocal": "lookalike.search.rerank.graph:KReciprocal",
    "diffusion": "lookalike.search.rerank.graph:Diffusion",
    "superglobal": "lookalike.search.rerank.superglobal:SuperGlobal",
    "spatial": "lookalike.search.rerank.spatial:Spatial",
    "patches": "lookalike.search.rerank.patches:Patches",
    "region": "lookalike.search.rerank.region:Region",
}


def parse(spec: str) -> Reranker:
    """ "spatial,top=100" as a re-ranker; fields that are not named keep their defaults. Raises QueryError."""
    name, *parts = (part.strip() for part in spec.split(","))
    if name not in RERANKERS:
        raise QueryError(f"{name!r} is no re-ranking method{meant(name, RERANKERS)}; there are {', '.join(RERANKERS)}")
    module, _, attribute = RERANKERS[name].partition(":")
    method = getattr(import_module(module), attribute)
    defaults = {field.name: field.default for field in fields(method) if _is_plain(field.default)}
    values: dict[str, Any] = {}
    for part in parts:
        field, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or field not in defaults or field in values:
            raise QueryError(f"{spec}: {part!r} is none of its parameters; write {_example(name, defaults)}")
        values[field] = _value(spec, field, text, defaults[field])
    reranker: Reranker = method(**values)
    return reranker


def _is_plain(default: Any) -> bool:
    return default is not MISSING and isinstance(default, bool | int | float | str)


def _value(spec: str, field: str, text: str, default: Any) -> Any:
    """Text as a value of the type of the default; raises QueryError."""
    if isinstance(default, str):
        return text
    try:
        if isinstance(default, bool):
            return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError) as error:
        kind = {bool: "yes or no", int: "a whole number", float: "a number"}[type(default)]
        raise QueryError(f"{spec}: {field} is {kind}, not {text!r}") from error


def _example(name: str, defaults: dict[str, Any]) -> str:
    """A spec with every parameter at its default."""
    return ",".join([name, *(f"{field}={_text(default)}" for field, default in defaults.items())])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
