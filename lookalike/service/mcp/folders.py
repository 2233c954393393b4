"""A path that an assistant names to the bytes of an image in an indexed folder; whatever lies elsewhere is refused."""

from collections.abc import Iterator
from pathlib import Path

from lookalike.collection.collection import Collection
from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.decode import Limits
from lookalike.images.remote import is_remote
from lookalike.images.sources import Folder
from lookalike.service.errors import ApiError, of_image
from lookalike.storage.origins import Origins


def folders(collection: Collection) -> list[Folder]:
    """The indexed folders that are here, with what is passed over in each."""
    catalog, origins = collection.store.catalog, Origins(collection.store)
    places = [
        (origins.locate(place), catalog.ignored(id_)) for id_, place, _ in catalog.sources() if not is_remote(place)
    ]
    return [Folder(place, ignore) for place, ignore in places if place.is_dir()]


def read(text: str, collection: Collection, limits: Limits) -> bytes:
    """The bytes of an image file; raises ApiError 422 for a path outside the folders, 404 where no image is there.

    A link is followed first, and counts as what it leads to. What `index` passes over is not read either.
    """
    path = Path(text)
    if not text.isprintable() or ".." in path.parts:
        raise outside()
    inside = list(_inside(path, folders(collection)))
    if not inside:
        raise outside()
    file = next((file for folder, key in inside if (file := _image(folder, key)) is not None), None)
    if file is None:
        raise ApiError(404, "not_found", "path: no image of that name there", "`search` and `similar` take keys too")
    try:
        return images.read(file, limits)
    except ImageError as error:
        raise of_image("path", error) from error


def outside() -> ApiError:
    """The refusal that is the same whatever lies there."""
    return ApiError(422, "outside", "path: not in a folder of this collection", "`collections` lists the folders")


def _inside(path: Path, indexed: list[Folder]) -> Iterator[tuple[Folder, str]]:
    """The folders that a path lies in, each with the path in it; a relative path may lie in any."""
    for folder in indexed:
        if not path.is_absolute():
            yield folder, path.as_posix()
            continue
        for base in dict.fromkeys((folder.location.absolute(), folder.location.resolve())):
            if path.is_relative_to(base) and path != base:
                yield folder, path.relative_to(base).as_posix()


def _image(folder: Folder, key: str) -> Path | None:
    """The file itself, where `index` would read it; raises ApiError where a link leads out of the folder."""
    base = folder.location.resolve()
    try:
        file = (base / key).resolve(strict=True)
        if not file.is_relative_to(base):
            raise outside()
        is_image = file.is_file() and any(
            entry.reason is None for entry in folder.at(file.relative_to(base).as_posix())
        )
    except (OSError, ValueError, RuntimeError):
        # Missing, a circle of links, or a name that is no file's.
        return None
    return file if is_image else None
