"""Each tool: its checked arguments and a collection to one JSON document and some small pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookalike.analysis import duplicates as listing
from lookalike.analysis.duplicates import Group
from lookalike.analysis.explain import draw
from lookalike.collection.collection import Collection
from lookalike.images.decode import thumbnail, to_jpeg
from lookalike.search.query import Example, Key
from lookalike.service import answers
from lookalike.service.bodies import Upload
from lookalike.service.errors import ApiError, not_found
from lookalike.service.ids import key_text, to_id, to_key
from lookalike.service.mcp import folders
from lookalike.service.mcp.models import (
    ByPath,
    DuplicatesInput,
    ExplainInput,
    FactsInput,
    Indexed,
    OfCollection,
    Reference,
    SearchInput,
    SimilarInput,
)
from lookalike.service.mcp.shelf import Shelf
from lookalike.service.models import ById
from lookalike.service.queries import Search, is_heavy, to_box
from lookalike.service.routes.explain import explained
from lookalike.service.routes.items import encoded
from lookalike.service.served import Served
from lookalike.storage import photo_facts

SIDE = 224
"""The longer side of a small picture."""
DRAWN = 900
"""The longer side of the drawing of what matches."""
MATCHES = 12
"""Pairs of points that are listed; `inliers` counts all."""


@dataclass(frozen=True)
class Answer:
    """A JSON document, in which `thumbnail` numbers from 1 the JPEG pictures that come with it."""

    document: dict[str, Any]
    pictures: list[bytes] = field(default_factory=list)


def collections(shelf: Shelf) -> Answer:
    """What there is to be asked; nothing is loaded for it."""
    return Answer({"collections": [_about(name, collection) for name, collection in shelf.collections.items()]})


def _about(name: str, collection: Collection) -> dict[str, Any]:
    header = collection.store.header
    return {
        "name": name,
        "images": len(collection),
        "encoder": header.encoder,
        "reads_text": collection.reads_text,
        "folders": [key_text(str(folder.location.absolute())) for folder in folders.folders(collection)],
        "columns": sorted({column for _, column in collection.store.catalog.columns()}),
    }


def search(served: Served, arguments: SearchInput) -> Answer:
    """The images that look most like the query, as POST /v1/search answers."""
    queries, negatives = (_examples(served, each) for each in (arguments.queries(), arguments.negatives))
    return _pictured(served, answers.search(served, Search(queries, negatives, arguments)), arguments.thumbnails)


def similar(served: Served, arguments: SimilarInput) -> Answer:
    """The images that look most like one of the collection, without itself."""
    query = [ById(id=_id(served, arguments.image))]
    return _pictured(served, answers.search(served, Search(query, [], arguments.options())), arguments.thumbnails)


def _examples(served: Served, references: Sequence[Reference]) -> list[ById | Upload]:
    return [_example(served, reference) for reference in references]


def _example(served: Served, reference: Reference) -> ById | Upload:
    if isinstance(reference, ByPath):
        return Upload("path", "", folders.read(reference.path, served.single, served.settings.limits))
    return ById(id=_id(served, reference))


def _id(served: Served, reference: Indexed) -> str:
    """The id of an image; raises ApiError 404 that names a key which the collection does not have."""
    if isinstance(reference, ById):
        return reference.id
    if served.item_of(reference.key) is None:
        raise not_found(f"there is no image of the key {reference.key[:80]!a}", "keys are those in results")
    return to_id(reference.key)


def _pictured(served: Served, document: dict[str, Any], most: int) -> Answer:
    """A document with small pictures of its first results."""
    pictures: list[bytes] = []
    for number, result in enumerate(document["results"]):
        result["thumbnail"] = _number(served, result["id"], pictures) if number < most else None
    return Answer(document, pictures)


def _number(served: Served, id_: str, pictures: list[bytes]) -> int | None:
    """Add a small picture; its number from 1, or None where its file cannot be read any more."""
    try:
        item = served.item(id_)
        pictures.append(served.thumbnails.get(item.sha256, SIDE) or encoded(served, item, SIDE))
    except ApiError:
        return None
    return len(pictures)


def explain(served: Served, arguments: ExplainInput) -> Answer:
    """What matches between two pictures, drawn too."""
    example, id_, box = _example(served, arguments.query), _id(served, arguments.item), to_box(arguments.box)
    explanation, document = explained(served, example, id_, box)
    document["matches"] = document["matches"][:MATCHES]
    if not arguments.picture:
        return Answer(document)
    collection = served.collection
    query: Example = example.data if isinstance(example, Upload) else Key(to_key(example.id))
    sides = collection.picture(query, box), collection.picture(Key(to_key(id_)))
    return Answer(document, [to_jpeg(thumbnail(draw(explanation, *sides), DRAWN))])


def duplicates(served: Served, arguments: DuplicatesInput) -> Answer:
    """Groups of copies, the largest first, with a picture of the one to keep; nothing is moved."""
    groups = served.collection.duplicates(arguments.level, arguments.threshold, keep=arguments.keep)
    pictures: list[bytes] = []
    listed = [_group(served, group, pictures, arguments.thumbnails) for group in groups[: arguments.groups]]
    totals = {name: value for name, value in listing.as_json(groups).items() if name != "groups"}
    return Answer({"groups": listed, "total_groups": len(groups), **totals}, pictures)


def _group(served: Served, group: Group, pictures: list[bytes], most: int) -> dict[str, Any]:
    shown = _number(served, to_id(group.kept.item.key), pictures) if len(pictures) < most else None
    members = [
        answers.entry(member.item)
        | {"suggestion": listing.suggestion(member), "score": round(member.score, 6), "level": member.level}
        for member in group.members
    ]
    return {"reason": key_text(group.reason or "") or None, "thumbnail": shown, "members": members}


def facts(served: Served, arguments: FactsInput) -> Answer:
    """What the file of an image says of itself, or of how many which value is known."""
    if arguments.image is None:
        known = photo_facts.summary(served.single.store.catalog)
        hidden = () if served.settings.show_places else photo_facts.PLACES
        return Answer({name: value for name, value in known.items() if name not in hidden})
    document = answers.described(served, served.item(_id(served, arguments.image)))
    pictures: list[bytes] = []
    document["thumbnail"] = _number(served, document["id"], pictures) if arguments.thumbnails else None
    return Answer(document, pictures)


@dataclass(frozen=True)
class Tool:
    """A tool of one collection: what it takes, what it is for, and whether it may take long."""

    arguments: type[OfCollection]
    call: Callable[[Served, Any], Answer]
    text: str
    is_heavy: Callable[[Any], bool] = lambda _: False


TOOLS = {
    "search": Tool(
        SearchInput,
        search,
        "Find the images that look most like a picture (by key, or by path in an indexed folder), that fit words "
        "(where the encoder reads text), or both. Best first; score is a cosine, confidence the probability that "
        "the same thing is shown; found says whether the best is probably the same thing.",
        is_heavy,
    ),
    "similar": Tool(
        SimilarInput, similar, "Find the images that look most like one that is in the collection, without itself."
    ),
    "explain": Tool(
        ExplainInput, explain, "Say why two images look alike: what matches, and the drawing of it.", lambda _: True
    ),
    "duplicates": Tool(
        DuplicatesInput,
        duplicates,
        "List groups of copies of one picture, and which of each to keep. Levels above exact compare pixels, which "
        "may take minutes the first time. Nothing is moved or deleted.",
        lambda _: True,
    ),
    "facts": Tool(
        FactsInput,
        facts,
        "Say what the file of an image says of itself: when it was taken, camera, lens, size. Without an image: ranges "
        "and the commonest values of all, which `where` can test.",
    ),
}
