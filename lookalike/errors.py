"""The tree of errors; each message is a single line that names the thing, the value and the way out.

LookalikeError
├── ImageError            an image that cannot be used: a row in `skipped`, not the end of a run
├── SourceError           a folder, archive or list that cannot be read
├── CollectionError       a collection that is missing, damaged or of another version
│   ├── EncoderMismatch   made with another encoder, preprocessing or whitening
│   ├── CollectionLocked  another process is writing to it
│   └── EngineError       a search server that is away, refuses, or has other data than expected
├── EncoderError          weights that are missing or cannot be used, an unknown encoder
├── IndexSpecError        an index that FAISS cannot build, or a search that it cannot answer
├── QueryError            a query, filter or option that cannot be used
│   └── UnknownKey        a key that the collection does not have; a KeyError too
└── EvaluationError       a ground truth or a protocol that is incomplete or contradicts itself
"""


class LookalikeError(Exception):
    """Base class of all errors that lookalike raises on purpose; its message is a single line.

    Examples
    --------
    >>> try:
    ...     lookalike.open("nowhere")
    ... except lookalike.LookalikeError as error:
    ...     print(error)
    nowhere: no such folder or collection
    """


class ImageError(LookalikeError):
    """An image that cannot be used; the message is the short reason, as `Collection.skipped` lists it."""


class SourceError(LookalikeError):
    """A folder, archive, list or table that cannot be read."""


class CollectionError(LookalikeError):
    """A collection that is missing, damaged, locked, or of another version or encoder; or a file that is in the way."""


class EncoderMismatch(CollectionError):  # noqa: N818 - says what is wrong
    """The collection was made with another encoder, preprocessing or whitening."""


class CollectionLocked(CollectionError):  # noqa: N818
    """Another process is writing to the collection."""


class EngineError(CollectionError):
    """A search server that cannot be reached, refuses, or has other data than expected."""


class EncoderError(LookalikeError):
    """Weights that are missing or cannot be used, or an unknown encoder."""


class IndexSpecError(LookalikeError):
    """An index that cannot be built from its factory string, or that does not fit the collection."""


class QueryError(LookalikeError):
    """A query that cannot be resolved to a vector, or a filter, option or key that cannot be used."""


class UnknownKey(QueryError, KeyError):  # noqa: N818 - as KeyError
    """A key that the collection does not have, as ``collection[key]`` raises it."""

    def __str__(self) -> str:
        # A KeyError shows its message in quotation marks.
        return LookalikeError.__str__(self)


class EvaluationError(LookalikeError):
    """A ground truth or a protocol that is incomplete or contradicts itself."""
