"""Options in an encoder's name to changes of a `Processor`: `squash-224,mean=0.5,std=0.5,order=bgr`."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from lookalike.encoders.processor import LARGEST_SIDE, Processor
from lookalike.errors import EncoderError

FILTERS = {name: Image.Resampling[name.upper()] for name in "nearest box bilinear hamming bicubic lanczos".split()}
ORDERS = {"rgb": False, "bgr": True}


def changed(processor: Processor, options: Mapping[str, str]) -> Processor:
    """The processor with what the options say; raises EncoderError for a value that they cannot have."""
    changes: dict[str, Any] = {}
    if "preprocess" in options:
        changes |= geometry(options["preprocess"])
    if "mean" in options:
        changes["mean"] = _three("mean", options["mean"])
    if "std" in options:
        changes["std"] = _three("std", options["std"])
    if "factor" in options:
        changes["factor"] = _number("factor", options["factor"])
    if "order" in options:
        changes["flip"] = ORDERS[one_of("order", options["order"], ORDERS)]
    if "resample" in options:
        changes["resample"] = FILTERS[one_of("resample", options["resample"], FILTERS)]
    return replace(processor, **changes)


def geometry(text: str) -> dict[str, Any]:
    """`squash-N`, `pad-N` (or `-WxH`) and `crop-N` to fields of `Processor`; raises EncoderError."""
    match = re.fullmatch(r"(squash|crop|pad)-([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if not match or (match[1] == "crop" and match[3]):
        raise EncoderError(
            f"preprocessing {text!r} is none of squash-N, crop-N, pad-N (in pixels), squash-WxH, pad-WxH"
        )
    size = int(match[2]), int(match[3] or match[2])
    # A cropped picture's shorter side is 256 / 224 of the crop.
    if max(size) * (256 / 224 if match[1] == "crop" else 1) > LARGEST_SIDE:
        raise EncoderError(f"preprocessing {text}: sides have at most {LARGEST_SIDE} pixels, before a crop too")
    if match[1] == "crop":
        return {"resize": round(size[0] * 256 / 224), "crop": size, "pad": False}
    return {"resize": size, "crop": None, "pad": match[1] == "pad"}


def one_of(key: str, value: str, choices: Mapping[str, object]) -> str:
    """The value; raises EncoderError where it is none of the choices."""
    if value not in choices:
        raise EncoderError(f"{key} {value!r} is none of {', '.join(choices)}")
    return value


def _three(key: str, text: str) -> tuple[float, ...]:
    numbers = tuple(_number(key, part) for part in text.split(":"))
    if len(numbers) not in (1, 3):
        raise EncoderError(f"{key} {text!r} is neither one number nor three with colons, as in 0.5:0.5:0.5")
    return numbers if len(numbers) == 3 else numbers * 3


def _number(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (number == 0 and key != "mean"):
        raise EncoderError(f"{key} {text!r} is no number that can be used")
    return number
