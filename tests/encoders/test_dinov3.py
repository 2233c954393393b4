import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import lookalike
from lookalike.encoders import ENCODERS, dinov2, load_encoder, rotary, weights
from lookalike.encoders.build import build
from lookalike.encoders.checkpoint import open_checkpoint
from lookalike.encoders.files import locate
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.preprocess import Preprocess
from lookalike.encoders.torch import TorchBackbone
from lookalike.errors import EncoderError
from lookalike.types import Encoder
from tests.encoders import checkpoints
from tests.encoders.test_checkpoint import Tensors, refused, rewritten, with_config

pytestmark = pytest.mark.usefixtures("own_cache")
SIZES = [(224, 224), (384, 384), (320, 512)]
TINY = {"width": 128, "depth": 3, "heads": 2, "hidden": 512}
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of dinov3-small, with random weights."""
    return checkpoints.write(checkpoints.rotary("dinov3-small"), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(checkpoints.rotary("dinov3-small", **TINY), tmp_path_factory.mktemp("little"))


def onnx(folder: Path, precision: str = "fp32") -> OnnxBackbone:
    return OnnxBackbone(build(locate(folder), precision), precision)


def smallest_cosine(actual: Rows, expected: Rows) -> float:
    lengths = np.linalg.norm(actual, axis=-1) * np.linalg.norm(expected, axis=-1)
    return float(((actual.astype(np.float64) * expected).sum(axis=-1) / lengths).min())


def agrees(backbone: dinov2.Backbone, folder: Path, height: int, width: int) -> None:
    pixels = checkpoints.small_pictures(height, width, count=1)
    expected = checkpoints.reference(folder, pixels)
    class_tokens, patches = backbone.tokens(pixels)
    assert patches.shape == (1, height * width // 256, backbone.architecture.width)
    pairs = [(class_tokens, expected[:, 0]), (patches, expected[:, 5:])]
    pairs.append((backbone.class_tokens(pixels), expected[:, 0]))
    for actual, published in pairs:
        assert smallest_cosine(actual, published) >= 0.99999
        assert np.abs(actual - published).max() < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_onnx_gives_the_tokens_of_transformers(size: tuple[int, int], small: Path) -> None:
    agrees(onnx(small), small, *size)


@pytest.mark.parametrize("size", SIZES)
def test_torch_gives_the_tokens_of_transformers(size: tuple[int, int], little: Path) -> None:
    agrees(TorchBackbone(locate(little), "cpu"), little, *size)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("dinov3-base", {"depth": 2}), ("dinov3-large", {"depth": 2}), ("dinov3-small", {"depth": 2, "swiglu": True})],
)
def test_larger_ones_and_gated_ones_give_them_too(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    folder = checkpoints.write(checkpoints.rotary(name, **changes), tmp_path)
    for size in ((224, 224), (320, 512)):
        agrees(onnx(folder), folder, *size)
    agrees(TorchBackbone(locate(folder), "cpu"), folder, 224, 224)


def test_other_rotations_would_give_other_tokens(little: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even of random weights, so that agreement says something."""
    pixels, rotations = checkpoints.small_pictures(224, 224, count=1), rotary.rotations
    expected = onnx(little).tokens(pixels)[1]

    def exchanged(frequency: Rows, rows: int, columns: int, prefix: int) -> Rows:
        halves = np.split(rotations(frequency, rows, columns, prefix), 2, axis=2)
        return np.concatenate(halves[::-1], axis=2)

    monkeypatch.setattr(rotary, "rotations", exchanged)
    assert smallest_cosine(onnx(little).tokens(pixels)[1], expected) < 0.9999


def test_int8_is_close_to_fp32_on_random_weights(little: Path) -> None:
    pixels = checkpoints.small_pictures(224, 224, count=4)
    exact, rounded = (onnx(little, precision).class_tokens(pixels) for precision in ("fp32", "int8"))
    assert smallest_cosine(rounded, exact) > 0.999


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_is_written_is_valid_onnx(precision: str, little: Path) -> None:
    import onnx as package

    built = build(locate(little), precision)
    for graph in ("cls.onnx", "tokens.onnx"):
        package.checker.check_model(str(built.folder / graph))
        model = package.load(built.folder / graph, load_external_data=False)
        assert [value.name for value in model.graph.input] == ["pixels", "positions"]


