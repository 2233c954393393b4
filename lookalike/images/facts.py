"""An image file to what it says of itself: when and where it was taken, with which camera, and how it is stored.

What is damaged, impossible or missing is None. Nothing is taken from the file's name or time.
"""

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from PIL import Image

from lookalike.images import exif, raw, tiff, xmp
from lookalike.images.exif import Tags, Value
from lookalike.images.xmp import Rating, Xmp

LONGEST = 200
"""Letters of a text."""
EARLIEST = 1801
"""Years before are mistakes; there were no photos."""
OFFSET = re.compile(r"([+-])([0-9]{1,2}):?([0-9]{2})")
MOMENT = re.compile(
    r"([0-9]{4})[:/.-]([0-9]{1,2})[:/.-]([0-9]{1,2})"
    r"(?:[T ]+([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]+))?)?\s*(Z|[+-][0-9]{1,2}:?[0-9]{2})?)?"
)
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
"""As Pillow finds it."""
FURTHEST = 16
"""Hours from UTC; the furthest zone is at 14."""
MANY_ISO = 65535
"""The largest that the old tag for the sensitivity can hold: the newer tags have the number."""
NAMES = {"MPO": "JPEG", "DIB": "BMP"}
"""Formats that go by another name among people."""


@dataclass(frozen=True)
class PhotoFacts:
    """What an image file says of itself; None where it says nothing, or nothing that can be.

    `taken` is the time at the place of the photo, as ISO 8601 with the fraction of a second and the offset from UTC
    where they are known ("2019-07-14T12:30:05.25+02:00"). `exposure` is in seconds, `focal_length` in millimetres,
    `latitude` and `longitude` in degrees, north and east positive. `orientation` is that of EXIF, 1 to 8.
    `rating` (0 to 5, -1 for rejected), `label` and `keywords` are what a person said of it, in XMP.
    """

    taken: str | None = None
    camera: str | None = None
    lens: str | None = None
    focal_length: float | None = None
    iso: int | None = None
    exposure: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    format: str | None = None
    orientation: int | None = None
    has_alpha: bool | None = None
    software: str | None = None
    rating: Rating | None = None
    label: str | None = None
    keywords: tuple[str, ...] | None = None

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "PhotoFacts":
        """The inverse of `to_json`, with values of other types left out."""
        known: dict[str, Any] = {name: values[name] for name in KINDS if isinstance(values.get(name), KINDS[name])}
        if "keywords" in known:
            known["keywords"] = tuple(word for word in known["keywords"] if isinstance(word, str)) or None
        return cls(**known)

    def with_xmp(self, said: Xmp) -> "PhotoFacts":
        """With what a packet of XMP says, each value of which counts more than the one that is here."""
        rating = self.rating if said.rating is None else said.rating
        return replace(self, rating=rating, label=said.label or self.label, keywords=said.keywords or self.keywords)

    def to_json(self) -> dict[str, Any]:
        """The facts that are known, by name."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return known if self.keywords is None else known | {"keywords": list(self.keywords)}


KINDS: dict[str, tuple[type, ...]] = {
    "taken": (str,), "camera": (str,), "lens": (str,), "focal_length": (int, float), "iso": (int,),
    "exposure": (int, float), "latitude": (int, float), "longitude": (int, float), "format": (str,),
    "orientation": (int,), "has_alpha": (bool,), "software": (str,),
    "rating": (int, float), "label": (str,), "keywords": (list,),
}  # fmt: skip


def of_image(data: bytes, image: Image.Image) -> PhotoFacts:
    """The facts of a file and the image that it was decoded to."""
    is_tiff = tiff.is_tiff(data)
    block, packet = (data, exif.packet(data, xmp.MOST)) if is_tiff else (block_of(image), packet_of(image))
    shown, has_alpha = _format(data, image, is_tiff), image.has_transparency_data
    if not block and not packet:
        # Most pictures that were not taken with a camera.
        return PhotoFacts(format=shown, has_alpha=has_alpha)
    tags = exif.read(block)
    photo, place = tags.photo, tags.place
    facts = PhotoFacts(
        taken(photo) or _of_satellites(place),
        camera(photo),
        _text(photo.get(exif.LENS)),
        _positive(photo.get(exif.FOCAL_LENGTH)),
        _iso(photo),
        _positive(photo.get(exif.EXPOSURE)),
        _degrees(place, exif.LATITUDE, exif.LATITUDE_SIDE, "NS", 90),
        _degrees(place, exif.LONGITUDE, exif.LONGITUDE_SIDE, "EW", 180),
        shown,
        _original_orientation(image) or _orientation(photo),
        has_alpha,
        _text(photo.get(exif.SOFTWARE)),
    )
    return facts.with_xmp(xmp.read(packet)) if packet else facts


def packet_of(image: Image.Image) -> bytes:
    """The XMP in a file that is no TIFF; empty where there is none."""
    block = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(block, str):
        return block.encode("utf-8", "replace")
    return block if isinstance(block, bytes) else b""


def turned(image: Image.Image) -> int | None:
    """The orientation by which an open file that is no TIFF is to be turned; None where it says nothing of it.

    Pillow's own reader of EXIF copies what a hostile block names, in its earlier versions all of it.
    """
    value = exif.orientation(block_of(image))
    if value is not None:
        return _orientation({exif.ORIENTATION: value}) or 1
    packet = image.info.get("xmp")
    match = XMP_ORIENTATION.search(packet[: xmp.MOST]) if isinstance(packet, bytes) else None
    return int(match[1]) if match else None


def block_of(image: Image.Image) -> bytes:
    """The EXIF in a file that is no TIFF; empty where there is none."""
    block, text = image.info.get("exif"), image.info.get("Raw profile type exif")
    if isinstance(text, str) and not block:
        # As ImageMagick wrote it before PNG had a place for EXIF: after a name and a length, hexadecimal digits.
        try:
            block = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return b""
    return block if isinstance(block, bytes) else b""


def camera(photo: Tags) -> str | None:
    """Make and model, the make once: many models begin with it ("NIKON CORPORATION", "NIKON D90")."""
    make, model = _text(photo.get(exif.MAKE)), _text(photo.get(exif.MODEL))
    if not make or not model:
        return model or make
    is_named = model.lower().startswith(make.split()[0].lower())
    return model if is_named else f"{make} {model}"[:LONGEST]


def taken(photo: Tags) -> str | None:
    """When the photo was taken, as `PhotoFacts.taken`; only the date where there is no more."""
    value = photo.get(exif.TAKEN)
    match = MOMENT.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    *numbers, fraction, offset = match.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    date = _moment(year, month, day, hour, minute, second)
    if date is None or match[4] is None:
        return date and date[:10]
    return (
        date + _fraction(fraction or _text(photo.get(exif.FRACTION))) + _offset(offset or _text(photo.get(exif.OFFSET)))
    )


def _moment(*numbers: int) -> str | None:
    try:
        return datetime(*numbers).isoformat() if numbers[0] >= EARLIEST else None  # type: ignore[arg-type]
    except ValueError:
        return None


def _fraction(text: str | None) -> str:
    digits = re.match("[0-9]{0,9}", text or "")
    shown = digits[0].rstrip("0") if digits else ""
    return f".{shown}" if shown else ""


def _offset(text: str | None) -> str:
    if text == "Z":
        return "+00:00"
    match = OFFSET.fullmatch(text or "")
    if match is None or int(match[2]) >= FURTHEST or int(match[3]) >= 60:
        return ""
    return f"{match[1]}{int(match[2]):02}:{match[3]}"


def _of_satellites(place: Tags) -> str | None:
    """The time of GPS, which is UTC."""
    date, time = place.get(exif.GPS_DATE), place.get(exif.GPS_TIME)
    match = MOMENT.match(date.strip()) if isinstance(date, str) else None
    if match is None or not isinstance(time, tuple) or len(time) < 3 or not all(0 <= part < 100 for part in time[:3]):
        return None
    hour, minute, second = time[:3]
    moment = _moment(*(int(match[group]) for group in (1, 2, 3)), int(hour), int(minute), int(second))
    return moment and f"{moment}{_fraction(f'{second % 1:.3f}'[2:])}+00:00"


def _degrees(place: Tags, tag: int, side: int, letters: str, most: int) -> float | None:
    """Degrees, minutes and seconds to degrees; the second of the two letters is negative."""
    parts, letter = place.get(tag), place.get(side)
    letter = letter[:1].upper() if isinstance(letter, str) else ""
    if not isinstance(parts, tuple) or not letter or letter not in letters or not math.isfinite(parts[0]):
        return None
    # Some phones write 0/0 for no seconds.
    finite = [part if math.isfinite(part) else 0.0 for part in parts[:3]]
    degrees = sum(part / 60.0**power for power, part in enumerate(finite))
    if min(finite) < 0 or degrees > most:
        return None
    return round(-degrees if letter == letters[1] else degrees, 7)


def _positive(value: Value | None) -> float | None:
    number = float(value[0]) if isinstance(value, tuple) else 0.0
    return float(f"{number:.7g}") if math.isfinite(number) and number > 0 else None


def _iso(photo: Tags) -> int | None:
    old = _positive(photo.get(exif.ISO))
    if old is not None and old < MANY_ISO:
        return int(old)
    newer = _positive(photo.get(exif.ISO_SPEED)) or _positive(photo.get(exif.RECOMMENDED_ISO)) or old
    return int(newer) if newer else None


def _original_orientation(image: Image.Image) -> int | None:
    """That of a HEIC, whose decoder turns the picture and says so in its EXIF."""
    value = image.info.get("original_orientation")
    return value if isinstance(value, int) and value in range(1, 9) else None


def _orientation(photo: Tags) -> int | None:
    value = photo.get(exif.ORIENTATION)
    number = value[0] if isinstance(value, tuple) else 0
    return int(number) if number in range(1, 9) else None


def _text(value: Value | None) -> str | None:
    if not isinstance(value, str):
        return None
    if not value.isprintable():
        value = "".join(letter for letter in value if letter.isprintable())
    return value.strip()[:LONGEST] or None


def _format(data: bytes, image: Image.Image, is_tiff: bool) -> str | None:
    """The name of the format; RAW for a camera's raw file, also where a preview in it is shown."""
    if raw.is_raw(data[:32]) or (is_tiff and tiff.layout(data).is_raw):
        return "RAW"
    return NAMES.get(str(image.format), image.format)
