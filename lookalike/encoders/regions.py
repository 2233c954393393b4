"""Pictures to vectors of their parts: the seam between a collection's regions and whatever chooses and encodes them."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, Protocol

from PIL.Image import Image

from lookalike.encoders.maps import map_encoder
from lookalike.errors import EncoderError
from lookalike.types import Box, Encoder, Vectors

SPECS = {
    "grid": "lookalike.encoders.region_crops:Grid",
    "pooled": "lookalike.encoders.region_windows:Pooled",
}
"""Names of specs to what chooses and encodes parts; fields with plain defaults are their options."""
LARGEST = 2048
"""No option of a spec is larger."""
LEAST = {"size": 56}
"""The smallest value of an option, where that is not 1: of fewer pixels an encoder sees nothing."""
Regions = tuple[list[Box], Vectors]
"""The parts of a picture, in its pixels, and their unit rows (len(boxes), dim)."""


class RegionEncoder(Protocol):
    """Pictures to the vectors of their parts, in the space of the encoder behind it (with its whitening)."""

    @property
    def spec(self) -> str:
        """The canonical text of what it does: equal specs choose equal parts."""
        ...

    @property
    def name(self) -> str:
        """The name of the encoder and the spec."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of the encoder's fingerprint and the spec; rows with different ones are never compared."""
        ...

    @property
    def dim(self) -> int:
        """The length of its vectors: the encoder's."""
        ...

    @property
    def most(self) -> int:
        """So many parts has a picture at most; it has at least one."""
        ...

    @property
    def passes(self) -> float:
        """How long a picture takes at most, in times of the encoder for a whole one."""
        ...

    @property
    def decode_size(self) -> int | None:
        """As the encoder's: a picture may be reduced until its shorter side has this many pixels; None: full size."""
        ...

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> Any:
        """An upright RGB picture to what `encode_batch` takes; called from several threads at once."""
        ...

    def encode_batch(self, prepared: Sequence[Any]) -> list[Regions]:
        """For each picture its parts, in pixels of the image that was prepared."""
        ...


def region_encoder(encoder: Encoder, spec: str | None = None) -> RegionEncoder:
    """The parts of pictures as `spec` says, encoded by `encoder`; raises EncoderError for a spec that is none.

    "pooled,most=8" names options. None is `pooled` where the encoder has a map whose windows have vectors, else `grid`.
    """
    method, options = read_spec(spec or default_spec(encoder))
    made: RegionEncoder = method(encoder, **options)
    return made


def read_spec(spec: str) -> tuple[Any, dict[str, int]]:
    """What encodes parts as `spec` says, and its options; raises EncoderError for a spec that is none."""
    name, *parts = (part.strip() for part in spec.split(","))
    if name not in SPECS:
        raise EncoderError(f"{name!r}: no such spec of regions; there are {', '.join(SPECS)}")
    module, _, attribute = SPECS[name].partition(":")
    method = getattr(import_module(module), attribute)
    return method, _options(method, name, parts)


def default_spec(encoder: Encoder) -> str:
    """The spec of regions where none is named."""
    return "pooled" if map_encoder(encoder) else "grid"


def _options(method: Any, name: str, parts: Sequence[str]) -> dict[str, int]:
    """All options are whole numbers, within the bounds of each."""
    known = [field.name for field in fields(method) if field.default is not MISSING]
    values: dict[str, int] = {}
    for part in parts:
        key, _, text = (piece.strip() for piece in part.partition("="))
        if key not in known or key in values or not text.isdecimal():
            offered = f"takes {', '.join(f'{option}=N' for option in known)}" if known else "takes no options"
            raise EncoderError(f"regions {name}: {part!r} is no option; it {offered}")
        least = LEAST.get(key, 1)
        if not least <= int(text) <= LARGEST:
            raise EncoderError(f"regions {name}: {key} = {text} is not between {least} and {LARGEST}")
        values[key] = int(text)
    return values
