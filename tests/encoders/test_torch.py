import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.encoders import load_encoder
from lookalike.encoders import torch as runtime
from lookalike.encoders.files import locate
from lookalike.encoders.torch import TorchBackbone
from tests.encoders import checkpoints

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_long_list_goes_in_groups_and_comes_back_whole(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = TorchBackbone(locate(tiny), "cpu")
    pixels = checkpoints.small_pictures(56, 84, count=7)
    whole = backbone.class_tokens(pixels)
    monkeypatch.setattr(runtime, "MOST_PATCHES", 2 * 4 * 6)
    groups: list[int] = []
    forward = backbone._run

    def counted(group: Any) -> Any:
        groups.append(len(group))
        return forward(group)

    monkeypatch.setattr(backbone, "_run", counted)
    assert np.allclose(backbone.class_tokens(pixels), whole, atol=1e-5)
    assert groups == [2, 2, 2, 1]


def test_all_tokens_hold_the_class_token_and_every_patch(tiny: Path) -> None:
    backbone = TorchBackbone(locate(tiny), "cpu")
    pixels = checkpoints.small_pictures(56, 84, count=3)
    class_tokens, patches = backbone.tokens(pixels)
    assert patches.shape == (3, 24, 128)
    assert np.array_equal(class_tokens, backbone.class_tokens(pixels))


def test_the_processor_computes_in_fp32_unless_told(tiny: Path) -> None:
    import torch

    assert TorchBackbone(locate(tiny), "cpu").dtype == torch.float32
    assert TorchBackbone(locate(tiny), "cpu", dtype="bfloat16").dtype == torch.bfloat16


def test_the_next_group_is_sent_before_the_last_one_is_waited_for(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, so a copy goes on beside the computing; the order is the same on a processor."""
    backbone = TorchBackbone(locate(tiny), "cpu")
    monkeypatch.setattr(runtime, "MOST_PATCHES", 4 * 6)
    done: list[str] = []

    def noted(name: str) -> Callable[[Any], Any]:
        original = getattr(backbone, name)

        def call(value: Any) -> Any:
            done.append(name)
            return original(value)

        return call

    for name in ("_send", "_fetch", "_arrived"):
        monkeypatch.setattr(backbone, name, noted(name))
    backbone.class_tokens(checkpoints.small_pictures(56, 84, count=3))
    assert done == ["_send", "_fetch", "_send", "_fetch", "_arrived", "_send", "_fetch", "_arrived", "_arrived"]


def test_a_compiled_model_gives_the_same_vectors(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured by torch.compile as on a GPU, and run as captured: building C++ code would take a minute."""
    import torch

    monkeypatch.setenv("LOOKALIKE_COMPILE", "1")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    pixels = checkpoints.small_pictures(56, 84)
    compiled, plain = TorchBackbone(locate(tiny), "cpu"), TorchBackbone(locate(tiny), "cpu", compiled=False)
    assert compiled._run is not compiled._forward
    assert np.allclose(compiled.class_tokens(pixels), plain.class_tokens(pixels), atol=1e-5)


def test_attention_is_pytorchs_own_fused_one(tiny: Path) -> None:
    assert TorchBackbone(locate(tiny), "cpu")._model.config._attn_implementation == "sdpa"


def test_a_gpu_is_fed_by_processes_and_a_processor_by_threads(tiny: Path) -> None:
    """PyTorch's `meta` device has no numbers, and stands for any that is not the processor."""
    assert not TorchBackbone(locate(tiny), "cpu").outruns_threads
    assert TorchBackbone(locate(tiny), "meta").outruns_threads
    assert load_encoder(tiny, device="cpu").preparation is None  # type: ignore[attr-defined]
