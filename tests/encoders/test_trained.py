"""Arithmetic on the activations of a trained network, which has outliers that random weights have not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders import dinov2, load_encoder
from lookalike.encoders.build import build
from lookalike.encoders.files import locate
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.precision import FEWEST, SMALLEST_COSINE, SMALLEST_OVERLAP, choose_precision
from lookalike.encoders.preprocess import Preprocess
from lookalike.encoders.torch import TorchBackbone
from lookalike.images.decode import load
from lookalike.types import Encoder
from tests.encoders import checkpoints
from tests.support import trained as wheel

pytestmark = pytest.mark.usefixtures("own_cache")
Rows = NDArray[np.float32]
SIZES = [(224, 224), (518, 518), (126, 322)]


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def gem(patches: Rows) -> Rows:
    mean = (patches.astype(np.float64) ** 3).mean(axis=1)
    return np.asarray(np.sign(mean) * np.abs(mean) ** (1 / 3), np.float32)


POOLED: dict[str, Callable[[Rows], Rows]] = {
    "cls": lambda tokens: unit(tokens[:, 0]),
    "mean": lambda tokens: unit(tokens[:, 1:].mean(axis=1)),
    "gem": lambda tokens: unit(gem(tokens[:, 1:])),
    "cls+gem": lambda tokens: np.concatenate([unit(tokens[:, 0]), unit(gem(tokens[:, 1:]))], axis=1) / np.sqrt(2),
}


def test_the_rebuilt_checkpoint_computes_what_the_wheels_own_graph_computes(trained: Path) -> None:
    import onnx
    import onnxruntime

    model = onnx.load(wheel.export())
    name = next(node.output[0] for node in model.graph.node if node.name == "/backbone/layernorm/Add_1")
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = checkpoints.small_pictures(224, 224, count=1)
    normal = ((pixels / 255 - checkpoints.MEAN) / checkpoints.STD).transpose(0, 3, 1, 2).astype(np.float32)
    (tokens,) = session.run([name], {"input_image": normal})
    assert np.abs(unit(tokens) - unit(checkpoints.reference(trained, pixels))).max() < 1e-5


@pytest.fixture(scope="module")
def backbones(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dinov2.Backbone]:
    files = locate(trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_CACHE", str(tmp_path_factory.mktemp("graphs")))
        return {"onnx": OnnxBackbone(build(files, "fp32"), "fp32"), "cpu": TorchBackbone(files, "cpu")}


def encoder(backbone: dinov2.Backbone, pooling: str) -> dinov2.Dinov2:
    return dinov2.Dinov2(dinov2.Identity("trained", Preprocess(), pooling, "fp32", ""), backbone)


@pytest.mark.parametrize(
    ("device", "size"), [*(("onnx", size) for size in SIZES), ("cpu", SIZES[0]), ("cpu", SIZES[2])]
)
def test_poolings_and_patches_agree_with_transformers(
    trained: Path, backbones: dict[str, dinov2.Backbone], device: str, size: tuple[int, int]
) -> None:
    pixels = checkpoints.small_pictures(*size, count=1)
    tokens = checkpoints.reference(trained, pixels)
    for pooling, pooled in POOLED.items():
        vectors = encoder(backbones[device], pooling).encode_batch(list(pixels))
        assert np.abs(vectors - pooled(tokens)).max() <= 1e-5, pooling
    (grid,) = encoder(backbones[device], "cls").encode_patches(list(pixels))
    assert grid.shape == (size[0] // 14, size[1] // 14, 384)
    assert np.abs(unit(grid.reshape(-1, 384)) - unit(tokens[0, 1:])).max() <= 1e-5


@pytest.fixture(scope="module")
def both(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Encoder]:
    """fp32 and int8; building and opening their graphs takes longer than a few pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_CACHE", str(tmp_path_factory.mktemp("both")))
        exact, rounded = (load_encoder(trained, precision=name, device="onnx") for name in ("fp32", "int8"))
    return exact, rounded


def test_what_the_trial_of_int8_finds_is_how_far_int8_is_from_transformers(
    trained: Path, both: tuple[Encoder, Encoder], six_buildings: Path
) -> None:
    pictures = [load(path).image for path in sorted(six_buildings.rglob("*.jpg"))[:FEWEST]]
    exact, rounded = both
    finding = choose_precision(exact, rounded, pictures)
    pixels = np.stack([exact.prepare(picture) for picture in pictures])
    published = unit(checkpoints.reference(trained, pixels)[:, 0])
    cosines = (published * rounded.encode(pictures)).sum(axis=1)
    assert finding.images == len(pictures) == 20
    assert abs(finding.smallest_cosine - cosines.min()) < 1e-5
    is_close = finding.smallest_cosine >= SMALLEST_COSINE and finding.top10_overlap >= SMALLEST_OVERLAP
    assert finding.chosen == ("int8" if is_close else "fp32")


def photos(folder: Path, count: int) -> list[Image]:
    """Photos spread evenly over a folder."""
    paths = sorted(folder.iterdir())
    return [load(paths[number * len(paths) // count]).image for number in range(count)]


def test_int8_is_close_on_trained_weights(both: tuple[Encoder, Encoder], six_buildings: Path) -> None:
    pictures = [load(path).image for path in sorted(six_buildings.rglob("*.jpg"))]
    exact, rounded = both
    cosines = (exact.encode(pictures) * rounded.encode(pictures)).sum(axis=1)
    assert len(cosines) == 30
    assert cosines.mean() > 0.9993
    assert cosines.min() > 0.995


@pytest.mark.photos
def test_auto_chooses_int8_on_trained_weights(both: tuple[Encoder, Encoder], shared_data: Path) -> None:
    exact, rounded = both
    finding = choose_precision(exact, rounded, photos(shared_data / "photos", 64))
    assert finding.smallest_cosine > 0.998
    assert finding.top10_overlap >= SMALLEST_OVERLAP
    assert finding.chosen == "int8"
