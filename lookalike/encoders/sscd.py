"""SSCD: a descriptor (embedding) for copy detection, from its published weights, without torch.

Pizzi et al., "A Self-Supervised Descriptor for Image Copy Detection", CVPR 2022: a ResNet-50, the generalised mean of
its last feature map, and a linear layer to 512 numbers. The published files carry Torchvision's or Classy Vision's
names, and are state dictionaries or TorchScript archives; all are read. By the authors, two images of a cosine from
0.75 on are copies nine times of ten (`sscd_disc_mixup`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.encoders import torch_file, web_weights
from lookalike.encoders.conv_graph import Checkpoint, ConvGraph, Layer
from lookalike.encoders.convnet import ConvEncoder, Identity, built
from lookalike.encoders.files import checksum
from lookalike.encoders.maps import MapHead
from lookalike.encoders.resize import Resize
from lookalike.utils.onnx_writer import Weights

DEFAULT = Resize("short", 288)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255
EPSILON = 1e-5
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks and channels of ResNet-50; a block has four times as many channels at its end."""
WIDER, DIM = 4, 512
POWER, LEAST = 3.0, 1e-6
HEAD_WEIGHT, HEAD_BIAS = "head.weight.npy", "head.bias.npy"
# Classy Vision's names to Torchvision's; a block's convolutions and norms are numbered in a sequence.
CLASSY = re.compile(r"blocks\.(\d+)\.(?:block\d+-)?(\d+)\.(.+)\.(\w+)")
PARTS = {
    "convolutional_block.0": "conv1",
    "convolutional_block.1": "bn1",
    "convolutional_block.3": "conv2",
    "convolutional_block.4": "bn2",
    "convolutional_block.6": "conv3",
    "bn": "bn3",
}
TOP = {"initial_block._module.0": "conv1", "initial_block._module.1": "bn1"}


def load(name: str | Path = "sscd", preprocess: str = str(DEFAULT)) -> ConvEncoder:
    """The encoder of the published weights, fetched where needed, or of a local file; raises EncoderError."""
    resize = Resize.parse(preprocess)
    path = Path(name) if Path(name).exists() else web_weights.resolve(str(name))
    digest = checksum(path)
    folder = built(digest, lambda weights, folder: write(read(path), weights, folder))
    return ConvEncoder(Identity(str(name), resize, DEFAULT, digest), folder, DIM, _head(folder))


def read(path: Path) -> Checkpoint:
    """The checkpoint in one of the published files, under Torchvision's names."""
    return Checkpoint(path, renamed(torch_file.read(path)), "SSCD with ResNet-50")


def renamed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors under the names of Torchvision's ResNet, and `fc`; others keep their names."""
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    if name.startswith("embeddings.1."):
        return name.replace("embeddings.1.", "fc.")
    inner = name.removeprefix("backbone.")
    if match := CLASSY.fullmatch(inner):
        stage, block, part, kind = match.groups()
        return f"layer{int(stage) + 1}.{int(block)}.{PARTS.get(part, part)}.{kind}"
    layer, _, kind = inner.rpartition(".")
    return f"{TOP[layer]}.{kind}" if layer in TOP else inner


def write(checkpoint: Checkpoint, weights: Weights, folder: Path) -> None:
    """Write the graph; raises EncoderError for tensors of another model."""
    net = ConvGraph(checkpoint, weights, EPSILON)
    channels = STAGES[0][1]
    stem = net.conv(net.pixels(MEAN), "conv1", "bn1", Layer(3, channels, 7, 2, padding=3), DEVIATION)
    stream = net.max_pool(net.relu(stem), 3, 2, 1)
    for number, (blocks, width) in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if number > 1 and not block else 1
            stream = _block(net, stream, f"layer{number}.{block}.", channels, width, stride)
            channels = width * WIDER
    net.write_map(stream, channels, folder)
    _write_head(checkpoint, channels, folder)
    vector = net.linear(net.gem(stream, POWER, LEAST), "fc", channels, DIM)
    checkpoint.refuse_others()
    net.write(vector, DIM, folder)


def _write_head(checkpoint: Checkpoint, channels: int, folder: Path) -> None:
    """The linear layer once more, for windows of the map."""
    np.save(folder / HEAD_WEIGHT, checkpoint.tensor("fc.weight", DIM, channels).astype(np.float32))
    np.save(folder / HEAD_BIAS, checkpoint.tensor("fc.bias", DIM).astype(np.float32))


def _head(folder: Path) -> MapHead:
    weight, bias = (np.load(folder / file, allow_pickle=False) for file in (HEAD_WEIGHT, HEAD_BIAS))
    return MapHead(int(POWER), LEAST, weight, bias)


def _block(net: ConvGraph, source: str, at: str, inputs: int, width: int, stride: int) -> str:
    """A bottleneck: reduction, 3 x 3 convolution, expansion, and a residual connection that may be a convolution."""
    stream = net.relu(net.conv(source, f"{at}conv1", f"{at}bn1", Layer(inputs, width, padding=0)))
    stream = net.relu(net.conv(stream, f"{at}conv2", f"{at}bn2", Layer(width, width, 3, stride, padding=1)))
    stream = net.conv(stream, f"{at}conv3", f"{at}bn3", Layer(width, width * WIDER, padding=0))
    if stride != 1 or inputs != width * WIDER:
        layer = Layer(inputs, width * WIDER, 1, stride, padding=0)
        source = net.conv(source, f"{at}downsample.0", f"{at}downsample.1", layer)
    return net.relu(net.add(stream, source))
