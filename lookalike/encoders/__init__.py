"""Names to encoders. A name may carry options: `dinov2-base@pad-518,pool=gem,precision=int8`."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from lookalike.errors import EncoderError
from lookalike.types import Encoder
from lookalike.utils.text import meant

DINOV2 = "lookalike.encoders.dinov2:load"  # and DINOv3: a checkpoint's config says which it is
CLIP = "lookalike.encoders.clip:load"
ONNX = "lookalike.encoders.onnx_file:load"
SSCD = "lookalike.encoders.sscd:load"
KINDS = {"dinov2": DINOV2, "clip": CLIP, "onnx": ONNX, "sscd": SSCD}
"""What a file, a folder or a hub id holds (see `repository.kind_of`), to what loads it."""
ENCODERS = {
    "dinov2-small": DINOV2,
    "dinov2-base": DINOV2,
    "dinov2-large": DINOV2,
    "dinov2-giant": DINOV2,
    "dinov2-small-reg": DINOV2,
    "dinov2-base-reg": DINOV2,
    "dinov2-large-reg": DINOV2,
    "dinov2-giant-reg": DINOV2,
    "dinov3-small": DINOV2,
    "dinov3-base": DINOV2,
    "dinov3-large": DINOV2,
    "efficientnet-lite0": "lookalike.encoders.efficientnet:load",
    "sscd": SSCD,
    "rootsift": "lookalike.encoders.rootsift:RootSift",
    "thumbnail": "lookalike.encoders.thumb:Thumbnail",
    "siglip2-base": CLIP,
    "siglip2-base-fp16": CLIP,
    "siglip2-base-int8": CLIP,
    "clip-vit-b32": CLIP,
    "clip-vit-b32-fp16": CLIP,
    "clip-vit-b32-int8": CLIP,
    "clip-vit-b16": CLIP,
    "clip-vit-l14": CLIP,
}
ALIASES = {"pool": "pooling", "prep": "preprocess"}
SPELLING = {"preprocess": "{}", "pooling": "pool={}"}


def load_encoder(name_or_path: str | Path, **options: Any) -> Encoder:
    """An encoder: it turns images, and with some models texts, into vectors of unit length.

    Parameters
    ----------
    name_or_path
        A name in `ENCODERS`, a local checkpoint or ONNX file (or a folder that holds one), or a hub id such as
        ``owner/name``. Options may follow an ``@``, as in ``dinov2-base@pad-518,pool=gem``.
    **options
        The same options as keywords, where the encoder has them: `preprocess` (``squash-N``, ``crop-N`` or ``pad-N``, N
        in pixels; the part of a name without a key), `pooling` (``cls``, ``mean``, ``gem``, ``cls+gem``), `precision`
        (``fp32``, ``int8``, and ``fp16`` or ``auto`` where there is one), `device` (``cuda``, ``mps``, ``cpu`` for
        PyTorch, ``onnx`` for ONNX Runtime) and `scales` (``0.7:1:1.4``: the mean of the vectors at these sizes of the
        input; for DINOv2, DINOv3, EfficientNet-Lite0 and SSCD). An ONNX file has `preprocess` (sides in any number of
        pixels, also ``squash-WxH`` and ``pad-WxH``), `mean` and `std` (one number, or three: ``0.5:0.5:0.5``, in RGB),
        `factor` (by which pixels are multiplied, 1/255), `order` (``rgb``, ``bgr``), `resample` (Pillow's filters:
        ``bilinear``), `layout` (``nchw``, ``nhwc``), `output` (a name), `pooling` of tokens and feature maps, and
        `prefix` (the number of tokens before the patches). A keyword takes precedence over the name; None leaves the
        name's.

    Returns
    -------
    Encoder
        ``encode(images)`` gives float32 vectors (n, ``dim``) of unit length.

    Raises
    ------
    EncoderError
        For an unknown name or option, and for weights that are missing, damaged or cannot be fetched.

    Examples
    --------
    >>> from PIL import Image
    >>> encoder = load_encoder("thumbnail")
    >>> encoder.encode([Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")]).shape
    (2, 177)
    """
    name, options_in_name = split_name(str(name_or_path))
    factory = _factory(name)
    options = {
        **options_in_name,
        **{ALIASES.get(key, key): value for key, value in options.items() if value is not None},
    }
    scales = options.pop("scales", None)
    try:
        inspect.signature(factory).bind(name, **options)
    except TypeError as error:
        taken = [key for key in inspect.signature(factory).parameters if key not in ("name", "name_or_path")]
        offered = f"it takes {', '.join(taken)}" if taken else "it takes none"
        raise EncoderError(f"{name} does not take the options {', '.join(options)}; {offered}") from error
    encoder: Encoder = factory(name, **options)
    return encoder if scales is None else _scaled(encoder, str(scales))


def _scaled(encoder: Encoder, text: str) -> Encoder:
    from lookalike.encoders.multiscale import MultiScale, parse_scales

    scales = parse_scales(text)
    return MultiScale(encoder, scales, with_options(encoder.name, scales=":".join(f"{scale:g}" for scale in scales)))


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """`name@word,key=value` as the name and its options; an `@` in an existing path is part of the path."""
    if Path(text).exists():
        return text, {}
    places = [place for place, sign in enumerate(text) if sign == "@"]
    # The longest path that exists: a folder's name may have an `@`, too.
    at = next((place for place in reversed(places) if Path(text[:place]).exists()), places[0] if places else len(text))
    name, tail = text[:at], text[at + 1 :]
    options: dict[str, str] = {}
    for part in tail.split(",") if tail else []:
        key, equals, value = part.partition("=")
        if not equals and "scales" in options and re.fullmatch(r"\d*\.?\d+", part):
            options["scales"] += f":{part}"  # scales=0.7,1,1.4
            continue
        key, value = (key, value) if equals else ("preprocess", part)
        if not value or ALIASES.get(key, key) in options:
            raise EncoderError(f"{text}: {part!r} is no option; write name@squash-224,pool=gem,precision=int8")
        options[ALIASES.get(key, key)] = value
    return name, options


def reads_text(name: str) -> bool:
    """Whether the encoder of this name encodes text; nothing is loaded."""
    name, _ = split_name(name)
    if name in ENCODERS:
        return ENCODERS[name] == CLIP
    from lookalike.encoders import weights

    place = Path(name) if Path(name).exists() else weights.find(name) if name.count("/") == 1 else None
    return place is not None and _kind(place) == CLIP


def with_options(name: str, **changes: str | None) -> str:
    """The name with these options changed; None removes an option. A path becomes absolute."""
    place, options = split_name(name)
    options = {key: value for key, value in {**options, **changes}.items() if value is not None}
    words = ",".join(SPELLING.get(key, f"{key}={{}}").format(value) for key, value in options.items())
    spelled = str(Path(place).resolve()) if place not in ENCODERS and Path(place).exists() else place
    return f"{spelled}@{words}" if words else spelled


def _factory(name: str) -> Any:
    module, _, attribute = _entry(name).partition(":")
    return getattr(import_module(module), attribute)


def _entry(name: str) -> str:
    """What loads a name, as in `ENCODERS`; a hub id is fetched first, as its files decide."""
    from lookalike.encoders import weights
    from lookalike.encoders.repository import is_graph

    if name in ENCODERS:
        return ENCODERS[name]
    if Path(name).exists() or is_graph(name):
        return _kind(Path(name))
    if name.count("/") == 1:
        return _kind(weights.resolve(name))
    raise EncoderError(
        f"{name}: no such encoder, file or folder{meant(name, ENCODERS)}; there are {', '.join(ENCODERS)}"
    )


def _kind(path: Path) -> str:
    from lookalike.encoders.repository import kind_of

    return KINDS[kind_of(path)]
