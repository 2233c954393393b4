"""A run that others have measured too, to a verdict: does its mAP lie where theirs do?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENCODER = "dinov2-base"
"""As named with the options that the bands are of: class token, squashed to 224 x 224, fp32 (all of them defaults)."""
BANDS: dict[str, dict[str, tuple[float, float]]] = {
    "roxford5k": {"medium": (72.5, 73.7), "hard": (49.0, 52.0)},
    "rparis6k": {"medium": (90.0, 91.0), "hard": (78.0, 80.0)},
}
"""mAP in points by data set and setup: the DINOv2 paper's table 9 (72.9, 49.5, 90.3, 78.6) and independent runs."""

IMAGES = {"roxford5k": 4993, "rparis6k": 6322}
"""The gallery that the bands are of: whole, without the queries' photos and with nothing beside it."""


@dataclass(frozen=True)
class Check:
    """The mAP of a setup in points, and the band that it should lie in."""

    setup: str
    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the mAP lies in the band, its ends included."""
        return self.low <= self.value <= self.high

    def to_json(self) -> dict[str, Any]:
        """The check and its verdict."""
        band = {"low": self.low, "high": self.high}
        return {"setup": self.setup, "map": self.value, "band": band, "verdict": "inside" if self.inside else "outside"}

    def text(self) -> str:
        """One line: "hard 47.00, outside 49–52"."""
        return f"{self.setup} {self.value:.2f}, {'inside' if self.inside else 'OUTSIDE'} {self.low:g}–{self.high:g}"


def checks(dataset: str, encoder: str, images: int, maps: Mapping[str, float]) -> tuple[Check, ...]:
    """One check for each setup with a band; none for another encoder, data set or number of images."""
    bands = BANDS[dataset] if encoder == ENCODER and images == IMAGES.get(dataset) else {}
    return tuple(Check(setup, 100 * maps[setup], *band) for setup, band in bands.items() if setup in maps)


def verdict(made: tuple[Check, ...]) -> tuple[str, ...]:
    """The checks in words: a line, none without checks."""
    if not made:
        return ()
    figures = "; ".join(check.text() for check in made)
    meaning = (
        "as in the paper and in independent runs"
        if all(check.inside for check in made)
        else "others measure another figure with these weights: compare images, preprocessing and protocol"
    )
    return (f"check of {ENCODER}, whole queries, squashed to 224 x 224 (mAP): {figures}; {meaning}",)
