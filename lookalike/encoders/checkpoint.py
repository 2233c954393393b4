"""A DINOv2 checkpoint file, of Hugging Face or of Meta, to checked float32 tensors under one set of names."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import meta, safetensors
from lookalike.errors import EncoderError

PATCH = 14
# Far above the largest published model (giant: 1536 wide, 40 deep); a larger config is a mistake or an attack.
LARGEST = {"hidden_size": 8192, "num_hidden_layers": 256, "num_attention_heads": 256, "num_register_tokens": 1024}


Tensor = NDArray[np.float32]


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

    @property
    def antialias(self) -> bool:
        """Whether position embeddings are resized with antialiasing: only in models with registers."""
        return self.registers > 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the checkpoint by its Hugging Face name; only `embeddings.mask_token` may be missing."""
        dim = self.width
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.cls_token": (1, 1, dim),
            "embeddings.mask_token": (1, dim),
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
            shapes |= _linear(f"attention.attention.{name}", dim, dim)
        shapes |= _linear("attention.output.dense", dim, dim)
        if self.swiglu:
            shapes |= _linear("mlp.weights_in", dim, 2 * hidden) | _linear("mlp.weights_out", hidden, dim)
        else:
            shapes |= _linear("mlp.fc1", dim, hidden) | _linear("mlp.fc2", hidden, dim)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[name] = (dim,)
        return shapes | {"layer_scale1.lambda1": (dim,), "layer_scale2.lambda1": (dim,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


class Checkpoint:
    """The tensors of a file, with names and shapes checked against the architecture."""

    def __init__(self, path: Path, architecture: Architecture, tensors: Mapping[str, Any]) -> None:
        """`tensors`: by Hugging Face name, anything with a shape that numpy can read. Raises EncoderError."""
        self.path, self.architecture, self._tensors = path, architecture, tensors
        expected = architecture.shapes()
        optional = {"embeddings.mask_token"}
        for name, shape in expected.items():
            if name not in tensors and name not in optional:
                raise EncoderError(f"{path} has no tensor {name}; it is no complete DINOv2 checkpoint")
            if name in tensors and tuple(tensors[name].shape) != shape:
                raise EncoderError(f"{path}: tensor {name} has shape {tuple(tensors[name].shape)}, not {shape}")
        extra = sorted(set(tensors) - set(expected))
        if extra:
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise EncoderError(f"{path} has a tensor {extra[0]!r}{more} that DINOv2 has not; give the backbone alone")

    def block(self, number: int) -> Callable[[str], Tensor]:
        """`tensor` for the names within one block."""
        return lambda name: self.tensor(f"encoder.layer.{number}.{name}")

    def tensor(self, name: str) -> Tensor:
        """One tensor in float32; raises EncoderError where a number in it is not finite."""
        tensor = np.asarray(self._tensors[name], np.float32)
        if not np.isfinite(tensor).all():
            raise EncoderError(f"{self.path}: tensor {name} holds a NaN or an infinity; fetch the file again")
        return tensor


def open_checkpoint(weights: Path, config: Path | None) -> Checkpoint:
    """`config`: the config.json of a safetensors file; None for Meta's .pth files, which need torch to be read.

    Raises EncoderError, in one line, for any fault in either.
    """
    if config is None:
        tensors = meta.read(weights)
        return Checkpoint(weights, _infer(weights, tensors), tensors)
    architecture = read_architecture(config)
    return Checkpoint(weights, architecture, _from_transformers(safetensors.read(weights)))


def read_architecture(config: Path) -> Architecture:
    """The architecture in a Hugging Face config.json; raises EncoderError for anything but a DINOv2 that can be run."""
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EncoderError(f"{config} is missing; a checkpoint is model.safetensors with its config.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"{config} is no readable JSON file ({type(error).__name__})") from error
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind not in ("dinov2", "dinov2_with_registers"):
        raise EncoderError(f"{config} describes a model of type {kind!r}, not dinov2 or dinov2_with_registers")
    return _architecture(config, values, kind == "dinov2_with_registers")


def _architecture(config: Path, values: dict[str, Any], with_registers: bool) -> Architecture:
    def number(name: str, default: int) -> int:
        value = values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST.get(name, 2**31):
            raise EncoderError(f"{config}: {name} is {value!r}, which no DINOv2 has")
        return value

    def must_be(name: str, required: object) -> None:
        if values.get(name, required) != required:
            raise EncoderError(f"{config}: {name} is {values[name]!r}, not {required!r}; no DINOv2 is made so")

    must_be("hidden_act", "gelu")
    must_be("num_channels", 3)
    must_be("qkv_bias", True)
    # The default of transformers for a model with registers is 16.
    if values.get("patch_size", 16 if with_registers else PATCH) != PATCH:
        raise EncoderError(f"{config}: patch_size is {values.get('patch_size', 16)!r}, not {PATCH}")
    dim, heads = number("hidden_size", 768), number("num_attention_heads", 12)
    if dim % heads:
        raise EncoderError(f"{config}: hidden_size {dim} cannot be shared among {heads} heads")
    size, ratio = number("image_size", 224), values.get("mlp_ratio", 4)
    eps, swiglu = values.get("layer_norm_eps", 1e-6), values.get("use_swiglu_ffn", False)
    if not PATCH <= size <= 256 * PATCH:
        raise EncoderError(f"{config}: image_size is {size}, which no DINOv2 has")
    if not _is_positive(ratio, 64) or not _is_positive(eps, 1) or not isinstance(swiglu, bool):
        raise EncoderError(f"{config}: mlp_ratio {ratio!r}, layer_norm_eps {eps!r} or use_swiglu_ffn is no DINOv2's")
    hidden = int(dim * ratio)
    if swiglu:
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return Architecture(
        width=dim,
        depth=number("num_hidden_layers", 12),
        heads=heads,
        hidden=hidden,
        swiglu=swiglu,
        registers=number("num_register_tokens", 4) if with_registers else 0,
        grid=size // PATCH,
        epsilon=float(eps),
    )


def _is_positive(value: object, limit: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= limit


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
