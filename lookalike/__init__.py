"""lookalike: which images here look like this one? For any folder, without labels and without training.

    import lookalike
    photos = lookalike.open("~/Pictures")
    photos.index()
    for hit in photos.search("query.jpg", k=5):
        print(hit.score, hit.path)

Importing the package loads no heavy library; each name is imported at its first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection, open
    from lookalike.collection.united import open_many
    from lookalike.encoders import load_encoder
    from lookalike.errors import (
        CollectionError,
        EncoderError,
        EvaluationError,
        ImageError,
        LookalikeError,
        QueryError,
        SourceError,
    )
    from lookalike.evaluation import evaluate
    from lookalike.types import Box, Encoder, Hit

__version__ = "0.1.0"

_HOMES = {
    "Collection": "lookalike.collection.collection",
    "open": "lookalike.collection.collection",
    "open_many": "lookalike.collection.united",
    "load_encoder": "lookalike.encoders",
    "evaluate": "lookalike.evaluation",
    "Box": "lookalike.types",
    "Encoder": "lookalike.types",
    "Hit": "lookalike.types",
    "CollectionError": "lookalike.errors",
    "EncoderError": "lookalike.errors",
    "EvaluationError": "lookalike.errors",
    "ImageError": "lookalike.errors",
    "LookalikeError": "lookalike.errors",
    "QueryError": "lookalike.errors",
    "SourceError": "lookalike.errors",
}

__all__ = [
    "Box",
    "Collection",
    "CollectionError",
    "Encoder",
    "EncoderError",
    "EvaluationError",
    "Hit",
    "ImageError",
    "LookalikeError",
    "QueryError",
    "SourceError",
    "evaluate",
    "load_encoder",
    "open",
    "open_many",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
