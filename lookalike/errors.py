"""What can go wrong, as one small tree; each message names the thing, the value and the way out.

LookalikeError
├── ImageError            an image that cannot be used: a row in `skipped`, not the end of a run
├── SourceError           a folder, archive or list that cannot be read
├── CollectionError       a collection that is missing, damaged or of another version
│   ├── EncoderMismatch   made with another encoder, preprocessing or whitening
│   ├── CollectionLocked  another process is writing to it
│   └── EngineError       a search server that is away, refuses, or holds something else
├── EncoderError          weights that are missing or cannot be used, an unknown encoder
├── IndexSpecError        an index that FAISS cannot build, or a search that it cannot answer
├── QueryError            a query that cannot be made into a vector
└── EvaluationError       a ground truth or a protocol that does not hold together
"""


class LookalikeError(Exception):
    """Anything that lookalike refuses to do, said in one line."""


class ImageError(LookalikeError):
    """An image that cannot be used; the message is the short reason."""


class SourceError(LookalikeError):
    """A folder, archive or list that cannot be read."""


class CollectionError(LookalikeError):
    """A collection that is missing, damaged or of another version."""


class EncoderMismatch(CollectionError):  # noqa: N818 - named for what it says, as in the house plan
    """The collection was made with another encoder, preprocessing or whitening."""


class CollectionLocked(CollectionError):  # noqa: N818
    """Another process is writing to the collection."""


class EngineError(CollectionError):
    """A search server that cannot be reached, refuses, or holds something else than it should."""


class EncoderError(LookalikeError):
    """Weights that are missing or cannot be used, or an unknown encoder."""


class IndexSpecError(LookalikeError):
    """An index that cannot be built from its factory string, or that does not fit the collection."""


class QueryError(LookalikeError):
    """A query that cannot be made into a vector."""


class EvaluationError(LookalikeError):
    """A ground truth or a protocol that does not hold together."""
