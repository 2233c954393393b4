"""Images and texts to vectors of one space: CLIP and SigLIP checkpoints, as ONNX exports in the hub's layout."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import weights
from lookalike.encoders.files import PROCESSOR
from lookalike.encoders.graph_files import TYPES, check_external, open_session, rows_of
from lookalike.encoders.pooling import unit
from lookalike.encoders.processor import Processor
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
UNUSABLE = "{} gave a vector that is not finite or zero; use another precision"


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
        self.preprocessing = Processor.read(self.folder / PROCESSOR)
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
        names = (PROCESSOR, "tokenizer.json", "tokenizer_config.json")
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
        rows = self._vision.run({"pixel_values": self.preprocessing.scale(np.stack(prepared))})
        return unit(rows, UNUSABLE.format(self._vision.path))

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
        return unit(np.concatenate(rows), UNUSABLE.format(self._text.path))


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
        rows = rows_of(self._session, self.path, arrays, str(self._output))
        if rows.ndim != 2:
            raise EncoderError(f"{self.path} gives an output of shape {rows.shape}, not one row for each input")
        return rows
