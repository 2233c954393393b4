"""Collections that have several vector sets to the sets in which they are asked as one."""

from collections.abc import Mapping

from lookalike.collection.collection import Collection
from lookalike.errors import CollectionError, EngineError, QueryError

Sets = Mapping[str, Collection]
"""Vector sets by the fingerprint of their encoder, the first one first."""


def in_common(collections: Mapping[str, Collection]) -> dict[str, Collection]:
    """Of each the vector set of an encoder that all have; the first one of each where there is none."""
    if len(set(map(_fingerprint, collections.values()))) == 1:
        return dict(collections)
    return _shared({name: _searchable(each) for name, each in collections.items()}) or dict(collections)


def sets_of_words(collections: Mapping[str, Collection]) -> dict[str, Collection]:
    """Of each the vector set that words are searched in, all of one encoder; raises QueryError where there is none."""
    first = {name: each.text_set for name, each in collections.items()}
    encoders = {_fingerprint(each): each.store.header.encoder for each in first.values()}
    if len(encoders) == 1:
        return first
    reading = {name: _reading(_searchable(each)) for name, each in collections.items()}
    shared = _shared(reading)
    if shared is None:
        raise QueryError(
            f"{' and '.join(collections)} read words by different encoders ({', '.join(encoders.values())}); "
            "index them with one that all have, or ask them one by one"
        )
    return shared


def _fingerprint(collection: Collection) -> str:
    return collection.store.header.fingerprint


def _shared(sets: Mapping[str, Sets]) -> dict[str, Collection] | None:
    """Of each the set of an encoder that all have, rather the first set of one than a further one."""
    firsts = [next(iter(own)) for own in sets.values() if own]
    for fingerprint in (*firsts, *next(iter(sets.values()))):
        if all(fingerprint in own for own in sets.values()):
            return {name: own[fingerprint] for name, own in sets.items()}
    return None


def _reading(sets: Sets) -> Sets:
    return {fingerprint: each for fingerprint, each in sets.items() if _reads_itself(each)}


def _reads_itself(collection: Collection) -> bool:
    """Whether its own encoder reads text, not only that of a further set."""
    try:
        return collection.text_set is collection
    except QueryError:
        return False


def _searchable(collection: Collection) -> Sets:
    """Those that can be searched: a further set that is damaged must not keep the first one from it."""
    try:
        sets = list(collection.sets.values())
    except (CollectionError, EngineError):
        sets = [collection]
    return {_fingerprint(each): each for each in sets if _opens(each)}


def _opens(collection: Collection) -> bool:
    try:
        collection.gallery  # noqa: B018 - opens the files
    except (CollectionError, EngineError):
        return False
    return True
