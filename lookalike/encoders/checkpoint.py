"""A checkpoint file to checked float32 tensors under one set of names: DINOv2 of Hugging Face or of Meta, or DINOv3."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import dinov3, meta, safetensors
from lookalike.encoders.config import Config, is_positive, read_config
from lookalike.encoders.dinov3 import RotaryArchitecture, RotaryCheckpoint
from lookalike.encoders.positions import positions
from lookalike.encoders.tensors import MASK, Tensor, check_tensors, linear, read_tensor
from lookalike.errors import EncoderError

PATCH = 14


@dataclass(frozen=True)
class Architecture:
    """The parameters of the graph: `hidden` is the width inside the MLP, `grid` the side of the position embedding."""

    width: int
    depth: int
    heads: int
    hidden: int
    swiglu: bool
    registers: int
    grid: int
    epsilon: float = 1e-6
    patch: int = PATCH

    family = "DINOv2"
    rotary = False
    resample = Image.Resampling.BICUBIC  # as its preprocessor_config.json says

    @property
    def antialias(self) -> bool:
        """Whether position embeddings are resized with antialiasing: only in models with registers."""
        return self.registers > 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the checkpoint by its Hugging Face name; only `embeddings.mask_token` may be missing."""
        dim = self.width
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.cls_token": (1, 1, dim),
            MASK: (1, dim),
            "embeddings.position_embeddings": (1, 1 + self.grid**2, dim),
            "embeddings.patch_embeddings.projection.weight": (dim, 3, self.patch, self.patch),
            "embeddings.patch_embeddings.projection.bias": (dim,),
            "layernorm.weight": (dim,),
            "layernorm.bias": (dim,),
        }
        if self.registers:
            shapes["embeddings.register_tokens"] = (1, self.registers, dim)
        for layer in range(self.depth):
            shapes |= {f"encoder.layer.{layer}.{name}": shape for name, shape in self._layer_shapes().items()}
        return shapes

    def _layer_shapes(self) -> dict[str, tuple[int, ...]]:
        dim, hidden = self.width, self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("query", "key", "value"):
            shapes |= linear(f"attention.attention.{name}", dim, dim)
        shapes |= linear("attention.output.dense", dim, dim)
        if self.swiglu:
            shapes |= linear("mlp.weights_in", dim, 2 * hidden) | linear("mlp.weights_out", hidden, dim)
        else:
            shapes |= linear("mlp.fc1", dim, hidden) | linear("mlp.fc2", hidden, dim)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[name] = (dim,)
        return shapes | {"layer_scale1.lambda1": (dim,), "layer_scale2.lambda1": (dim,)}

    def place(self, stored: Tensor, rows: int, columns: int) -> Tensor:
        """The `positions` input of the graph for a grid of patches: (1, 1 + patches, width), from the stored ones."""
        return positions(stored, rows, columns, self.antialias)


class Checkpoint:
    """The tensors of a file, with names and shapes checked against the architecture."""

    def __init__(self, path: Path, architecture: Architecture, tensors: Mapping[str, Any]) -> None:
        """`tensors`: by Hugging Face name, anything with a shape that numpy can read. Raises EncoderError."""
        self.path, self.architecture, self._tensors = path, architecture, tensors
        check_tensors(path, architecture.shapes(), tensors, architecture.family)

    def block(self, number: int) -> Callable[[str], Tensor]:
        """`tensor` for the names within one block."""
        return lambda name: self.tensor(f"encoder.layer.{number}.{name}")

    def tensor(self, name: str) -> Tensor:
        """One tensor in float32; raises EncoderError where a number in it is not finite."""
        return read_tensor(self.path, self._tensors, name)


AnyArchitecture = Architecture | RotaryArchitecture
AnyCheckpoint = Checkpoint | RotaryCheckpoint


def open_checkpoint(weights: Path, config: Path | None) -> AnyCheckpoint:
    """`config`: the config.json of a safetensors file; None for Meta's .pth files.

    Raises EncoderError, in one line, for any fault in either.
    """
    if config is None:
        tensors = meta.read(weights)
        return Checkpoint(weights, _infer(weights, tensors), tensors)
    architecture = read_architecture(config)
    if isinstance(architecture, RotaryArchitecture):
        return RotaryCheckpoint(weights, architecture, safetensors.read(weights))
    return Checkpoint(weights, architecture, _from_transformers(safetensors.read(weights)))


