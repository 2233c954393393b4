"""Keys to the ids in addresses, and back.

A key is unique and outlives a rebuild, which a row number does not, but it may hold slashes, newlines and bytes that
are not UTF-8. Its base64url has no character that an address, a log or a proxy could misread.
"""

import base64
import binascii

from lookalike.service.errors import ApiError, not_found
from lookalike.storage.store import from_blob, to_blob


def to_id(key: str) -> str:
    """A key as base64url without padding."""
    return base64.urlsafe_b64encode(to_blob(key)).rstrip(b"=").decode("ascii")


def to_key(id_: str) -> str:
    """The inverse of `to_id`; raises ApiError 404 for what cannot be an id."""
    try:
        blob = base64.b64decode(id_ + "=" * (-len(id_) % 4), altchars=b"-_", validate=True)
        key = from_blob(blob)
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise unknown(id_) from error
    if to_id(key) != id_:
        raise unknown(id_)
    return key


def key_text(key: str) -> str:
    """A key as valid text, for people: bytes that are not UTF-8 become U+FFFD."""
    return to_blob(key).decode("utf-8", "replace")


def unknown(id_: str) -> ApiError:
    """The 404 of an id that names no item."""
    return not_found(f"there is no item {id_[:80]!a}", "ids are those in search results")
