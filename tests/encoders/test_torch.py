from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest

from lookalike.encoders import torch as runtime
from lookalike.encoders.files import locate
from lookalike.encoders.torch import TorchBackbone

pytest_plugins = ["encoder_fixtures"]
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
