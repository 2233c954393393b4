"""A packet of XMP, in a file or beside it, to a rating, a label and keywords; of a hostile one, little is read.

Document types are refused, so there are no entities to expand and none to fetch. Bytes, elements, depth and texts have
bounds; what was read before one is met counts.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from xml.parsers import expat

MOST = 4 * 1024 * 1024
"""Bytes that are read."""
ELEMENTS = 20_000
DEEPEST = 64
LONGEST = 200
"""Letters of a text."""
KEYWORDS = 500
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
BASIC = "http://ns.adobe.com/xap/1.0/"
SUBJECT = "http://purl.org/dc/elements/1.1/ subject"
ROOT, DESCRIPTION, ITEM = f"{RDF} RDF", f"{RDF} Description", f"{RDF} li"
LISTS = (f"{RDF} Bag", f"{RDF} Seq", f"{RDF} Alt")
NAMES = {f"{BASIC} Rating": "rating", f"{BASIC} Label": "label"}
REJECTED, BEST = -1, 5
"""The lowest rating, of pictures that are to be thrown away, and the highest."""
Rating = int | float


@dataclass(frozen=True)
class Xmp:
    """What a person said of a picture; `rating` is 1 to 5, 0 for none given, or -1 for rejected."""

    rating: Rating | None = None
    label: str | None = None
    keywords: tuple[str, ...] = ()


def read(packet: bytes) -> Xmp:
    """What a packet says; nothing for one that cannot be read."""
    if not packet:
        return Xmp()
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    # At once: a token that spans several parts would be read again for each.
    with suppress(expat.ExpatError, _Enough, ValueError, LookupError):
        parser.Parse(packet[:MOST].strip(b"\0"), True)
    return reader.result()


class _Enough(Exception):  # noqa: N818 - the end of reading, not an error
    """More than is read of any packet, or a document type."""


def _refuse(*_: object) -> None:
    raise _Enough


@dataclass
class _Reader:
    """The open elements, and the values found so far."""

    path: list[str] = field(default_factory=list)
    elements: int = 0
    letters: str = ""
    values: dict[str, str] = field(default_factory=dict)
    keywords: dict[str, None] = field(default_factory=dict)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        self.elements += 1
        self.letters = ""
        if self.elements > ELEMENTS or len(self.path) > DEEPEST:
            raise _Enough
        if self.path[-2:] == [ROOT, DESCRIPTION]:
            for attribute, kind in NAMES.items():
                if attribute in attributes:
                    self.values.setdefault(kind, attributes[attribute])

    def text(self, letters: str) -> None:
        # A blank before and after it may be longer than the text.
        self.letters = (self.letters + letters).lstrip()[: 2 * LONGEST]

    def end(self, name: str) -> None:
        if self.path[-3:-1] == [ROOT, DESCRIPTION] and name in NAMES:
            self.values.setdefault(NAMES[name], self.letters)
        elif name == ITEM and self.path[-5:-2] == [ROOT, DESCRIPTION, SUBJECT] and self.path[-2] in LISTS:
            self._add(_text(self.letters))
        self.letters = ""
        self.path.pop()

    def _add(self, keyword: str) -> None:
        if keyword and len(self.keywords) < KEYWORDS:
            self.keywords[keyword] = None

    def result(self) -> Xmp:
        rating, label = self.values.get("rating", ""), self.values.get("label", "")
        return Xmp(_rating(rating), _text(label) or None, tuple(self.keywords))


def _text(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * LONGEST])
    return " ".join(plain.split())[:LONGEST].strip()


def _rating(text: str) -> Rating | None:
    try:
        number = float(text[:20])
    except ValueError:
        return None
    if not math.isfinite(number) or not REJECTED <= number <= BEST:
        return None
    return int(number) if number == int(number) else round(number, 2)
