"""DINOv2 and DINOv3 checkpoints on PyTorch, through transformers: bf16 on a GPU, fp32 on a CPU."""

import importlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import graph
from lookalike.encoders.checkpoint import AnyCheckpoint, Architecture, Checkpoint, open_checkpoint
from lookalike.encoders.dinov3 import INNER, RotaryCheckpoint
from lookalike.encoders.files import Files
from lookalike.encoders.tensors import MASK

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
# Images in one run on a GPU: enough to fill the largest; 0.2 GB of tokens for base at 224.
GPU_BATCH = 128
CPU_BATCH = 8
# Patches of all images in one run: pictures of 518 pixels and more run in smaller groups.
MOST_PATCHES = GPU_BATCH * 256
# Names of the checkpoint to the inner names of transformers 5.
RENAMED = {
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.o_proj.",
    ".mlp.weights_out.": ".mlp.down_proj.",
}


class TorchBackbone:
    """The model on one device; thread-safe. `LOOKALIKE_COMPILE=1` compiles it, which pays off in long runs."""

    def __init__(self, files: Files, device: str, dtype: str | None = None, compiled: bool | None = None) -> None:
        """`dtype`: bfloat16 or float32; None: float32 on a CPU, else bfloat16. Raises EncoderError."""
        import torch

        self.device = torch.device(device)
        self._on_gpu = self.device.type == "cuda"
        self.dtype = getattr(torch, dtype or ("float32" if self.device.type == "cpu" else "bfloat16"))
        checkpoint = open_checkpoint(files.weights, files.config)
        self.architecture = checkpoint.architecture
        self.batch_size = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        self.outruns_threads = self.device.type != "cpu"
        self._model = build_model(checkpoint).to(self.device, self.dtype)
        self._mean = torch.tensor(graph.MEAN * 255, dtype=torch.float32, device=self.device)
        self._std = torch.tensor(graph.STD * 255, dtype=torch.float32, device=self.device)
        self._lock = threading.Lock()
        compiled = os.environ.get("LOOKALIKE_COMPILE") == "1" if compiled is None else compiled
        self._run: Any = torch.compile(self._forward) if compiled else self._forward

    def class_tokens(self, pixels: Pixels) -> Rows:
        """(n, height, width, 3) to (n, width)."""
        return np.concatenate([part[:, 0] for part in self._outputs(pixels, only_class=True)])

    def tokens(self, pixels: Pixels) -> tuple[Rows, Rows]:
        """(n, height, width, 3) to class tokens (n, width) and patch tokens (n, patches, width) in reading order."""
        rows = np.concatenate(list(self._outputs(pixels, only_class=False)))
        return rows[:, 0], rows[:, 1 + self.architecture.registers :]

    def _outputs(self, pixels: Pixels, only_class: bool) -> Iterator[Rows]:
        """Tokens group by group; while the device computes one group of images, the next is copied to it."""
        import torch

        patches = pixels.shape[1] * pixels.shape[2] // self.architecture.patch**2
        together = max(1, min(self.batch_size, MOST_PATCHES // patches))
        under_way: deque[Any] = deque()
        with self._lock, torch.inference_mode():
            for at in range(0, len(pixels), together):
                tokens = self._run(self._send(pixels[at : at + together]))
                under_way.append(self._fetch(tokens[:, :1] if only_class else tokens))
                if len(under_way) > 1:
                    yield self._arrived(under_way.popleft())
            while under_way:
                yield self._arrived(under_way.popleft())

    def _forward(self, pixels: Any) -> Any:
        scaled = (pixels.float() - self._mean) / self._std
        return self._model(pixel_values=scaled.permute(0, 3, 1, 2).to(self.dtype)).last_hidden_state

    def _send(self, pixels: Pixels) -> Any:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(pixels))
        # A copy runs beside the computation only from pinned memory.
        return tensor.pin_memory().to(self.device, non_blocking=True) if self._on_gpu else tensor.to(self.device)

    def _fetch(self, tokens: Any) -> Any:
        import torch

        if not self._on_gpu:
            return tokens.float().cpu(), None
        copy = torch.empty(tokens.shape, dtype=torch.float32, pin_memory=True)
        copy.copy_(tokens.float(), non_blocking=True)
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrival.record()
        return copy, arrival

    def _arrived(self, sent: tuple[Any, Any]) -> Rows:
        tensor, arrival = sent
        if arrival is not None:
            arrival.synchronize()
        rows: Rows = tensor.numpy()
        return rows


def build_model(checkpoint: AnyCheckpoint) -> Any:
    """The transformers model of a checkpoint, in float32 and for inference, attention by SDPA."""
    model = _rotary(checkpoint) if isinstance(checkpoint, RotaryCheckpoint) else _learned(checkpoint)
    return model.eval()


def _rotary(checkpoint: RotaryCheckpoint) -> Any:
    import torch

    module = importlib.import_module("transformers.models.dinov3_vit")
    shape = checkpoint.architecture
    options = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.hidden,
        "layer_norm_eps": shape.epsilon,
        "rope_theta": shape.theta,
        "patch_size": shape.patch,
        "num_register_tokens": shape.registers,
        "use_gated_mlp": shape.swiglu,
        "hidden_act": "silu" if shape.swiglu else "gelu",
        "attn_implementation": "sdpa",
    }
    model = module.DINOv3ViTModel(module.DINOv3ViTConfig(**options))
    state = {name: torch.from_numpy(np.array(checkpoint.published(name))) for name in shape.shapes() if name != MASK}
    state[MASK] = torch.zeros(1, 1, shape.width)
    inner = {name.removeprefix(INNER): name for name in model.state_dict()}
    model.load_state_dict({inner[name]: tensor for name, tensor in state.items()})
    return model


def _learned(checkpoint: Checkpoint) -> Any:
    shape = checkpoint.architecture
    name = "Dinov2WithRegisters" if shape.registers else "Dinov2"
    module = importlib.import_module(
        "transformers.models." + ("dinov2_with_registers" if shape.registers else "dinov2")
    )
    options = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "mlp_ratio": _ratio(shape),
        "layer_norm_eps": shape.epsilon,
        "image_size": shape.grid * shape.patch,
        "patch_size": shape.patch,
        "use_swiglu_ffn": shape.swiglu,
        "attn_implementation": "sdpa",
        **({"num_register_tokens": shape.registers} if shape.registers else {}),
    }
    model = getattr(module, f"{name}Model")(getattr(module, f"{name}Config")(**options))
    model.load_state_dict(_state(checkpoint, set(model.state_dict())))
    return model


def _ratio(shape: Architecture) -> int:
    """The `mlp_ratio` from which transformers computes the width inside the MLP."""
    return round(shape.hidden * (1.5 if shape.swiglu else 1) / shape.width)


def _state(checkpoint: Checkpoint, names: set[str]) -> dict[str, Any]:
    import torch

    state = {}
    for name in checkpoint.architecture.shapes():
        if name == MASK:
            state[name] = torch.zeros(1, checkpoint.architecture.width)
            continue
        tensor = torch.from_numpy(np.array(checkpoint.tensor(name)))
        inner = name
        for old, new in RENAMED.items():
            inner = inner.replace(old, new)
        if name in names:
            state[name] = tensor
        elif ".mlp.weights_in." in name:
            gate, up = (name.replace("weights_in", part) for part in ("gate_proj", "up_proj"))
            state[gate], state[up] = tensor.chunk(2)
        else:
            state[inner] = tensor
    return state
