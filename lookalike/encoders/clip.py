"""Images and texts to vectors of one space: CLIP and SigLIP checkpoints, as ONNX exports in the hub's layout."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import weights
from lookalike.encoders.graph_files import check_external, open_session, run_session
from lookalike.encoders.tokens import Tokens
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Picture, Vectors
from lookalike.utils.files import sha256_of

# The suffixes that exporters append to the file name; the first existing file is used.
PRECISIONS = {"fp32": ("",), "fp16": ("_fp16",), "int8": ("_quantized", "_int8")}
# CLIP's projections have names of their own; SigLIP has none, and its pooled output is the vector.
OUTPUTS = {"clip": {"vision": ("image_embeds",), "text": ("text_embeds",)}}
OTHER_OUTPUTS = {"vision": ("image_embeds", "pooler_output"), "text": ("text_embeds", "pooler_output")}
INPUTS = {"vision": ("pixel_values",), "text": ("input_ids", "attention_mask")}
TEXTS_AT_ONCE = 32
# A strip one pixel high would be resized to gigabytes, of which only the middle is used.
LARGEST_RESIZED = 4_000_000
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


@dataclass(frozen=True)
class ClipPreprocessing:
    """The content of preprocessor_config.json: resize, centre crop, scale and shift.

    `resize` is (width, height), or a number for the shorter side; `crop` is (width, height); None skips the step.
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    resample: Image.Resampling
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> "ClipPreprocessing":
        """Raises EncoderError for a file that is missing or damaged, or for steps that are not supported."""
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            size, crop = config.get("size", 224), config.get("crop_size", 224)
            normalise = config.get("do_normalize", True)
            preprocessing = cls(
                resize=_resize(size) if config.get("do_resize", True) else None,
                crop=_sides(crop) if config.get("do_center_crop", False) else None,
                resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
                factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
                mean=_three(config["image_mean"]) if normalise else (0.0, 0.0, 0.0),
                std=_three(config["image_std"]) if normalise else (1.0, 1.0, 1.0),
            )
            if preprocessing.crop is None and not isinstance(preprocessing.resize, tuple):
                raise ValueError("images would not all have one size")
            return preprocessing
        except FileNotFoundError as error:
            raise EncoderError(
                f"{path} is missing; without it, images cannot be prepared as the model wants"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EncoderError(f"{path} cannot be used ({type(error).__name__}: {error})") from error

    @property
    def decode_size(self) -> int | None:
        """The shorter side that suffices for `pixels`."""
        return max(self.resize) if isinstance(self.resize, tuple) else self.resize

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image to (height, width, 3), resized and cropped for the model."""
        size = self._resized(image.width, image.height)
        if self.crop and size[0] * size[1] > LARGEST_RESIZED:
            return np.asarray(_resize_middle(image, size, self.crop, self.resample))
        if size != image.size:
            image = image.resize(size, self.resample)
        return np.asarray(_centre(image, *self.crop) if self.crop else image)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.resize is None:
            return width, height
        if isinstance(self.resize, tuple):
            return self.resize
        # As in transformers: the longer side is truncated to a whole number, not rounded.
        other = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, other) if width <= height else (other, self.resize)

    def scale(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) uint8 to the (n, 3, height, width) float32 input of the graph."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled = (pixels.astype(np.float32) * np.float32(self.factor) - mean) / std
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


class ClipEncoder:
    """Both towers of a checkpoint, each loaded on first use. Meets `types.TextEncoder`.

    The folder holds onnx/vision_model.onnx, onnx/text_model.onnx, preprocessor_config.json, tokenizer.json and, where
    the checkpoint has them, config.json and tokenizer_config.json.
    """

    batch_size = 8

    def __init__(self, folder: str | Path, name: str | None = None, precision: str = "fp32", threads: int = 0) -> None:
        """`precision`: fp32, fp16 or int8. Raises EncoderError where a file is missing or cannot be used."""
        self.folder = Path(folder)
        if precision not in PRECISIONS:
            raise EncoderError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
        self.name = name or self.folder.resolve().name
        self._threads, self._precision = threads, precision
        self._files = {tower: self._file(tower) for tower in INPUTS}
        self.preprocessing = ClipPreprocessing.read(self.folder / "preprocessor_config.json")
        self.decode_size: int | None = self.preprocessing.decode_size

    def _file(self, tower: str) -> Path:
        folder = self.folder / "onnx"
        names = [f"{tower}_model{suffix}.onnx" for suffix in PRECISIONS[self._precision]]
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise EncoderError(f"{folder} has no {' or '.join(names)}; give a folder with one, or another precision")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every file that the vectors depend on."""
        digest = hashlib.sha256(b"clip 1")
        for path in self._read_files():
            digest.update(f"{path.name} {sha256_of(path)}\n".encode())
        return digest.hexdigest()

    def _read_files(self) -> list[Path]:
        graphs = [path for file in self._files.values() for path in (file, *check_external(file))]
        names = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
        return [*graphs, *(path for name in names if (path := self.folder / name).is_file())]

    @cached_property
    def dim(self) -> int:
        """The length of a vector, as the vision tower states it; else it is measured on a blank image."""
        stated = self._vision.dim
        return stated or int(self._vision.run({"pixel_values": self._blank()}).shape[1])

    def _blank(self) -> NDArray[np.float32]:
        return self.preprocessing.scale(self.preprocessing.pixels(Image.new("RGB", (64, 64)))[None])

    @cached_property
    def _vision(self) -> "Tower":
        return Tower(self._files["vision"], "vision", self._family, self._threads)

    @cached_property
    def _text(self) -> "Tower":
        return Tower(self._files["text"], "text", self._family, self._threads)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.folder, self._text.width)

    @cached_property
    def _family(self) -> str:
        """`clip` or `siglip`, from config.json; empty where that names no type."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            kind = str(config.get("model_type", ""))
        except (OSError, ValueError, AttributeError) as error:
            raise EncoderError(f"{path} cannot be read ({error})") from error
        return "siglip" if kind.startswith("siglip") else kind

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """(height, width, 3) uint8. `full_size` has no effect, since all images have one size."""
        return self.preprocessing.pixels(image)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare` to (n, dim) unit rows."""
        return _unit(
            self._vision.run({"pixel_values": self.preprocessing.scale(np.stack(prepared))}), self._vision.path
        )

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Texts to (n, dim) unit rows; a text that is too long for the model is cut off, with a warning."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        ids, mask = self._tokens.encode(texts)
        if self._family == "siglip" or (not self._family and not self._tokens.is_clip):
            # SigLIP was trained without a mask, so its padding counts.
            mask = np.ones_like(mask)
        parts = [slice(at, at + TEXTS_AT_ONCE) for at in range(0, len(ids), TEXTS_AT_ONCE)]
        rows = [self._text.run({"input_ids": ids[part], "attention_mask": mask[part]}) for part in parts]
        return _unit(np.concatenate(rows), self._text.path)