def published_files(little: Path, folder: Path, inner: bool) -> Path:
    """The model as transformers itself saves it, under the hub's names or its own."""
    from safetensors.torch import save_file

    model = checkpoints.published_model(little)
    model.save_pretrained(folder)
    if inner:
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(("inner", "name"), [(False, "layer.0.norm1.weight"), (True, "model.layer.0.norm1.weight")])
def test_files_that_transformers_saves_are_read(inner: bool, name: str, little: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = published_files(little, tmp_path, inner)
    assert name in load_file(folder / "model.safetensors")
    ours, theirs = (open_checkpoint(at / "model.safetensors", at / "config.json") for at in (little, folder))
    assert ours.architecture == theirs.architecture
    for part in ("query.weight", "query.bias", "key.weight", "value.weight", "value.bias"):
        number = f"attention.attention.{part}"
        assert np.array_equal(ours.block(1)(number), theirs.block(1)(number)), part


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "dinov3_convnext"}, "'dinov3_convnext', not dinov2, dinov2_with_registers or dinov3_vit"),
        ({"model_type": "dinov2"}, "patch_size is 16, not 14"),
        ({"patch_size": 14}, "patch_size is 14, not 16; no DINOv3 is made so"),
        ({"patch_size": [16, 16]}, r"patch_size is \[16, 16\]"),
        ({"key_bias": True}, "key_bias is True, not False"),
        ({"query_bias": False}, "query_bias is False, not True"),
        ({"mlp_bias": None}, "mlp_bias is None"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', not 'gelu'"),
        ({"use_gated_mlp": "yes"}, "use_gated_mlp is 'yes'"),
        ({"use_gated_mlp": True}, "hidden_act is 'gelu', not 'silu'"),
        ({"num_register_tokens": 0}, "num_register_tokens is 0"),
        ({"num_register_tokens": 5}, r"register_tokens has shape \(1, 4, 128\), not \(1, 5, 128\)"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000, which no DINOv3 has"),
        ({"num_attention_heads": 3}, "cannot be shared among 3 heads"),
        ({"num_attention_heads": 64}, "heads 2 wide have no rotary positions"),
        ({"num_hidden_layers": 2}, "has a tensor 'layer.2"),
        ({"num_hidden_layers": 4}, "has no tensor layer.3"),
        ({"intermediate_size": 512.0}, "intermediate_size is 512.0"),
        ({"rope_theta": float("inf")}, "rope_theta is inf"),
        ({"layer_norm_eps": None}, "layer_norm_eps is None"),
    ],
)
def test_a_config_for_something_else(
    changes: dict[str, object], words: str, little: Path, tmp_path: Path, own_cache: Path
) -> None:
    refused(with_config(little, tmp_path, **changes), own_cache, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("norm.bias"), "has no tensor norm.bias; it is no complete DINOv3 checkpoint"),
        (lambda tensors: tensors.update(extra=np.zeros(3, np.float32)), "has a tensor 'extra' that DINOv3 has not"),
        (
            lambda tensors: tensors.update({"layer.1.attention.k_proj.bias": np.zeros(128, np.float32)}),
            "has a tensor 'layer.1.attention.k_proj.bias'",
        ),
        (
            lambda tensors: tensors.update({"model.norm.bias": tensors["norm.bias"]}),
            "has a tensor twice, with and without 'model.'",
        ),
        (
            lambda tensors: tensors["layer.1.mlp.up_proj.weight"].__setitem__((3, 4), np.nan),
            "layer.1.mlp.up_proj.weight holds a NaN",
        ),
    ],
)
def test_tensors_that_are_not_as_they_should_be(
    change: Callable[[Tensors], Any], words: str, little: Path, tmp_path: Path, own_cache: Path
) -> None:
    refused(rewritten(little, tmp_path, change), own_cache, words)


def test_the_tensors_of_another_architecture_are_refused(
    little: Path, tiny: Path, tmp_path: Path, own_cache: Path
) -> None:
    (tmp_path / "config.json").write_bytes((little / "config.json").read_bytes())
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    refused(tmp_path, own_cache, "it is no complete DINOv3 checkpoint")


