"""An ONNX file, the config beside it and options to a plan: what is done before and after the graph."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import pooling as poolings
from lookalike.encoders.graph_files import check_external
from lookalike.encoders.onnx_graph import LAYOUTS, ImageInput, choose_output, image_input
from lookalike.encoders.processor import IMAGENET_MEAN, IMAGENET_STD, Processor
from lookalike.encoders.processor_config import beside
from lookalike.encoders.processor_options import changed, one_of
from lookalike.encoders.signature import Value, read_signature
from lookalike.encoders.token_grid import as_tokens, prefix_of
from lookalike.errors import EncoderError
from lookalike.types import Vectors
from lookalike.utils.text import counted

SIDE = 224
MOST_PREFIX = 64
SCALING = ("mean", "std", "factor")
WORDS = {"preprocess": "", "pooling": "pool="}
UNUSABLE = "{}: the output {} is zero or not finite for an image; this model cannot be used"

log = logging.getLogger(__name__)


def spelled(options: Mapping[str, str]) -> str:
    """Options as they stand in a name, after the `@`."""
    return ",".join(WORDS.get(key, f"{key}=") + value for key, value in options.items())


@dataclass(frozen=True)
class Plan:
    """What is done before and after the graph. Without `pooling`, tokens give their class token where they have one."""

    image: ImageInput
    processor: Processor
    output: Value
    pooling: str | None
    prefix: int | None

    @property
    def rank(self) -> int:
        """The number of sides of the output: 2 for vectors, 3 for tokens, 4 for feature maps."""
        return len(self.output.shape or ())

    @property
    def described(self) -> tuple[object, ...]:
        """Everything that decides vectors apart from the file, for the fingerprint: no name of a class is in it."""
        steps = self.processor
        sizes = (steps.resize, steps.crop, steps.pad, steps.resample.name, self.image.channels_last)
        scaling = (steps.factor, steps.mean, steps.std, steps.flip)
        return (*sizes, *scaling, self.output.name, self.pooling, self.prefix)

    def vectors(self, graph: Path, result: NDArray[np.float32], count: int) -> Vectors:
        """The output for `count` images to unit rows; raises EncoderError for another shape or unusable numbers."""
        shape, unusable = result.shape, UNUSABLE.format(graph, self.output.label)
        if len(shape) != self.rank or shape[0] != count or not result.size or shape == (count, 1):
            raise EncoderError(
                f"{graph}: the output {self.output.label} has shape {shape} for {counted(count, 'image')}"
            )
        if self.rank == 2:
            return poolings.unit(result, unusable)
        if self.rank == 4:
            tokens = as_tokens(graph, result, self.processor.size, self.image.channels_last)
            return poolings.pool(self.pooling or "mean", tokens[:, 0], tokens, unusable)
        before = self._before(graph, shape[1])
        return poolings.pool(self.pooling or ("cls" if before else "mean"), result[:, 0], result[:, before:], unusable)

    def _before(self, graph: Path, tokens: int) -> int:
        """How many of the tokens come before the patches; raises EncoderError where pooling finds none of its own."""
        before = prefix_of(graph, tokens, self.processor.size) if self.prefix is None else self.prefix
        if before >= tokens or (not before and "cls" in (self.pooling or "")):
            raise EncoderError(
                f"{graph} gives {tokens} tokens, {before} of them before the patches, so there are none for "
                f"pool={self.pooling or 'cls'}; give another, or prefix=N"
            )
        return before


def planned(graph: Path, options: Mapping[str, str]) -> Plan:
    """The plan for a file with these options; raises EncoderError where they do not go together."""
    # Files beside it that it must not read are refused before anything else is looked at.
    check_external(graph)
    signature = read_signature(graph)
    layout = one_of("layout", options["layout"], LAYOUTS) if "layout" in options else None
    image = image_input(graph, signature, layout)
    output = choose_output(graph, signature.outputs, options.get("output"))
    pooling = poolings.check(options["pooling"]) if "pooling" in options else None
    plan = Plan(image, _processor(graph, image, options), output, pooling, _prefix(options.get("prefix")))
    if pooling and (plan.rank == 2 or (plan.rank == 4 and "cls" in pooling)):
        raise EncoderError(f"{graph}: the output {output} has no tokens for pool={pooling}; leave it out")
    if plan.rank != 3 and plan.prefix is not None:
        raise EncoderError(f"{graph}: the output {output} has no tokens; leave out prefix")
    return plan


def _prefix(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) > MOST_PREFIX:
        raise EncoderError(f"prefix {text!r} is no number from 0 to {MOST_PREFIX}")
    return int(text)


def _processor(graph: Path, image: ImageInput, options: Mapping[str, str]) -> Processor:
    """The steps from the config beside the graph, or from defaults, with what the options change."""
    stored = beside(graph)
    if stored is None:
        _warn(graph, image, options)
    processor = changed(stored or _default(image), options)
    if image.is_raw:
        if refused := next((key for key in SCALING if key in options), None):
            raise EncoderError(f"{graph} takes uint8, so it scales the pixels itself; leave out {refused}")
        processor = changed(processor, {"mean": "0", "std": "1", "factor": "1"})
    return _fitting(graph, image, processor)


def _default(image: ImageInput) -> Processor:
    return Processor(_own_size(image), None, Image.Resampling.BICUBIC, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)


def _own_size(image: ImageInput) -> tuple[int, int]:
    width, height = image.size
    return width or height or SIDE, height or width or SIDE


def _warn(graph: Path, image: ImageInput, options: Mapping[str, str]) -> None:
    """Say what was assumed: a wrong mean makes results worse, and nothing else would show it."""
    assumed = {} if None not in image.size else {"preprocess": f"squash-{SIDE}"}
    if not image.is_raw:
        assumed |= {"mean": ":".join(map(str, IMAGENET_MEAN)), "std": ":".join(map(str, IMAGENET_STD))}
    if words := {key: value for key, value in assumed.items() if key not in options}:
        log.warning("%s: no preprocessor_config.json beside it, so this is assumed: %s", graph, spelled(words))


def _fitting(graph: Path, image: ImageInput, processor: Processor) -> Processor:
    """The processor, once its numbers can be used and its pictures have the size that the graph takes."""
    numbers = np.array([processor.factor, *processor.mean, *processor.std])
    if not np.isfinite(numbers).all() or not processor.factor or not all(processor.std):
        raise EncoderError(f"{graph}: factor, mean or std of the config beside it is zero or no number")
    size, crop = processor.size, processor.crop
    resized = (processor.resize,) * 2 if isinstance(processor.resize, int) else processor.resize
    if size is None or resized is None or (crop and (crop[0] > resized[0] or crop[1] > resized[1])):
        raise EncoderError(f"{graph}: by the config beside it, images would not all have one size; give @squash-N")
    if any(own not in (None, side) for own, side in zip(image.size, size, strict=True)):
        width, height = _own_size(image)
        raise EncoderError(
            f"{graph} takes images of {width} x {height} pixels, not {size[0]} x {size[1]}; "
            f"give @squash-{width if width == height else f'{width}x{height}'}, or crop or pad"
        )
    return processor
