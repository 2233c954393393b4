"""EfficientNet-Lite0 and SSCD written in plain PyTorch, as the independent implementation, and pictures for them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray

Tensors = Mapping[str, torch.Tensor]
LITE0 = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def pixels(height: int, width: int, count: int = 1) -> NDArray[np.uint8]:
    """(count, height, width, 3): coarse blocks under noise."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 200, (count, height // 16 + 1, width // 16 + 1, 3))
    blocks = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return np.asarray(blocks + rng.integers(0, 56, (count, height, width, 3)), np.uint8)


def unit(rows: torch.Tensor) -> NDArray[np.float32]:
    return F.normalize(rows).numpy().astype(np.float32)


def planes(images: NDArray[np.uint8], mean: list[float], deviation: list[float]) -> torch.Tensor:
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    return (scaled - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]


def norm(tensors: Tensors, name: str, values: torch.Tensor, epsilon: float) -> torch.Tensor:
    mean, variance, gamma, beta = (
        tensors[f"{name}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(values, mean, variance, gamma, beta, eps=epsilon)


def conv_same(values: torch.Tensor, weight: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
    """As TensorFlow pads: so that a side becomes side / stride, rounded up; an odd number more at the end."""
    kernel, pads = weight.shape[-1], list[int]()
    for side in (values.shape[3], values.shape[2]):
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(values, pads), weight.double(), stride=stride, groups=groups)


def lite0(tensors: Tensors, images: NDArray[np.uint8]) -> torch.Tensor:
    """The last feature map (n, 1280, rows, columns)."""

    def layer(values: torch.Tensor, name: str, after: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        return norm(tensors, after, conv_same(values, tensors[f"{name}.weight"], stride, groups), 1e-3)

    stream, number = F.relu6(layer(planes(images, [0.5] * 3, [0.5] * 3), "_conv_stem", "_bn0", 2)), 0
    for repeats, _, first, expansion in LITE0:
        for repeat in range(repeats):
            at, stride, hidden = f"_blocks.{number}", first if not repeat else 1, stream
            if expansion > 1:
                hidden = F.relu6(layer(hidden, f"{at}._expand_conv", f"{at}._bn0"))
            hidden = F.relu6(layer(hidden, f"{at}._depthwise_conv", f"{at}._bn1", stride, hidden.shape[1]))
            hidden = layer(hidden, f"{at}._project_conv", f"{at}._bn2")
            stream = hidden + stream if repeat else hidden
            number += 1
    return F.relu6(layer(stream, "_conv_head", "_bn1"))


def any_tensors(values: Any) -> dict[str, torch.Tensor]:
    """Arrays by name as tensors."""
    return {name: torch.from_numpy(np.array(array)) for name, array in values.items()}


class Bottleneck(torch.nn.Module):
    """A block of Torchvision's ResNet, with its names."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.conv2 = torch.nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(width)
        self.conv3 = torch.nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = torch.nn.BatchNorm2d(4 * width)
        self.downsample: torch.nn.Module = torch.nn.Identity()
        if stride != 1 or inputs != 4 * width:
            parts = torch.nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), torch.nn.BatchNorm2d(4 * width)
            self.downsample = torch.nn.Sequential(*parts)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        stream = F.relu(self.bn1(self.conv1(source)))
        stream = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(stream)))))
        return F.relu(stream + self.downsample(source))


class Backbone(torch.nn.Module):
    """Torchvision's ResNet with the generalised mean, p = 3, and a linear layer."""

    def __init__(self, stages: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        width = stages[0][1]
        self.conv1, self.bn1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(width)
        layers, inputs = list[torch.nn.Module](), width
        for number, (blocks, width) in enumerate(stages):
            sides = [inputs] + [4 * width] * (blocks - 1)
            strides = [2 if number else 1] + [1] * (blocks - 1)
            layers.append(torch.nn.Sequential(*map(Bottleneck, sides, [width] * blocks, strides)))
            inputs = 4 * width
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = torch.nn.Linear(inputs, 512)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        stream = F.max_pool2d(F.relu(self.bn1(self.conv1(values))), 3, 2, 1)
        stream = self.layer4(self.layer3(self.layer2(self.layer1(stream))))
        pooled = stream.flatten(2).clamp(min=1e-6).pow(3.0).mean(2).pow(1 / 3.0)
        vectors: torch.Tensor = self.fc(pooled)
        return vectors


class Sscd(torch.nn.Module):
    """SSCD as its authors assemble it, of random weights."""

    def __init__(self, stages: tuple[tuple[int, int], ...], seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = Backbone(stages)
        for name, values in self.named_buffers():
            if not name.endswith("num_batches_tracked"):
                values.copy_(torch.rand_like(values) + 0.5 if name.endswith("var") else torch.randn_like(values) / 4)
        self.eval()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.backbone(values))
