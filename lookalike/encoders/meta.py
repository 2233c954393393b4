"""Meta's own DINOv2 files (`dinov2_vitb14_pretrain.pth`) to tensors under the names that Hugging Face gave them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import torch_file
from lookalike.errors import EncoderError

# Meta's names to Hugging Face's; the second table is for the tensors of a block.
TOP = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.w12": "mlp.weights_in",
    "mlp.w3": "mlp.weights_out",
}
SCALES = {"ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
THIRDS = ("query", "key", "value")


def read(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors (float32) by Hugging Face name; raises EncoderError for another file."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, tensor in torch_file.read(path).items():
        names = renamed(name)
        if len(names) > 1 and (not tensor.ndim or tensor.shape[0] % len(names)):
            raise EncoderError(f"{path}: tensor {name} has shape {tensor.shape}, which is not three parts")
        parts = np.split(tensor, len(names)) if len(names) > 1 else [tensor]
        tensors |= dict(zip(names, parts, strict=True))
    return tensors


def renamed(name: str) -> list[str]:
    """Hugging Face's names for one of Meta's: three for the joint projection; an unknown name stays."""
    head, _, rest = name.partition("blocks.")
    number, _, part = rest.partition(".")
    if head or not number.isdecimal():
        return [TOP.get(name, name)]
    stem, _, tail = part.rpartition(".")
    at = f"encoder.layer.{int(number)}"
    if stem == "attn.qkv":
        return [f"{at}.attention.attention.{third}.{tail}" for third in THIRDS]
    return [f"{at}.{SCALES.get(part) or f'{BLOCK.get(stem, stem)}.{tail}'}"]