def read_architecture(config: Path) -> AnyArchitecture:
    """The architecture in a Hugging Face config.json.

    Raises EncoderError for anything but a DINOv2 or DINOv3 that can be run.
    """
    values = read_config(config)
    kind = values.get("model_type")
    if kind == dinov3.KIND:
        return dinov3.architecture(Config(config, values, dinov3.FAMILY))
    if kind not in ("dinov2", "dinov2_with_registers"):
        kinds = "dinov2, dinov2_with_registers or dinov3_vit"
        raise EncoderError(f"{config} describes a model of type {kind!r}, not {kinds}")
    return _architecture(Config(config, values, Architecture.family), kind == "dinov2_with_registers")


def architecture_from(values: dict[str, Any]) -> AnyArchitecture:
    """An architecture from its fields, as `dataclasses.asdict` gives them; raises TypeError for others."""
    return RotaryArchitecture(**values) if "theta" in values else Architecture(**values)


def _architecture(config: Config, with_registers: bool) -> Architecture:
    path, values = config.path, config.values
    config.must_be("hidden_act", "gelu")
    config.must_be("num_channels", 3)
    config.must_be("qkv_bias", True)
    # The default of transformers for a model with registers is 16.
    if values.get("patch_size", 16 if with_registers else PATCH) != PATCH:
        raise EncoderError(f"{path}: patch_size is {values.get('patch_size', 16)!r}, not {PATCH}")
    dim = config.number("hidden_size", 768)
    heads = config.heads(dim, 12)
    size, ratio = config.number("image_size", 224), values.get("mlp_ratio", 4)
    eps, swiglu = values.get("layer_norm_eps", 1e-6), values.get("use_swiglu_ffn", False)
    if not PATCH <= size <= 256 * PATCH:
        raise EncoderError(f"{path}: image_size is {size}, which no DINOv2 has")
    if not is_positive(ratio, 64) or not is_positive(eps, 1) or not isinstance(swiglu, bool):
        raise EncoderError(f"{path}: mlp_ratio {ratio!r}, layer_norm_eps {eps!r} or use_swiglu_ffn is no DINOv2's")
    hidden = int(dim * ratio)
    if swiglu:
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return Architecture(
        width=dim,
        depth=config.number("num_hidden_layers", 12),
        heads=heads,
        hidden=hidden,
        swiglu=swiglu,
        registers=config.number("num_register_tokens", 4) if with_registers else 0,
        grid=size // PATCH,
        epsilon=float(eps),
    )


def _from_transformers(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Rename tensors that carry the inner names of transformers 5; both sets of names occur on disk."""
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in {
            ".attention.q_proj.": ".attention.attention.query.",
            ".attention.k_proj.": ".attention.attention.key.",
            ".attention.v_proj.": ".attention.attention.value.",
            ".attention.o_proj.": ".attention.output.dense.",
            ".mlp.down_proj.": ".mlp.weights_out.",
        }.items():
            name = name.replace(new, old)  # noqa: PLW2901
        renamed[name] = tensor
    for name in [name for name in renamed if ".mlp.gate_proj." in name]:
        up = name.replace("gate_proj", "up_proj")
        if up in renamed:
            joined = _Joined([renamed.pop(name), renamed.pop(up)])
            renamed[name.replace("gate_proj", "weights_in")] = joined
    return renamed


class _Joined:
    """Tensors concatenated along the first axis, read when they are needed."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        self.shape = (sum(part.shape[0] for part in parts if part.shape), *parts[0].shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.concatenate([np.asarray(part, dtype) for part in self._parts])


def _infer(path: Path, tensors: Mapping[str, Any]) -> Architecture:
    """The architecture from the shapes; a head is 64 wide in every published DINOv2."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in tensors:
            raise EncoderError(f"{path} has no tensor {name} (under Meta's name for it); it is no DINOv2 checkpoint")
        return tuple(tensors[name].shape)

    positions = shape("embeddings.position_embeddings")
    first = "encoder.layer.0.mlp."
    swiglu = f"{first}weights_out.weight" in tensors
    down = shape(f"{first}weights_out.weight" if swiglu else f"{first}fc2.weight")
    if len(positions) != 3 or len(down) != 2 or positions[2] % 64 or not positions[2]:
        raise EncoderError(f"{path}: position embeddings of shape {positions} are no DINOv2's")
    registers = shape("embeddings.register_tokens") if "embeddings.register_tokens" in tensors else (1, 0)
    layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")}
    return Architecture(
        width=positions[2],
        depth=len(layers),
        heads=positions[2] // 64,
        hidden=down[1],
        swiglu=swiglu,
        registers=registers[1] if len(registers) > 1 else 0,
        grid=math.isqrt(max(0, positions[1] - 1)),
    )
