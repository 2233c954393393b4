"""Keys to the ids that stand in addresses, and back.

A key is unique and outlives a rebuild, which a row number does not, but it may hold slashes, newlines and bytes that
are no UTF-8. Its base64url holds nothing that an address, a log or a proxy could misread.
"""

import base64
import binascii

from lookalike.service.errors import ApiError, not_found
from lookalike.storage.store import from_blob, to_blob


def to_id(key: str) -> str:
    """A key as one word of an address."""
    return base64.urlsafe_b64encode(to_blob(key)).rstrip(b"=").decode("ascii")


def to_key(id_: str) -> str:
    """The inverse of `to_id`; raises not_found for what cannot be an id."""
    try:
        blob = base64.b64decode(id_ + "=" * (-len(id_) % 4), altchars=b"-_", validate=True)
        key = from_blob(blob)
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise unknown(id_) from error
    if to_id(key) != id_:
        raise unknown(id_)
    return key


def shown(key: str) -> str:
    """A key as text that is always valid: bytes that are no UTF-8 become question marks."""
    return to_blob(key).decode("utf-8", "replace")


def unknown(id_: str) -> ApiError:
    """404 for an item."""
    return not_found(f"there is no item {id_[:80]!a}", "ids are those in search results")
