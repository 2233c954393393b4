"""Keys of images to addresses of resources, and back: lookalike:///COLLECTION/KEY."""

from urllib.parse import quote, unquote_to_bytes

from lookalike.service.errors import ApiError, not_found
from lookalike.storage.store import from_blob, to_blob

SCHEME = "lookalike:///"
TEMPLATE = SCHEME + "{collection}/{+key}"
MIME = "image/jpeg"


def to_uri(collection: str, key: str) -> str:
    """The address of an image; what is no plain letter is escaped, but not the slashes of folders."""
    return f"{SCHEME}{quote(collection, safe='')}/{quote(to_blob(key))}"


def of_uri(uri: str) -> tuple[str, str]:
    """(collection, key) of an address; raises ApiError 404."""
    name, slash, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not slash or not key:
        raise unknown(uri)
    try:
        return unquote_to_bytes(name).decode(), from_blob(unquote_to_bytes(key))
    except UnicodeError as error:
        raise unknown(uri) from error


def unknown(uri: str) -> ApiError:
    """The 404 of an address that names no image."""
    return not_found(f"there is no image {uri[:120]!a}", f"addresses are {TEMPLATE}")
