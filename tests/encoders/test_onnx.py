import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lookalike.encoders.build import build
from lookalike.encoders.checkpoint import open_checkpoint
from lookalike.encoders.files import locate
from lookalike.encoders.graph import quantized, write_graphs
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.errors import EncoderError
from tests.encoders import checkpoints

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("name", ["dinov2-small", "dinov2-small-reg", "dinov2-giant"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_is_written_is_valid_onnx(name: str, precision: str, tmp_path: Path) -> None:
    import onnx as onnx_package

    folder = checkpoints.write(checkpoints.shrunken(name), tmp_path)
    built = build(locate(folder), precision)
    for graph in ("cls.onnx", "tokens.onnx"):
        model = onnx_package.load(built.folder / graph, load_external_data=False)
        assert [value.name for value in model.graph.input] == ["pixels", "positions"]
        assert [value.name for value in model.graph.output] == ["tokens"]
        assert {entry.domain for entry in model.opset_import} == {"", "com.microsoft"}
        onnx_package.checker.check_model(str(built.folder / graph))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_images_tokens_do_not_depend_on_what_is_in_its_batch(precision: str, tiny: Path) -> None:
    backbone = OnnxBackbone(build(locate(tiny), precision), precision)
    pixels = checkpoints.small_pictures(98, 98, count=11)
    pixels[3] = 255  # an outlier, which would widen a range shared by the batch
    together = backbone.class_tokens(pixels)
    alone = np.concatenate([backbone.class_tokens(image[None]) for image in pixels])
    assert together.shape == (11, 128)
    assert np.abs(together - alone).max() < 1e-5


def test_the_class_token_alone_is_that_among_all_tokens(tiny: Path) -> None:
    for precision in ("fp32", "int8"):
        backbone = OnnxBackbone(build(locate(tiny), precision), precision)
        pixels = checkpoints.small_pictures(98, 126)
        class_tokens, _ = backbone.tokens(pixels)
        alone = backbone.class_tokens(pixels)
        cosines = (
            (class_tokens * alone).sum(axis=1) / np.linalg.norm(class_tokens, axis=1) / np.linalg.norm(alone, axis=1)
        )
        assert cosines.min() > (0.9999999 if precision == "fp32" else 0.999)


def test_building_again_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    built = build(locate(tiny), "fp32")
    write_graphs(open_checkpoint(tiny / "model.safetensors", tiny / "config.json"), tmp_path)
    for name in ("cls.onnx", "tokens.onnx", "weights.bin"):
        assert (tmp_path / name).read_bytes() == (built.folder / name).read_bytes()


def test_two_processes_may_build_at_once(tiny: Path, tmp_path: Path) -> None:
    code = f"""
from PIL import Image
from lookalike.encoders import load_encoder
print(load_encoder({str(tiny)!r}).encode([Image.new("RGB", (50, 40), (200, 30, 90))]).tobytes().hex())
"""
    environment = {"LOOKALIKE_CACHE": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    answers = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers) == 1
    assert len(list((tmp_path / "dinov2").iterdir())) == 1


def test_what_a_killed_process_left_behind_does_not_matter(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path))
    first = build(locate(tiny), "fp32")
    left = first.folder.with_name(f".{first.folder.name}.abc")
    first.folder.rename(left)
    (left / "weights.bin").write_bytes(b"half")
    second = build(locate(tiny), "fp32")
    assert second.folder == first.folder
    assert OnnxBackbone(second, "fp32").class_tokens(checkpoints.small_pictures(56, 56)).shape == (2, 128)


def test_a_damaged_graph_in_the_cache_is_said_in_one_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path))
    built = build(locate(tiny), "fp32")
    (built.folder / "cls.onnx").write_bytes(b"not a graph")
    with pytest.raises(EncoderError, match="delete it, and it is made again") as caught:
        OnnxBackbone(built, "fp32").class_tokens(checkpoints.small_pictures(56, 56))
    assert "\n" not in str(caught.value)
    (built.folder / "architecture.json").write_text("[]")
    with pytest.raises(EncoderError, match="is damaged; delete it"):
        build(locate(tiny), "fp32")


def test_a_cache_that_cannot_be_written_to_is_said(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EncoderError, match="set LOOKALIKE_CACHE"):
        build(locate(tiny), "fp32")


def test_an_int8_weight_is_rounded_by_the_largest_of_its_column() -> None:
    rounded, scales = quantized(np.array([[1.27, -3.0], [0.013, 254.0]], np.float32))
    assert rounded.tolist() == [[127, -2], [1, 127]]
    assert np.allclose(scales, [0.01, 2])