def load(name_or_path: str | Path, precision: str | None = None) -> ClipEncoder:
    """The encoder of a local folder, or of a name in `weights.HUB`, fetched where needed; raises EncoderError.

    `precision`: fp32, fp16 or int8; without one, the ending of the name (`siglip2-base-int8`), else fp32.
    """
    folder = weights.resolve(name_or_path)
    if not folder.is_dir():
        raise EncoderError(f"{folder} is no folder; give one that holds onnx/vision_model.onnx")
    if Path(name_or_path).exists():
        name = str(folder.resolve()) + (f"@precision={precision}" if precision else "")
        return ClipEncoder(folder, name, precision or "fp32")
    ending = str(name_or_path).rpartition("-")[2]
    return ClipEncoder(folder, str(name_or_path), precision or (ending if ending in PRECISIONS else "fp32"))


class Tower:
    """A graph, with its inputs and outputs checked."""

    def __init__(self, path: Path, kind: str, family: str, threads: int) -> None:
        self.path = path
        self._session = open_session(path, threads)
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        allowed, required = INPUTS[kind], INPUTS[kind][0]
        if required not in inputs or not set(inputs) <= set(allowed):
            raise EncoderError(
                f"{path} takes {', '.join(inputs)}, not {required}; it is no {kind} model of this layout"
            )
        unknown = [entry.type for entry in inputs.values() if entry.type not in TYPES]
        if unknown:
            raise EncoderError(f"{path} takes {unknown[0]}, which is not supported")
        self._types = {name: TYPES[entry.type] for name, entry in inputs.items()}
        outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}
        candidates = OUTPUTS.get(family, OTHER_OUTPUTS)[kind]
        self._output = next((name for name in candidates if name in outputs), None)
        if self._output is None:
            raise EncoderError(
                f"{path} gives {', '.join(outputs)}, not {' or '.join(candidates)}; export it with projection"
            )
        shape = outputs[self._output]
        self.dim = shape[-1] if shape and isinstance(shape[-1], int) else None
        last = inputs[required].shape[-1] if inputs[required].shape else None
        self.width: int | None = last if kind == "text" and isinstance(last, int) else None

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """(n, dim), not yet of unit length."""
        arrays = {name: np.ascontiguousarray(inputs[name], kind) for name, kind in self._types.items()}
        (rows,) = run_session(self._session, self.path, arrays, [str(self._output)])
        if rows.ndim != 2:
            raise EncoderError(f"{self.path} gives an output of shape {rows.shape}, not one row for each input")
        return np.asarray(rows, np.float32)


def _unit(rows: NDArray[np.float32], path: Path) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise EncoderError(f"{path} gave a vector that is not finite or zero; use another precision")
    return np.asarray(rows / lengths, np.float32)


def _resize(size: Any) -> tuple[int, int] | int:
    """`{"shortest_edge": n}`, in old files `n`: the shorter side; `{"height": h, "width": w}`: both sides."""
    if isinstance(size, dict) and "shortest_edge" in size:
        return _positive(size["shortest_edge"])
    return _positive(size) if isinstance(size, int) else _sides(size)


def _sides(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return _positive(size), _positive(size)
    return _positive(size["width"]), _positive(size["height"])


def _positive(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value <= 4096:
        raise ValueError(f"a size of {value!r}")
    return value


def _three(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in (values if isinstance(values, list) else [values] * 3))
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} channels")
    return numbers


def _resize_middle(
    image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """The middle of `image.resize(size)` up to rounding; the rest is never computed."""
    left, top = (size[0] - crop[0]) // 2, (size[1] - crop[1]) // 2
    scale_x, scale_y = image.width / size[0], image.height / size[1]
    # Rounding must not lead out of the image.
    right = min((left + crop[0]) * scale_x, image.width)
    bottom = min((top + crop[1]) * scale_y, image.height)
    return image.resize(crop, resample, box=(left * scale_x, top * scale_y, right, bottom))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of an image; a smaller image gets a black border, as in Pillow's crop."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
