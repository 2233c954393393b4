"""Pictures of the command line: a preview in the terminal, and pages of their own for the browser."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.output import note
from lookalike.errors import ImageError, LookalikeError
from lookalike.utils.files import PAGE, reason, refuse_other
from lookalike.utils.text import counted

if TYPE_CHECKING:
    from PIL.Image import Image

    from lookalike.analysis.duplicates import Groups
    from lookalike.analysis.explain import Explanation
    from lookalike.collection.collection import Collection
    from lookalike.collection.united import Collections
    from lookalike.images.cards import Card
    from lookalike.search.query import Query
    from lookalike.search.results import Results

MOST = 500
"""Results or groups on a page: more would be a file that no browser scrolls."""
SIDE = 256
"""The longer side of a thumbnail on a page, in pixels."""

Preview = Annotated[
    bool | None,
    typer.Option(
        "--preview/--no-preview",
        show_default=False,
        help="Pictures in the terminal: where it shows them, unless NO_COLOR is set; --preview draws them in any.",
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write one page with all pictures in it, as well.")
]
Open = Annotated[bool, typer.Option("--open", help="Show that page in the browser.")]


def preview(cards: "Callable[[], Sequence[Card]]", choice: bool | None) -> None:
    """Draw cards on a terminal that shows pictures; nothing where stdout is none."""
    if choice is False or (choice is None and os.environ.get("NO_COLOR")) or not sys.stdout.isatty():
        return
    from lookalike.images import terminal

    if seen := terminal.detect(sys.stdout, blocks=bool(choice)):
        sys.stdout.write(terminal.grid(cards(), seen))
        sys.stdout.flush()


def page_wanted(html: Path | None, is_shown: bool) -> Path | None:
    """Where a page is written: FILE, or a file of its own where it is only to be shown."""
    if html is None and is_shown:
        file, name = tempfile.mkstemp(".html", "lookalike-")
        os.close(file)
        return Path(name)
    return html


def write_page(file: Path, page: str, is_shown: bool) -> None:
    """Write a page, and show it in the browser where that is wanted."""
    refuse_other(file, PAGE)
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LookalikeError(f"{file} cannot be written ({reason(error)})") from error
    note(f"wrote {file}")
    if is_shown:
        open_address(file.absolute().as_uri())


def open_address(address: str) -> None:
    """Show an address in the browser, or say that there is none."""
    import webbrowser

    if not webbrowser.open(address):
        note(f"no browser could be opened; open {address} in one")


def search_page(query: "Query", results: "Results", collection: "Collection | Collections") -> str:
    """The pictures and words that were searched for, and the results."""
    from lookalike.images.html import document, safe, section

    words = [("with the words", query.text), ("but not", query.negative_text)]
    said = "".join(f"<p>{label} “{safe(text)}”</p>" for label, text in words if text)
    cards = [_query_card(example, "query", query, collection) for example in query.examples]
    cards += [_query_card(example, "negative", query, collection) for example in query.negatives]
    shown = results.cards()[:MOST]
    rest = f", the best {len(shown)} of them here" if len(shown) < len(results) else ""
    place, encoder = _place(collection)
    lead = f"{counted(len(results), 'result')}{rest}, of {counted(len(collection), 'image')} in {place}"
    doubt = "<p>Probably nothing like it here; these are only alike.</p>" if results.found is False else ""
    body = (section("Query", cards, SIDE) if cards else "") + said + doubt + section("Results", shown, SIDE)
    return document("Which images look like this one?", f"{lead}. A score is a cosine, by {encoder}.", body)


def _query_card(example: Any, kind: str, query: "Query", collection: "Collection | Collections") -> "Card":
    from lookalike.images import decode as images
    from lookalike.images.cards import Card

    box = query.box if kind == "query" else None

    def picture(size: int) -> "Image":
        try:
            return images.thumbnail(collection.picture(example, box), size)
        except LookalikeError as error:
            raise ImageError(str(error)) from error

    return Card(str(example), picture, "the query" if kind == "query" else "not like this", kind)


def _place(collection: "Collection | Collections") -> tuple[str, str]:
    """Where the images lie, and the encoder that scores them."""
    from lookalike.collection.collection import Collection

    if isinstance(collection, Collection):
        return str(collection.folder), collection.store.header.encoder
    return ", ".join(collection.collections), " and ".join(collection.encoders)


def duplicates_page(groups: "Groups", place: str) -> str:
    """A row for each group, the image to keep first."""
    from lookalike.analysis.duplicates import summary
    from lookalike.images.html import document, section

    rows = (
        section(f"Group {number}: {counted(len(group.members), 'image')}", group.cards(), SIDE)
        for number, group in enumerate(groups[:MOST], 1)
    )
    rest = f"; the first {MOST:,} groups are here" if len(groups) > MOST else ""
    frames = "<p>Frames: green is kept, dashed could go; without one, look at it first.</p>"
    return document(f"Duplicates in {place}", f"{summary(groups)}{rest}.", frames + "".join(rows))


def explain_page(explanation: "Explanation", query: str, key: str) -> str:
    """What two images have in common, drawn over both."""
    from lookalike.images.html import document, whole

    text = explanation.text()
    return document(f"{query} and {key}", f"{text}.", whole(explanation.drawn(), text))
