"""The encoder of a new collection where none is named: the best one whose weights can be had here and now."""

import functools
import logging

from lookalike.encoders import efficientnet, load_encoder, weights
from lookalike.errors import EncoderError
from lookalike.types import Encoder

FIRST = "dinov2-base"
WITHOUT_HUB = "efficientnet-lite0"
WITHOUT_WEIGHTS = "rootsift"

log = logging.getLogger(__name__)


def default_encoder() -> str:
    """The name of the encoder to use where the user named none.

    It is `dinov2-base` where its weights are on this machine or can be fetched; else `efficientnet-lite0`, whose
    weights are installed with this package; else `rootsift`, which has none. A line on stderr (a warning of the logger)
    says so where it is not the first. A collection that exists keeps its own encoder, whatever this returns.

    Examples
    --------
    >>> default_encoder() in ("dinov2-base", "efficientnet-lite0", "rootsift")
    True
    """
    if weights.is_cached(FIRST):
        return FIRST
    try:
        weights.pull(FIRST)
    except EncoderError as error:
        name = WITHOUT_HUB if efficientnet.available() else WITHOUT_WEIGHTS
        why = f"{FIRST} cannot be fetched ({error.why})" if isinstance(error, weights.Unavailable) else str(error)
        _tell(f"using {name}: {why}; `lookalike index FOLDER --encoder {FIRST}` adds its vectors later")
        return name
    return FIRST


def open_encoder(encoder: str | Encoder | None = None) -> Encoder:
    """An encoder that is open already, else the one of this name, else the default one, as "@pool=gem" with options."""
    if isinstance(encoder, Encoder):
        return encoder
    name = encoder or ""
    return load_encoder(f"{default_encoder()}{name}" if not name or name.startswith("@") else name)


@functools.cache
def _tell(line: str) -> None:
    """Log a line once, however many folders are indexed."""
    log.warning(line)
