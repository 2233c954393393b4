import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoders.build import build
from lookalike.encoders.checkpoint import open_checkpoint, read_architecture
from lookalike.encoders.files import checksum, locate
from lookalike.errors import EncoderError
from tests.encoders import checkpoints

pytestmark = pytest.mark.usefixtures("own_cache")
Tensors = dict[str, NDArray[np.float32]]
LAST = "encoder.layer.2.mlp.fc2.weight"


def rewritten(tiny: Path, folder: Path, change: Callable[[Tensors], Any]) -> Path:
    """A copy of a checkpoint with its tensors changed."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(tiny / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_bytes((tiny / "config.json").read_bytes())
    return folder


def with_config(tiny: Path, folder: Path, **changes: object) -> Path:
    """A copy of a checkpoint with its config changed."""
    config = json.loads((tiny / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").symlink_to(tiny / "model.safetensors")
    return folder


def refused(folder: Path, cache: Path, words: str) -> None:
    """Building is refused in one line, and nothing of it stays in the cache."""
    before = sorted(cache.glob("dinov2/*"))
    with pytest.raises(EncoderError, match=words) as caught:
        build(locate(folder), "fp32")
    assert "\n" not in str(caught.value)
    assert sorted(cache.glob("dinov2/*")) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop(LAST), f"has no tensor {LAST}"),
        (lambda tensors: tensors.update(extra=np.zeros(3, np.float32)), "has a tensor 'extra' that DINOv2 has not"),
        (lambda tensors: tensors.update({LAST: tensors[LAST][:5]}), r"has shape \(5, 512\), not \(128, 512\)"),
        (lambda tensors: tensors[LAST].__setitem__((3, 4), np.nan), f"tensor {LAST} holds a NaN"),
        (lambda tensors: tensors[LAST].__setitem__((3, 4), np.inf), "holds a NaN or an infinity"),
    ],
)
def test_tensors_that_are_not_as_they_should_be(
    change: Callable[[Tensors], Any], words: str, tiny: Path, tmp_path: Path, own_cache: Path
) -> None:
    refused(rewritten(tiny, tmp_path, change), own_cache, words)


@pytest.mark.parametrize("kept", [0, 7, 200, 100_000, -1])
def test_a_truncated_file(kept: int, tiny: Path, tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:kept])
    refused(tmp_path, own_cache, "is no whole safetensors file")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "vit"}, "a model of type 'vit', not dinov2"),
        ({"model_type": "dinov2_with_registers"}, "has no tensor embeddings.register_tokens"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000"),
        ({"hidden_size": "128"}, "hidden_size is '128'"),
        ({"num_attention_heads": 3}, "cannot be shared among 3 heads"),
        ({"num_hidden_layers": 2}, "has a tensor 'encoder.layer.2"),
        ({"patch_size": 16}, "patch_size is 16, not 14"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"image_size": 10**8}, "image_size is 100000000"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio inf"),
        ({"layer_norm_eps": None}, "layer_norm_eps None"),
    ],
)
def test_a_config_for_something_else(
    changes: dict[str, object], words: str, tiny: Path, tmp_path: Path, own_cache: Path
) -> None:
    refused(with_config(tiny, tmp_path, **changes), own_cache, words)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"dinov2"', "\ud800".encode("utf-8", "surrogatepass")])
def test_a_config_that_is_no_table(text: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EncoderError, match=r"config.json (is no readable JSON|describes a model of type None)"):
        read_architecture(tmp_path / "config.json")


def test_a_missing_config_is_said(tiny: Path, tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    refused(tmp_path, own_cache, r"config.json is missing")


def test_a_folder_or_file_that_holds_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"holds no model.safetensors"):
        locate(tmp_path)
    (tmp_path / "weights.bin").touch()
    with pytest.raises(EncoderError, match=r"is a .safetensors file with its config.json, or a .pth file"):
        locate(tmp_path / "weights.bin")


def test_a_pth_file_that_would_run_code_is_refused(tmp_path: Path, own_cache: Path) -> None:
    import pickle

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"cls_token": print}))
    refused(tmp_path, own_cache, r"evil.pth is refused: it holds the name 'builtins.print'")


def test_metas_files_are_read_without_torch(tmp_path: Path) -> None:
    pth = checkpoints.write_meta(checkpoints.shrunken("dinov2-small"), tmp_path / "small.pth")
    program = f"""
import pathlib, sys
from lookalike.encoders.checkpoint import open_checkpoint
print(open_checkpoint(pathlib.Path({str(pth)!r}), None).architecture.depth)
assert "torch" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.strip() == b"3"


@pytest.mark.parametrize("content", [{"cls_token": 3}, [1, 2], {"a": None}])
def test_a_pth_file_of_something_else_is_refused(content: Any, tmp_path: Path, own_cache: Path) -> None:
    import torch

    torch.save(content, tmp_path / "odd.pth")
    refused(tmp_path, own_cache, "holds something else than tensors by name")


def test_a_pth_file_of_another_model_is_refused(tmp_path: Path, own_cache: Path) -> None:
    import torch

    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "resnet.pth")
    refused(tmp_path, own_cache, "has no tensor embeddings.position_embeddings")


def test_the_names_that_transformers_5_uses_inside_are_read_too(tmp_path: Path) -> None:
    folder = checkpoints.write(checkpoints.shrunken("dinov2-giant-reg"), tmp_path / "hub")
    model = checkpoints.published_model(folder)
    from safetensors.torch import save_file

    (tmp_path / "inner").mkdir()
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "inner" / "m.safetensors"
    )
    config = folder / "config.json"
    inner = open_checkpoint(tmp_path / "inner" / "m.safetensors", config)
    usual = open_checkpoint(folder / "model.safetensors", config)
    assert "encoder.layer.0.attention.q_proj.weight" in model.state_dict()
    for name in usual.architecture.shapes():
        assert np.array_equal(inner.tensor(name), usual.tensor(name)), name


def test_half_precision_files_are_read_as_they_round(tiny: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny / "model.safetensors")
    for dtype in (torch.float16, torch.bfloat16):
        save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, tmp_path / "half.safetensors")
        read = open_checkpoint(tmp_path / "half.safetensors", tiny / "config.json").tensor(LAST)
        assert np.array_equal(read, tensors[LAST].to(dtype).float().numpy())


def test_a_checksum_is_remembered_until_the_file_changes(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum(file) == checksum(file) == sha256
    file.write_bytes(b"abd")
    assert checksum(file) != sha256
