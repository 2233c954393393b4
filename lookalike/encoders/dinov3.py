"""A DINOv3 checkpoint file of Hugging Face to checked float32 tensors, under the names that DINOv2 has for them.

Unlike DINOv2 it has rotary positions in place of learned ones, patches of 16 pixels, and keys without a bias.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lookalike.encoders import rotary
from lookalike.encoders.config import Config
from lookalike.encoders.tensors import MASK, Tensor, check_tensors, linear, read_tensor
from lookalike.errors import EncoderError

KIND, FAMILY = "dinov3_vit", "DINOv3"
PATCH = 16
# The published files name blocks `layer.0`, transformers 5 names them `model.layer.0` inside.
INNER = "model."
TOP = {
    "embeddings.patch_embeddings.projection.weight": "embeddings.patch_embeddings.weight",
    "embeddings.patch_embeddings.projection.bias": "embeddings.patch_embeddings.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
# Parts of a block: DINOv2's name to DINOv3's, two where DINOv2 has them in one tensor.
BLOCK = {
    "attention.attention.query": ["attention.q_proj"],
    "attention.attention.key": ["attention.k_proj"],
    "attention.attention.value": ["attention.v_proj"],
    "attention.output.dense": ["attention.o_proj"],
    "mlp.fc1": ["mlp.up_proj"],
    "mlp.fc2": ["mlp.down_proj"],
    "mlp.weights_in": ["mlp.gate_proj", "mlp.up_proj"],
    "mlp.weights_out": ["mlp.down_proj"],
}


@dataclass(frozen=True)
class RotaryArchitecture:
    """The parameters of the graph: `hidden` is the width inside the MLP, `theta` the base of the rotary frequencies."""

    width: int
    depth: int
    heads: int
    hidden: int
    swiglu: bool
    registers: int
    theta: float = 100.0
    epsilon: float = 1e-5
    patch: int = PATCH

    family = FAMILY
    rotary = True
    resample = Image.Resampling.BILINEAR  # as its preprocessor_config.json says

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the checkpoint by its published name; only `embeddings.mask_token` may be missing."""
        dim = self.width
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.cls_token": (1, 1, dim),
            MASK: (1, 1, dim),
            "embeddings.register_tokens": (1, self.registers, dim),
            "embeddings.patch_embeddings.weight": (dim, 3, self.patch, self.patch),
            "embeddings.patch_embeddings.bias": (dim,),
            "norm.weight": (dim,),
            "norm.bias": (dim,),
        }
        for layer in range(self.depth):
            shapes |= {f"layer.{layer}.{name}": shape for name, shape in self._layer_shapes().items()}
        return shapes

    def _layer_shapes(self) -> dict[str, tuple[int, ...]]:
        dim, shapes = self.width, dict[str, tuple[int, ...]]()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= linear(f"attention.{name}", dim, dim, bias=name != "k_proj")
        for name in ("gate_proj", "up_proj") if self.swiglu else ("up_proj",):
            shapes |= linear(f"mlp.{name}", dim, self.hidden)
        shapes |= linear("mlp.down_proj", self.hidden, dim)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[name] = (dim,)
        return shapes | {"layer_scale1.lambda1": (dim,), "layer_scale2.lambda1": (dim,)}

    def place(self, stored: Tensor, rows: int, columns: int) -> Tensor:
        """The `positions` input of the graph for a grid of patches: (2, tokens, head / 2), from the frequencies."""
        return rotary.rotations(stored, rows, columns, 1 + self.registers)


def architecture(config: Config) -> RotaryArchitecture:
    """The architecture in a config.json; raises EncoderError for anything but a DINOv3 that can be run."""
    gated = config.values.get("use_gated_mlp", False)
    required = {
        "hidden_act": "silu" if gated is True else "gelu",
        "num_channels": 3,
        "patch_size": PATCH,
        "query_bias": True,
        "key_bias": False,
        "value_bias": True,
        "proj_bias": True,
        "mlp_bias": True,
        "use_gated_mlp": gated is True,
    }
    for name, value in required.items():
        config.must_be(name, value)
    width = config.number("hidden_size", 384)
    heads = config.heads(width, 6)
    if width // heads % 4:
        raise EncoderError(f"{config.path}: heads {width // heads} wide have no rotary positions; they need fours")
    return RotaryArchitecture(
        width=width,
        depth=config.number("num_hidden_layers", 12),
        heads=heads,
        hidden=config.number("intermediate_size", 1536),
        swiglu=gated is True,
        registers=config.number("num_register_tokens", 0),
        theta=config.positive("rope_theta", 100.0, 1e9),
        epsilon=config.positive("layer_norm_eps", 1e-5, 1),
    )


class RotaryCheckpoint:
    """The tensors of a file, with names and shapes checked against the architecture."""

    def __init__(self, path: Path, architecture: RotaryArchitecture, tensors: Mapping[str, Any]) -> None:
        """`tensors`: by name, anything with a shape that numpy can read. Raises EncoderError."""
        self.path, self.architecture = path, architecture
        self._tensors = {name.removeprefix(INNER): tensor for name, tensor in tensors.items()}
        if len(self._tensors) < len(tensors):
            raise EncoderError(f"{path} has a tensor twice, with and without {INNER!r} before its name")
        check_tensors(path, architecture.shapes(), self._tensors, FAMILY)

    def block(self, number: int) -> Callable[[str], Tensor]:
        """`tensor` for the names within one block."""
        return lambda name: self.tensor(f"encoder.layer.{number}.{name}")

    def tensor(self, name: str) -> Tensor:
        """One tensor by DINOv2's name, in float32; the bias of a key is zero, and positions are rotary frequencies.

        Raises EncoderError where a number in it is not finite.
        """
        shape = self.architecture
        if name == "embeddings.position_embeddings":
            return rotary.frequencies(shape.theta, shape.width // shape.heads)
        if name.endswith(".attention.attention.key.bias"):
            return np.zeros(shape.width, np.float32)
        parts = [self.published(part) for part in published_names(name)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def published(self, name: str) -> Tensor:
        """One tensor by its own name, in float32; raises EncoderError where a number in it is not finite."""
        return read_tensor(self.path, self._tensors, name)


def published_names(name: str) -> list[str]:
    """The names in the file for one of DINOv2's."""
    if not name.startswith("encoder.layer."):
        return [TOP.get(name, name)]
    number, _, part = name.removeprefix("encoder.layer.").partition(".")
    stem, _, tail = part.rpartition(".")
    return [f"layer.{number}.{new}.{tail}" for new in BLOCK.get(stem, [stem])]
