from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.build import build
from lookalike.encoders.files import locate
from lookalike.encoders.graph import CLS, TOKENS
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.precision import PrecisionFinding, choose_precision
from lookalike.types import Vectors
from tests.encoders import checkpoints
from tests.support.pictures import PixelEncoder, picture

pytestmark = pytest.mark.usefixtures("own_cache")


def cosine(folder: Path) -> float:
    """The smallest between int8 and fp32 over a few pictures."""
    pixels = checkpoints.small_pictures(224, 224, count=4)
    exact, rounded = (OnnxBackbone(build(locate(folder), name), name).class_tokens(pixels) for name in ("fp32", "int8"))
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    return float(((exact * rounded).sum(axis=1) / lengths).min())


@pytest.mark.parametrize("name", ["dinov2-small", "dinov2-giant-reg"])
def test_int8_is_close_to_fp32_on_random_weights(name: str, tmp_path: Path) -> None:
    assert cosine(checkpoints.write(checkpoints.shrunken(name), tmp_path)) > 0.999


def kinds(graph: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(graph, load_external_data=False).graph.node)


def test_what_is_computed_for_the_class_token_alone_is_not_rounded(tmp_path: Path) -> None:
    """The last block's projections but queries, keys and values; the readout leads out of the basis in both graphs."""
    folder = build(locate(checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path)), "int8").folder
    whole, alone = kinds(folder / TOKENS), kinds(folder / CLS)
    assert (whole["DynamicQuantizeMatMul"], whole["MatMulIntegerToFloat"], whole["Gemm"]) == (9, 3, 1)
    assert (alone["DynamicQuantizeMatMul"], alone["MatMulIntegerToFloat"], alone["Gemm"]) == (7, 2, 4)


class Noisy(PixelEncoder):
    """The same vectors with a little noise, or much."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self._noise = noise

    def encode_batch(self, prepared: Sequence[NDArray[np.float32]]) -> Vectors:
        exact = super().encode_batch(prepared)
        rows = exact + self._noise * np.random.default_rng(0).standard_normal(exact.shape)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_int8_must_earn_its_place() -> None:
    images = [picture(seed) for seed in range(30)]
    same = choose_precision(PixelEncoder(), PixelEncoder(), images)
    assert same.chosen == "int8"
    assert (round(same.smallest_cosine, 5), same.top10_overlap, same.images) == (1, 1, 30)
    far = choose_precision(PixelEncoder(), Noisy(0.05), images)
    assert far.chosen == "fp32"
    assert far.smallest_cosine < 0.995


class Leaning(PixelEncoder):
    """The same vectors with one more number, which turns all of them by the same angle: no neighbour changes."""

    def __init__(self, cosine: float) -> None:
        super().__init__()
        self._cosine = cosine

    def encode_batch(self, prepared: Sequence[NDArray[np.float32]]) -> Vectors:
        exact = super().encode_batch(prepared)
        further = np.full((len(exact), 1), np.sqrt(1 - self._cosine**2), np.float32)
        return np.concatenate([np.float32(self._cosine) * exact, further], axis=1)


@pytest.mark.parametrize(("cosine", "chosen"), [(0.9951, "int8"), (0.9949, "fp32"), (0.95, "fp32")])
def test_the_same_neighbours_do_not_make_up_for_a_cosine_below_the_smallest(cosine: float, chosen: str) -> None:
    images = [picture(seed) for seed in range(30)]
    tried = choose_precision(Leaning(1.0), Leaning(cosine), images)
    assert tried.smallest_cosine == pytest.approx(cosine, abs=1e-5)
    assert (tried.chosen, tried.top10_overlap) == (chosen, 1.0)


@pytest.mark.parametrize(("count", "chosen"), [(19, "fp32"), (20, "int8")])
def test_fewer_than_twenty_images_prove_nothing(count: int, chosen: str) -> None:
    images = [picture(seed) for seed in range(count)]
    assert choose_precision(PixelEncoder(), PixelEncoder(), images).chosen == chosen


def test_good_cosines_do_not_make_up_for_other_neighbours() -> None:
    """Thirty pictures that differ in one pixel: noise too small for the cosines decides the neighbours."""
    base = np.asarray(picture(0))
    images = []
    for seed in range(30):
        changed = base.copy()
        changed[seed, seed] = 0
        images.append(Image.fromarray(changed))
    finding = choose_precision(PixelEncoder(), Noisy(0.003), images)
    assert finding.smallest_cosine > 0.995
    assert finding.top10_overlap < 0.95
    assert finding.chosen == "fp32"


def test_the_trial_reports_its_progress() -> None:
    calls: list[tuple[int, int | None]] = []
    images = [picture(seed) for seed in range(20)]
    choose_precision(PixelEncoder(), PixelEncoder(), images, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 40) for done in (8, 16, 20, 28, 36, 40)]


def test_without_images_nothing_is_known_and_fp32_is_chosen() -> None:
    assert choose_precision(PixelEncoder(), PixelEncoder(), []) == PrecisionFinding("fp32", 0.0, 0.0, 0)
