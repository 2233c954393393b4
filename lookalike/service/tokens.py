"""Who may ask: a token in a header for programs, a cookie that proves it for the page; compared in constant time."""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

COOKIE = "lookalike_session"
COOKIE_SECONDS = 30 * 24 * 3600


def session(token: str) -> str:
    """What the cookie holds: made from the token, which it does not give away."""
    return hmac.new(token.encode(), b"lookalike session", hashlib.sha256).hexdigest()


def matches(token: str, given: str) -> bool:
    """Whether a login gives the right token."""
    return hmac.compare_digest(_digest(token), _digest(given))


def is_allowed(token: str, authorization: str | None, cookie: str | None) -> bool:
    """Whether a request's headers show the token, or the cookie that a login with it set."""
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and matches(token, given.strip()):
        return True
    return matches(session(token), _cookie(cookie or ""))


def set_cookie(token: str, secure: bool) -> str:
    """The Set-Cookie header of a login; no script can read it, and no other site can make a browser send it."""
    flags = "; Secure" if secure else ""
    return f"{COOKIE}={session(token)}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{flags}"


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _digest(text: str) -> bytes:
    # Of one length, whatever was sent.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
