"""Adding images to a collection that is served, and removing them."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from lookalike.collection.collection import Collection
from lookalike.errors import CollectionLocked, ImageError, LookalikeError
from lookalike.images import decode as images
from lookalike.service.bodies import Upload
from lookalike.service.errors import ApiError, not_found, of_image, try_later
from lookalike.service.served import Served
from lookalike.storage import distinct, taken_out
from lookalike.storage.distinct import Pair
from lookalike.storage.store import Item
from lookalike.utils.files import write_whole

FOLDER = "uploads"
LONGEST = 60
EXTENSIONS = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif", "DIB": ".bmp", "HEIF": ".heic"}


def add(served: Served, files: Sequence[Upload]) -> list[Item]:
    """Store new images in the first folder of the collection and index them; raises ApiError, and then keeps none."""
    served.refuse_changes()
    names = [_checked(served, file) for file in files]
    with served.slots.lent(), served.writing:
        folder = _folder(served)
        written = []
        try:
            for file, name in zip(files, names, strict=True):
                if not _of_data(served, file.data):
                    written.append(_write(folder / name, file.data))
            if written:
                with _writer(served) as writer:
                    _readmit(writer, files)
                    writer.refresh(written)
        except (LookalikeError, OSError) as error:
            for path in written:
                path.unlink(missing_ok=True)
            if isinstance(error, CollectionLocked):
                raise
            raise try_later("not_stored", "the image could not be stored") from error
    items = [_of_data(served, file.data) for file in files]
    if not all(items):
        raise try_later("not_indexed", "the image was stored, but not indexed")
    return [item for item in items if item]


def _readmit(writer: Collection, files: Sequence[Upload]) -> None:
    """Whoever uploads an image wants it, even if it was taken out before."""
    contents = [hashlib.sha256(file.data).hexdigest() for file in files]
    if keys := taken_out.keys_of(writer.store, contents):
        writer.restore(keys)


def remove(served: Served, id_: str) -> str:
    """Remove an item; its key. Raises ApiError 404 where there is none."""
    served.refuse_changes()
    key = served.item(id_).key
    with served.slots.lent(), served.writing, _writer(served) as writer:
        writer.remove([key])
    return key


def mark(served: Served, a: str, b: str, same: bool) -> Pair:
    """Mark two items as the same thing or not; their contents. Raises ApiError."""
    items = served.item(a), served.item(b)
    contents = distinct.pair(items[0].sha256, items[1].sha256)
    if not all(contents):
        raise ApiError(422, "no_content", "the bytes of one of these were never read", "marks are kept by content")
    if contents[0] == contents[1]:
        raise ApiError(422, "same_file", "the two are the same file", "mark images that differ")
    _mark(served, contents, same)
    return contents


def unmark(served: Served, contents: Pair) -> None:
    """Forget a mark; raises ApiError 404 where there is none."""
    if contents not in {given.pair for given in served.single.marks()}:
        raise not_found("there is no such mark", "marks are those of GET /v1/marks")
    _mark(served, contents, None)


def _mark(served: Served, contents: Pair, same: bool | None) -> None:
    served.refuse_changes()
    with served.slots.lent(), served.writing, _writer(served) as writer:
        writer.mark_contents(contents, same)


def of_content(served: Served, sha256: str) -> Item | None:
    """The image of a content; None where it is not in the collection any more."""
    items = served.single.store.catalog.items_of_content(sha256)
    return next((item for item in items if not item.removed), None)


def safe_name(name: str, sha256: str, extension: str) -> str:
    """A file name of letters, digits and dashes, made of any name, and unique by the content of the file."""
    plain = unicodedata.normalize("NFKD", name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0])
    letters = re.sub(r"[^A-Za-z0-9]+", "-", plain.encode("ascii", "ignore").decode("ascii")).strip("-")
    return f"{letters[:LONGEST] or 'image'}-{sha256[:12]}{extension}".lower()


def _checked(served: Served, file: Upload) -> str:
    served.examiner.check(file.field, file.data, served.single.encoder.decode_size)
    try:
        kind = images.examine(file.data, served.settings.limits).format
    except ImageError as error:
        raise of_image(file.field, error) from error
    return safe_name(file.name, hashlib.sha256(file.data).hexdigest(), EXTENSIONS.get(kind, f".{kind.lower()}"))


def _folder(served: Served) -> Path:
    store, origins = served.single.store, served.single.gallery.origins
    for _, location, _ in store.catalog.sources():
        place = origins.locate(location)
        if place.is_dir():
            return place / FOLDER
    raise ApiError(422, "no_folder", "this collection has no folder to put images in", "index a folder into it")


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    # Under a hidden name first: a run that indexes meanwhile must not read half a file.
    write_whole(path, data, durable=False)
    return path


def _of_data(served: Served, data: bytes) -> Item | None:
    return of_content(served, hashlib.sha256(data).hexdigest())


def _writer(served: Served) -> Collection:
    return served.writer()
