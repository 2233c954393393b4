"""The config beside an ONNX file, of transformers or of timm, to the steps by which its images are prepared."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from lookalike.encoders.files import CONFIG, PROCESSOR
from lookalike.encoders.processor import BAD_CONFIG, IMAGENET_MEAN, IMAGENET_STD, Processor, positive
from lookalike.errors import EncoderError

Config = Mapping[str, Any]
# Classes of transformers for which a bare number is the shorter side; for all others it is both sides.
SHORTER = ("CLIP", "ChineseCLIP", "Bit", "ConvNext", "Levit", "MobileNet", "MobileViT", "PoolFormer")
# From this size on, a ConvNeXT's images are squashed, not cropped.
SQUASHED = 384
UNSUPPORTED = (
    "do_pad", "do_thumbnail", "do_align_long_axis", "do_crop_margin", "do_grayscale", "do_image_splitting",
    "do_resize_and_pad", "rescale_offset",
)  # fmt: skip


def beside(graph: Path) -> Processor | None:
    """The steps in preprocessor_config.json, else in timm's config.json; None where there is neither.

    They lie in the folder of the graph, or in the one above where that is called `onnx`, as on the hub. Raises
    EncoderError, in one line, for a file that is damaged or wants steps that are not supported.
    """
    for folder in (graph.parent, *([graph.parent.parent] if graph.parent.name == "onnx" else [])):
        for name, steps in READERS.items():
            if (folder / name).is_file() and (processor := _read(folder / name, steps)):
                return processor
    return None


def _read(path: Path, steps: Callable[[Config], Processor | None]) -> Processor | None:
    try:
        return steps(json.loads(path.read_text(encoding="utf-8")))
    except BAD_CONFIG as error:
        reason = " ".join(str(error).split())[:100]
        raise EncoderError(f"{path} cannot be used ({type(error).__name__}: {reason})") from error


def _transformers(config: Config) -> Processor:
    """The keys of the many image processors as those of CLIP's."""
    config = {key: value for key, value in config.items() if value is not None}
    if refused := next((key for key in UNSUPPORTED if config.get(key)), None):
        raise ValueError(f"{refused} is not supported")
    processor = Processor.of({**config, **_geometry(config), **_normalisation(config)})
    return replace(processor, flip=bool(config.get("do_flip_channel_order")))


def _geometry(config: Config) -> Config:
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    size, crops = config.get("size", 224), config.get("do_center_crop", False)
    is_shorter = kind.startswith(SHORTER) if kind else crops or "crop_pct" in config
    if isinstance(size, int):
        size = {"shortest_edge": size} if is_shorter else {"height": size, "width": size}
    share = config.get("crop_pct", 224 / 256 if kind.startswith(("ConvNext", "Levit")) else None)
    if share is None:
        return {"size": size}
    edge = positive(size["shortest_edge"])
    resized = {"shortest_edge": int(edge / share)}
    if crops:
        return {"size": resized}
    if edge >= SQUASHED:
        return {"size": {"height": edge, "width": edge}}
    return {"size": resized, "crop_size": edge, "do_center_crop": True}


def _normalisation(config: Config) -> Config:
    """A config without mean and std (MobileViT's) does not normalise; EfficientNet's may divide by std twice."""
    does = config.get("do_normalize", "image_mean" in config)
    if does and config.get("include_top"):
        return {"do_normalize": does, "image_std": [value * value for value in config["image_std"]]}
    return {"do_normalize": does}


def _timm(config: Config) -> Processor | None:
    """The `pretrained_cfg` of timm; any other config.json is None."""
    if not isinstance(config, dict) or not isinstance(stored := config.get("pretrained_cfg"), dict):
        return None
    channels, height, width = stored["input_size"]
    share, mode = stored.get("crop_pct", 0.875), stored.get("crop_mode", "center")
    if channels != 3 or mode not in ("center", "squash") or (mode == "center" and height != width):
        raise ValueError(f"input_size {stored['input_size']} with crop_mode {mode!r} is not supported")
    across, down = math.floor(positive(width) / share), math.floor(positive(height) / share)
    resize = {"shortest_edge": down} if mode == "center" else {"height": down, "width": across}
    return Processor.of(
        {
            "size": resize,
            "crop_size": {"height": height, "width": width},
            "do_center_crop": True,
            "resample": Image.Resampling[str(stored.get("interpolation", "bicubic")).upper()],
            "image_mean": list(stored.get("mean", IMAGENET_MEAN)),
            "image_std": list(stored.get("std", IMAGENET_STD)),
        }
    )


READERS: dict[str, Callable[[Config], Processor | None]] = {PROCESSOR: _transformers, CONFIG: _timm}
"""In the order of precedence."""
