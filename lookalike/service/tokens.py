"""Access: a token in a header for programs, a cookie made from it for the page; compared in constant time."""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

COOKIE = "lookalike_session"
COOKIE_SECONDS = 30 * 24 * 3600


def session(token: str) -> str:
    """The value of the cookie: made from the token, which cannot be computed from it."""
    return hmac.new(token.encode(), b"lookalike session", hashlib.sha256).hexdigest()


def matches(token: str, candidate: str) -> bool:
    """Whether `candidate` is the token."""
    return hmac.compare_digest(_digest(token), _digest(candidate))


def is_allowed(token: str, authorization: str | None, cookie: str | None) -> bool:
    """Whether the headers of a request have the token, or the cookie that a login with it set."""
    scheme, _, candidate = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and matches(token, candidate.strip()):
        return True
    return matches(session(token), _cookie(cookie or ""))


def set_cookie(token: str, secure: bool, path: str = "/") -> str:
    """The Set-Cookie header of a login, for all below `path`.

    No script can read the cookie, and no other site can make a browser send it.
    """
    flags = "; Secure" if secure else ""
    return f"{COOKIE}={session(token)}; Path={path}; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{flags}"


def _cookie(header: str) -> str:
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _digest(text: str) -> bytes:
    # Of the same length, whatever was sent.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