def test_the_mask_token_may_be_missing(little: Path, tmp_path: Path) -> None:
    folder = rewritten(little, tmp_path, lambda tensors: tensors.pop("embeddings.mask_token"))
    pixels = checkpoints.small_pictures(64, 96)
    assert np.array_equal(onnx(folder).class_tokens(pixels), onnx(little).class_tokens(pixels))
    TorchBackbone(locate(folder), "cpu")


def pictures() -> list[Image.Image]:
    wide, high = checkpoints.small_pictures(60, 100)[0], checkpoints.small_pictures(90, 40)[0]
    return [Image.fromarray(wide), Image.fromarray(high)]


@pytest.mark.parametrize(("pooling", "width"), [("cls", 128), ("mean", 128), ("gem", 128), ("cls+gem", 256)])
def test_every_pooling_gives_unit_vectors_on_both_runtimes(pooling: str, width: int, little: Path) -> None:
    first, second = (load_encoder(little, pooling=pooling, device=device) for device in ("onnx", "cpu"))
    assert isinstance(first, Encoder)
    assert (first.name, first.fingerprint) == (second.name, second.fingerprint)
    vectors = first.encode(pictures())
    assert vectors.shape == (2, width) == (2, first.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(vectors, second.encode(pictures()), atol=1e-5)


def test_sides_are_multiples_of_16(little: Path) -> None:
    padded = dinov2.load(little, preprocess="pad-512", device="onnx")
    arrays = [padded.prepare(picture.resize((600, 300))) for picture in pictures()]
    assert [array.shape for array in arrays] == [(256, 512, 3), (256, 512, 3)]
    assert [grid.shape for grid in padded.encode_patches(arrays)] == [(16, 32, 128), (16, 32, 128)]
    assert padded.patch_region(1000, 300).bottom == pytest.approx(160 * 300 / 154)
    with pytest.raises(EncoderError, match="multiples of 16 up to 2016; try squash-512"):
        load_encoder(little, preprocess="squash-518")


def test_a_wrong_size_is_said_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "resolve", None)
    with pytest.raises(EncoderError, match=r"multiples of 16.* try squash-224"):
        load_encoder("dinov3-base@squash-230")
    with pytest.raises(EncoderError, match=r"multiples of 14.* try squash-224"):
        load_encoder("dinov2-base@squash-230")


def test_the_default_is_the_published_preprocessing_up_to_its_rounding(little: Path) -> None:
    """DINOv3ViTImageProcessor resizes floats by torchvision, bilinear with antialiasing; pictures here are bytes."""
    import torch

    image = Image.fromarray(checkpoints.small_pictures(427, 640, count=1)[0])
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, (224, 224), mode="bilinear", antialias=True)[0]
    actual = dinov2.load(little, device="onnx").prepare(image)
    assert np.abs(actual - expected.permute(1, 2, 0).numpy()).max() <= 1.01
    assert np.abs(actual - expected.permute(1, 2, 0).numpy()).mean() < 0.3
    bicubic = Preprocess.parse("squash-224").prepare(image)
    assert np.abs(bicubic - expected.permute(1, 2, 0).numpy()).max() > 3


def test_the_sides_of_the_table_are_the_published_repositories() -> None:
    assert {name: weights.HUB[name].repository for name in ENCODERS if name.startswith("dinov3")} == {
        "dinov3-small": "facebook/dinov3-vits16-pretrain-lvd1689m",
        "dinov3-base": "facebook/dinov3-vitb16-pretrain-lvd1689m",
        "dinov3-large": "facebook/dinov3-vitl16-pretrain-lvd1689m",
    }


def test_what_is_cached_says_what_it_is(little: Path) -> None:
    built = build(locate(little), "fp32")
    assert built.architecture == checkpoints.rotary("dinov3-small", **TINY)
    assert json.loads((built.folder / "architecture.json").read_text())["theta"] == 100.0


def test_a_collection_is_searched_and_re_ranked_by_patches(little: Path, photos: Path) -> None:
    with lookalike.open(photos, encoder=f"{little}@pad-64,device=onnx") as collection:
        assert collection.index().added == 12
        hits = collection.search(photos / "04.jpg", 3, rerank=["patches"])
    assert hits[0].key == "04.jpg"
    assert len(hits) == 3
