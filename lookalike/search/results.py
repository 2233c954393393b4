"""The results of a search: a list of hits that shows its pictures, where a person looks and only then."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from PIL.Image import Image

from lookalike.errors import ImageError, LookalikeError
from lookalike.images import decode as images
from lookalike.images.cards import Card, address
from lookalike.storage.origins import Origins
from lookalike.storage.store import Item
from lookalike.types import Hit
from lookalike.utils import notebook
from lookalike.utils.text import counted, printable

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("rank", "key", "path", "score", "confidence")


class Results(list[Hit]):
    """The results of a search, best first: a list, and what is known of the answer as a whole.

    A notebook shows it as a grid of thumbnails, which are read then.

    Parameters
    ----------
    results
        The hits.
    found
        Whether the best image of the collection shows the same thing as the query rather than not, also where an offset
        or a cut-off leaves it out; None where hits have no confidence.

    Examples
    --------
    >>> results = lookalike.open("photos").search("door.jpg", k=2)
    >>> results[0].key, [image.size for image in results.images()]
    ('door.jpg', [(64, 48), (64, 48)])
    """

    def __init__(self, results: Iterable[Hit] = (), found: bool | None = None) -> None:
        super().__init__(results)
        self.found = found

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> Hit: ...
    @overload
    def __getitem__(self, place: slice, /) -> "Results": ...
    def __getitem__(self, place: SupportsIndex | slice, /) -> "Hit | Results":
        if isinstance(place, slice):
            return Results(super().__getitem__(place), self.found)
        return super().__getitem__(place)

    def images(self, size: int | None = None) -> list[Image]:
        """The upright pictures of the hits, in their order.

        Parameters
        ----------
        size
            The longest side, in pixels; by default as large as the files are.

        Returns
        -------
        list of PIL.Image.Image
            RGB, one for each hit.

        Raises
        ------
        ImageError
            For a file that is gone or cannot be decoded.

        Examples
        --------
        >>> [image.size for image in lookalike.open("photos").search("door.jpg", k=2).images(32)]
        [(32, 24), (32, 24)]
        """
        return [hit.image if size is None else hit.thumbnail(size) for hit in self]

    def to_json(self) -> dict[str, Any]:
        """The hits as ``results`` of `lookalike search --json` has them, and ``found``: ready for `json.dumps`.

        Examples
        --------
        >>> lookalike.open("photos").search("door.jpg", k=1).to_json()["results"][0]["key"]
        'door.jpg'
        """
        return {"found": self.found, "results": [row(hit) for hit in self]}

    def to_pandas(self) -> "DataFrame":
        """A table with a line for each hit: rank, key, path, score, confidence.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        LookalikeError
            Where pandas is not installed.

        Examples
        --------
        >>> list(lookalike.open("photos").search("door.jpg", k=2).to_pandas()["rank"])
        [1, 2]
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise LookalikeError("to_pandas needs pandas: pip install pandas") from error
        return DataFrame([row(hit) for hit in self], columns=list(COLUMNS))

    def show(self) -> None:
        """Show the pictures: in a notebook, or in a terminal that shows pictures; elsewhere print a line for each hit.

        Examples
        --------
        >>> lookalike.open("photos").search("door.jpg", k=1).show()
           1   1.0000  door.jpg
        """
        if display := notebook.display():
            display.display(self)
            return
        from lookalike.images import terminal

        if seen := terminal.detect(sys.stdout):
            sys.stdout.write(terminal.grid(self.cards(), seen))
        sys.stdout.write("".join(f"{hit.rank:4d}  {hit.score:7.4f}  {printable(hit.key)}\n" for hit in self))
        sys.stdout.flush()

    def cards(self) -> list[Card]:
        """Each hit as a picture with a caption."""
        return [card(hit) for hit in self]

    def _repr_html_(self) -> str:
        from lookalike.images.html import gallery

        doubt = "; probably nothing like it here" if self.found is False else ""
        return gallery(f"{counted(len(self), 'image')}{doubt}", self.cards())


Hits = Results
"""The name that `Results` had first."""


@dataclass(frozen=True)
class StoredPicture:
    """Decodes an image of a collection, as its file is now; also after the collection was closed."""

    origins: Origins
    item: Item

    def __call__(self, size: int | None = None) -> Image:
        """The upright picture, its longer side at most `size`; raises ImageError."""
        return _decoded(self.origins.read(self.item), size)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process has no open archive, but the same files.
        return partial, (_of_file, self.origins.path(self.item))

    def __deepcopy__(self, _: Any) -> "StoredPicture":
        return self


def _of_file(path: Path | None, size: int | None = None) -> Image:
    if path is None:
        raise ImageError("inside an archive, or at a URL; search again in this process")
    return _decoded(images.read(path), size)


def _decoded(data: bytes, size: int | None) -> Image:
    if size is None:
        return images.decode(data).image
    # A draft keeps twice the side that is named.
    return images.thumbnail(images.decode(data, size=max(1, size // images.REDUCING_GAP)).image, size)


def card(hit: Hit) -> Card:
    """A hit as a picture with its rank, score and confidence."""
    sure = "" if hit.confidence is None else f" · {hit.confidence:.0%}"
    return Card(hit.key, hit.thumbnail, f"{hit.rank} · {hit.score:.4f}{sure}", link=address(hit.path, hit.key))


def row(hit: Hit) -> dict[str, Any]:
    """A hit, ready for JSON."""
    path = str(hit.path) if hit.path else None
    scores = {"score": hit.score, "confidence": hit.confidence, "box": hit.box and hit.box.corners()}
    return {"rank": hit.rank, "key": hit.key, "path": path, **scores}
