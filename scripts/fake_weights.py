"""Write a DINOv2 or DINOv3 checkpoint of the real architecture with seeded random weights, for tests and benchmarks.

    python scripts/fake_weights.py dinov2-base FOLDER [--seed 0] [--depth 12] [--meta]

It runs as fast as the published one and means nothing. `--meta` writes Meta's layout, one .pth file, which needs torch.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.checkpoint import AnyArchitecture, Architecture
from lookalike.encoders.dinov3 import RotaryArchitecture
from lookalike.encoders.meta import renamed

SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16), "giant": (1536, 40, 24)}


def rotary_architecture(name: str) -> RotaryArchitecture:
    """Of a name such as dinov3-base."""
    width, depth, heads = SIZES[name.removeprefix("dinov3-")]
    return RotaryArchitecture(width, depth, heads, 4 * width, False, 4)


def architecture(name: str) -> Architecture:
    """Of a name such as dinov2-base or dinov2-giant-reg."""
    size, _, registers = name.removeprefix("dinov2-").partition("-")
    width, depth, heads = SIZES[size]
    swiglu = size == "giant"
    return Architecture(width, depth, heads, 4096 if swiglu else 4 * width, swiglu, 4 if registers else 0, 37)


def config(shape: AnyArchitecture) -> dict[str, Any]:
    """The config.json of the hub for an architecture."""
    if isinstance(shape, RotaryArchitecture):
        return _rotary_config(shape)
    return {
        "architectures": ["Dinov2WithRegistersModel" if shape.registers else "Dinov2Model"],
        "model_type": "dinov2_with_registers" if shape.registers else "dinov2",
        "hidden_size": shape.width, "num_hidden_layers": shape.depth, "num_attention_heads": shape.heads,
        "mlp_ratio": 4, "hidden_act": "gelu", "layer_norm_eps": shape.epsilon, "qkv_bias": True,
        "image_size": shape.grid * shape.patch, "patch_size": shape.patch, "num_channels": 3,
        "use_swiglu_ffn": shape.swiglu, "layerscale_value": 1.0, "drop_path_rate": 0.0, "torch_dtype": "float32",
        **({"num_register_tokens": shape.registers} if shape.registers else {}),
    }  # fmt: skip


def _rotary_config(shape: RotaryArchitecture) -> dict[str, Any]:
    return {
        "architectures": ["DINOv3ViTModel"], "model_type": "dinov3_vit",
        "hidden_size": shape.width, "num_hidden_layers": shape.depth, "num_attention_heads": shape.heads,
        "intermediate_size": shape.hidden, "hidden_act": "silu" if shape.swiglu else "gelu",
        "use_gated_mlp": shape.swiglu, "layer_norm_eps": shape.epsilon, "rope_theta": shape.theta,
        "query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True, "mlp_bias": True,
        "image_size": 224, "patch_size": shape.patch, "num_channels": 3, "num_register_tokens": shape.registers,
        "layerscale_value": 1.0, "drop_path_rate": 0.0, "pos_embed_rescale": 2.0, "torch_dtype": "float32",
    }  # fmt: skip


def tensors(shape: AnyArchitecture, seed: int = 0) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Values that keep activations in a sane range and leave no part of the network without effect."""
    rng = np.random.default_rng(seed)
    for name, size in shape.shapes().items():
        values = rng.standard_normal(size, np.float32)
        if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")):
            values = 1 + np.float32(0.2) * values
        elif name.endswith("lambda1"):
            values = np.float32(0.5) + np.float32(0.2) * values
        elif name.endswith(".bias"):
            values *= np.float32(0.1)
        elif name.endswith(".weight"):
            values *= np.float32(np.prod(size[1:]) ** -0.5)
        else:
            values *= np.float32(0.5)
        yield name, values


def write(shape: AnyArchitecture, folder: Path, seed: int = 0) -> Path:
    """config.json and model.safetensors, as a folder of the hub holds them."""
    return save(shape, dict(tensors(shape, seed)), folder)


def save(shape: AnyArchitecture, values: dict[str, NDArray[np.float32]], folder: Path) -> Path:
    """The same of tensors that are given."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(shape), indent=2) + "\n", encoding="utf-8")
    save_file(values, folder / "model.safetensors", {"format": "pt"})
    return folder


def write_meta(shape: Architecture, path: Path, seed: int = 0) -> Path:
    """The same weights under Meta's names, as one .pth file."""
    import torch

    known = dict(tensors(shape, seed))
    state = {}
    for name in meta_names(shape):
        parts = [known[new] for new in renamed(name)]
        state[name] = torch.from_numpy(np.concatenate(parts) if len(parts) > 1 else parts[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def meta_names(shape: Architecture) -> Iterator[str]:
    """The keys of Meta's state dict."""
    yield from ("cls_token", "mask_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")
    if shape.registers:
        yield "register_tokens"
    linear = ("attn.qkv", "attn.proj", *(("mlp.w12", "mlp.w3") if shape.swiglu else ("mlp.fc1", "mlp.fc2")))
    for number in range(shape.depth):
        yield from (
            f"blocks.{number}.{stem}.{tail}" for stem in ("norm1", "norm2", *linear) for tail in ("weight", "bias")
        )
        yield from (f"blocks.{number}.{stem}.gamma" for stem in ("ls1", "ls2"))
    yield from ("norm.weight", "norm.bias")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "name", help="dinov2-small, -base, -large, -giant, each also with -reg; dinov3-small, -base, -large"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", type=int, help="fewer blocks than the real one")
    parser.add_argument("--meta", action="store_true", help="Meta's layout: FOLDER/NAME.pth")
    args = parser.parse_args()
    shape: AnyArchitecture = (rotary_architecture if args.name.startswith("dinov3") else architecture)(args.name)
    shape = replace(shape, depth=args.depth or shape.depth)
    if args.meta:
        if not isinstance(shape, Architecture):
            parser.error("--meta is for DINOv2")
        print(write_meta(shape, args.folder / f"{args.name}.pth", args.seed))
    else:
        print(write(shape, args.folder, args.seed))


if __name__ == "__main__":
    main()
