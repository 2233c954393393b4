"""CLIP and SigLIP compared with transformers, on tiny checkpoints of random weights in the hub's layout."""

import importlib.util
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.encoders import clip, load_encoder, processor, weights
from lookalike.encoders.clip import ClipEncoder
from lookalike.encoders.graph_files import external_locations
from lookalike.encoders.processor import Processor
from lookalike.encoders.tokens import Tokens
from lookalike.errors import EncoderError
from lookalike.types import TextEncoder

FAMILIES = ("clip", "siglip2")
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fake_clip.py"


def fake_clip() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_clip", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Any]]:
    """Family to (folder, transformers model, transformers tokenizer)."""
    for needed in ("torch", "transformers", "onnx", "tokenizers"):
        pytest.importorskip(needed)
    script, result = fake_clip(), {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        result[family] = (folder, *script.write(family, folder))
    return result


@pytest.fixture(params=FAMILIES)
def checkpoint(
    request: pytest.FixtureRequest, families: dict[str, tuple[Path, Any, Any]]
) -> tuple[str, Path, Any, Any]:
    return (request.param, *families[request.param])


@pytest.fixture
def copied(families: dict[str, tuple[Path, Any, Any]], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a checkpoint that a test may break."""
    return lambda family: Path(shutil.copytree(families[family][0], tmp_path / family))


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(64, 48), (48, 64), (200, 90), (33, 32), (31, 31), (20, 90), (1, 1)]
    blocks = [Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8)) for _ in sizes]
    return [block.resize(size, Image.Resampling.BICUBIC) for block, size in zip(blocks, sizes, strict=True)]


def unit(rows: Any) -> Any:
    rows = rows.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def features(output: Any) -> Any:
    return getattr(output, "pooler_output", output)


def test_it_is_a_text_encoder_of_unit_rows(checkpoint: tuple[str, Path, Any, Any]) -> None:
    _, folder, _, _ = checkpoint
    encoder = ClipEncoder(folder, name="fake")
    assert isinstance(encoder, TextEncoder)
    rows, words = encoder.encode(pictures()), encoder.encode_text(["a door", "ein Tor"])
    assert rows.shape == (7, encoder.dim)
    assert words.shape == (2, encoder.dim)
    assert rows.dtype == words.dtype == np.float32
    assert np.linalg.norm(np.concatenate([rows, words]), axis=1) == pytest.approx(1, abs=1e-5)
    assert encoder.encode_text([]).shape == (0, encoder.dim)


def test_image_vectors_match_transformers(checkpoint: tuple[str, Path, Any, Any]) -> None:
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    family, folder, model, _ = checkpoint
    reader = CLIPImageProcessorPil if family == "clip" else SiglipImageProcessorPil
    pixels = reader.from_pretrained(folder)(pictures(), return_tensors="pt")["pixel_values"]
    expected = unit(features(model.get_image_features(pixels)))
    actual = ClipEncoder(folder).encode(pictures())
    assert np.abs(actual - expected).max() < 1e-4
    # Random weights must not make all vectors alike, or the comparison would show nothing.
    assert (expected @ expected.T).min() < 0.9


def test_text_vectors_match_transformers(checkpoint: tuple[str, Path, Any, Any]) -> None:
    family, folder, model, _ = checkpoint
    texts = list(fake_clip().strings(200, seed=1))
    inputs = reference_tokens(family, folder, texts)
    if family == "siglip2":
        inputs.pop("attention_mask", None)
    expected = unit(features(model.get_text_features(**inputs)))
    actual = ClipEncoder(folder).encode_text(texts)
    assert np.abs(actual - expected).max() < 1e-4
    assert (expected @ expected.T).min() < 0.9


def reference_tokens(family: str, folder: Path, texts: list[str]) -> Any:
    from transformers import CLIPTokenizer, Siglip2Tokenizer

    kind = CLIPTokenizer if family == "clip" else Siglip2Tokenizer
    length = 77 if family == "clip" else 64
    tokenizer = kind.from_pretrained(folder)
    return dict(tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"))


def test_a_thousand_texts_of_many_scripts_are_tokenised_alike(checkpoint: tuple[str, Path, Any, Any]) -> None:
    family, folder, _, _ = checkpoint
    texts = list(fake_clip().strings(1000))
    assert len(texts) == 1000
    expected = reference_tokens(family, folder, texts)
    ids, mask = Tokens(folder).encode(texts)
    different = [text for text, a, b in zip(texts, ids, expected["input_ids"].numpy(), strict=True) if (a != b).any()]
    assert different == []
    assert (mask == expected["attention_mask"].numpy()).all()
    overlong = mask.all(axis=1)
    assert overlong.sum() >= 40
    end = 1
    assert (ids[overlong][:, -1] == end).all()


def test_siglip_2_reads_capitals_as_small_letters_and_ends_its_texts(
    families: dict[str, tuple[Path, Any, Any]],
) -> None:
    folder = families["siglip2"][0]
    # The hub's tokenizer.json is Gemma's, which does not lower by itself.
    assert "Lowercase" not in (folder / "tokenizer.json").read_text(encoding="utf-8")
    ids, mask = Tokens(folder).encode(["A Red DOOR", "a red door"])
    assert (ids[0] == ids[1]).all()
    assert ids[0, mask[0].sum() - 1] == 1
    assert (ids[0, mask[0].sum() :] == 0).all()


def test_an_overlong_text_is_cut_with_a_warning(
    families: dict[str, tuple[Path, Any, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Tokens(families["clip"][0]).encode(["short", "long " * 500])
    (record,) = caplog.records
    assert record.getMessage().startswith("only the first 77 tokens of 'long long")


def test_a_text_of_megabytes_or_of_broken_bytes_is_read(families: dict[str, tuple[Path, Any, Any]]) -> None:
    ids, _ = Tokens(families["siglip2"][0]).encode(["x" * 3_000_000, "caf\udce9"])
    assert ids.shape == (2, 64)


def test_towers_are_loaded_when_needed(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    (folder / "onnx" / "text_model.onnx").write_bytes(b"")
    encoder = ClipEncoder(folder)
    assert encoder.encode(pictures()[:1]).shape == (1, 24)
    with pytest.raises(EncoderError, match=r"text_model.onnx is no usable ONNX file"):
        encoder.encode_text(["a"])


def test_half_precision_is_near(copied: Callable[[str], Path]) -> None:
    onnx = pytest.importorskip("onnx")
    folder = copied("clip")
    for tower in ("vision", "text"):
        model = onnx.load(folder / "onnx" / f"{tower}_model.onnx")
        halve(onnx, model)
        onnx.save(model, folder / "onnx" / f"{tower}_model_fp16.onnx")
    full, half = ClipEncoder(folder), ClipEncoder(folder, precision="fp16")
    assert full.fingerprint != half.fingerprint
    assert (full.encode(pictures()) * half.encode(pictures())).sum(axis=1) == pytest.approx(1, abs=1e-3)


def halve(onnx: Any, model: Any) -> None:
    """Half precision for inputs and outputs, full precision between them, so that the runtime must cast."""
    graph, kind = model.graph, onnx.TensorProto
    for number, (entries, name) in enumerate(
        ((graph.input, graph.input[0].name), (graph.output, graph.output[0].name))
    ):
        entry = entries[0]
        if entry.type.tensor_type.elem_type != kind.FLOAT:
            continue
        entry.type.tensor_type.elem_type = kind.FLOAT16
        inner = f"{name}_full"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if value == name else value for value in names]
        ends, to = ((name, inner), kind.FLOAT) if number == 0 else ((inner, name), kind.FLOAT16)
        cast = onnx.helper.make_node("Cast", [ends[0]], [ends[1]], to=to)
        graph.node.insert(0 if number == 0 else len(graph.node), cast)


def test_quantised_files_go_by_either_name(copied: Callable[[str], Path]) -> None:
    folder = copied("siglip2")
    with pytest.raises(EncoderError, match=r"no vision_model_quantized.onnx or vision_model_int8.onnx"):
        ClipEncoder(folder, precision="int8")
    for tower, suffix in (("vision", "_quantized"), ("text", "_int8")):
        shutil.copy(folder / "onnx" / f"{tower}_model.onnx", folder / "onnx" / f"{tower}_model{suffix}.onnx")
    assert ClipEncoder(folder, precision="int8").encode(pictures()).shape == (7, 32)
    with pytest.raises(EncoderError, match="none of fp32, fp16, int8"):
        ClipEncoder(folder, precision="fp8")


def test_a_name_of_the_table_is_found_in_the_hub_s_cache(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / "abc"
    shutil.copytree(copied("clip"), snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    for tower in ("vision", "text"):
        path = snapshot / "onnx" / f"{tower}_model.onnx"
        shutil.copy(path, path.with_name(f"{tower}_model_quantized.onnx"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    for name, suffix in (("tiny", ""), ("tiny-int8", "_quantized")):
        files = ("config.json", f"onnx/vision_model{suffix}.onnx")
        monkeypatch.setitem(weights.HUB, name, weights.PublishedModel("someone/tiny", files))
    full, quantised = clip.load("tiny"), clip.load("tiny-int8")
    assert (full.name, quantised.name) == ("tiny", "tiny-int8")
    assert full.fingerprint != quantised.fingerprint
    assert full.encode_text(["a"]).shape == quantised.encode_text(["a"]).shape == (1, 24)


def test_the_name_of_a_folder_makes_the_same_encoder_again(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    for tower in ("vision", "text"):
        path = folder / "onnx" / f"{tower}_model.onnx"
        shutil.copy(path, path.with_name(f"{tower}_model_quantized.onnx"))
    plain, quantised = load_encoder(str(folder)), load_encoder(f"{folder}@precision=int8")
    assert plain.name == str(folder.resolve())
    assert quantised.name == f"{folder.resolve()}@precision=int8"
    for encoder in (plain, quantised):
        assert load_encoder(encoder.name).fingerprint == encoder.fingerprint


def test_a_file_is_no_checkpoint(copied: Callable[[str], Path]) -> None:
    with pytest.raises(EncoderError, match=r"tokenizer\.json is no folder"):
        clip.load(copied("clip") / "tokenizer.json")


def test_the_fingerprint_is_of_weights_tokenizer_and_preprocessing(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    first = ClipEncoder(folder).fingerprint
    assert ClipEncoder(folder).fingerprint == first
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(config | {"resample": 2}))
    assert ClipEncoder(folder).fingerprint != first


def test_the_fingerprint_of_the_same_files_stays_the_same_in_every_release(tmp_path: Path) -> None:
    """A change would orphan collections."""
    (tmp_path / "onnx").mkdir()
    for tower in ("vision", "text"):
        (tmp_path / "onnx" / f"{tower}_model.onnx").write_bytes(b"\x08\x08")
    steps = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 8, "width": 8}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(steps))
    assert ClipEncoder(tmp_path).fingerprint == "30029ea0d20d91667310e961caa1d39770c1798e7d05014ffbb303155f548f66"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnx/vision_model.onnx", "has no vision_model.onnx"),
        ("onnx/text_model.onnx", "has no text_model.onnx"),
        ("preprocessor_config.json", "preprocessor_config.json is missing"),
        ("tokenizer.json", "tokenizer.json is missing; text cannot be read"),
    ],
)
def test_a_missing_file_is_one_line(copied: Callable[[str], Path], name: str, message: str) -> None:
    folder = copied("clip")
    (folder / name).unlink()
    with pytest.raises(EncoderError, match=message) as caught:
        ClipEncoder(folder).encode_text(["a"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\udcff"])
def test_a_damaged_file_is_one_line(copied: Callable[[str], Path], name: str, content: str) -> None:
    folder = copied("clip")
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EncoderError, match=name) as caught:
        ClipEncoder(folder).encode_text(["a"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"longest_edge": 5}}, {"size": -1}, {"size": 10**9}, {"size": "x"}, {"resample": 99},
        {"image_mean": [0.5]}, {"image_std": None}, {"crop_size": [1]}, {"do_center_crop": False},
    ],
)  # fmt: skip
def test_preprocessing_that_makes_no_sense_is_refused(copied: Callable[[str], Path], change: dict[str, Any]) -> None:
    path = copied("clip") / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EncoderError, match="cannot be used"):
        Processor.read(path)


def test_old_preprocessing_files_give_bare_numbers(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    config = {"size": 224, "crop_size": 224, "do_center_crop": True, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    path.write_text(json.dumps(config))
    read = Processor.read(path)
    assert (read.resize, read.crop, read.decode_size) == (224, (224, 224), 224)
    assert read.pixels(Image.new("RGB", (500, 300))).shape == (224, 224, 3)


@pytest.mark.parametrize("filter_", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
@pytest.mark.parametrize("size", [(1, 300), (7, 900), (900, 7), (31, 2000), (32, 500), (1200, 20)])
def test_of_a_long_strip_only_the_middle_is_made_and_is_the_same(
    size: tuple[int, int], filter_: Image.Resampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures()[2].resize(size)
    preprocessing = Processor(32, (32, 32), filter_, 1, (0, 0, 0), (1, 1, 1))
    expected = preprocessing.pixels(image)
    monkeypatch.setattr(processor, "LARGEST_RESIZED", 0)
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def noted(self: Image.Image, size: tuple[int, int], *options: Any, **named: Any) -> Image.Image:
        made.append(size)
        return resize(self, size, *options, **named)

    monkeypatch.setattr(Image.Image, "resize", noted)
    assert np.array_equal(preprocessing.pixels(image), expected)
    assert made == ([] if min(size) < 32 else [preprocessing._resized(*size)] if size[0] != 32 else [])


def test_another_filter_makes_the_middle_of_a_strip_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures()[2].resize((7, 900))
    preprocessing = Processor(32, (32, 32), Image.Resampling.LANCZOS, 1, (0, 0, 0), (1, 1, 1))
    expected = preprocessing.pixels(image).astype(int)
    monkeypatch.setattr(processor, "LARGEST_RESIZED", 0)
    assert np.abs(preprocessing.pixels(image) - expected).max() <= 1


def test_towers_in_the_wrong_place_are_recognised_by_their_inputs(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    shutil.copy(folder / "onnx" / "text_model.onnx", folder / "onnx" / "vision_model.onnx")
    with pytest.raises(EncoderError, match=r"takes input_ids, not pixel_values; it is no vision model"):
        ClipEncoder(folder).encode(pictures())


def test_a_clip_without_its_projection_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("siglip2")
    (folder / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(EncoderError, match=r"gives pooler_output, not image_embeds; export it with projection"):
        ClipEncoder(folder).encode(pictures())


def with_external(folder: Path, location: str, data: bool = True) -> Path:
    """The vision tower with one weight moved to another file, named `location`."""
    import onnx

    path = folder / "onnx" / "vision_model.onnx"
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    raw = tensor.raw_data
    if data:
        (folder / "onnx" / "weights.data").write_bytes(raw)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(raw)))):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_graph_are_read_and_fingerprinted(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    expected = ClipEncoder(folder).encode(pictures())
    assert external_locations(with_external(folder, "weights.data")) == ["weights.data"]
    encoder = ClipEncoder(folder)
    before = encoder.fingerprint
    assert np.abs(encoder.encode(pictures()) - expected).max() < 1e-6
    with (folder / "onnx" / "weights.data").open("r+b") as file:
        file.write(b"\0\0\0\0")
    assert ClipEncoder(folder).fingerprint != before


def test_links_as_the_hub_s_cache_has_them_are_followed(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    with_external(folder, "weights.data")
    blobs = folder / "blobs"
    blobs.mkdir()
    for path in list((folder / "onnx").iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(f"../blobs/{path.name}")
    assert ClipEncoder(folder).encode(pictures()).shape == (7, 24)


@pytest.mark.parametrize("location", ["../weights.data", "/etc/hostname", "a/../../weights.data", "C:\\x", "..\\x"])
def test_weights_outside_the_folder_are_refused(copied: Callable[[str], Path], location: str) -> None:
    folder = copied("clip")
    with_external(folder, location)
    (folder / "weights.data").write_bytes((folder / "onnx" / "weights.data").read_bytes())
    with pytest.raises(EncoderError, match="outside its folder"):
        ClipEncoder(folder).encode(pictures())


def test_missing_weights_are_named(copied: Callable[[str], Path]) -> None:
    folder = copied("clip")
    with_external(folder, "weights.data", data=False)
    with pytest.raises(EncoderError, match=r"needs 'weights.data' beside it"):
        ClipEncoder(folder).encode(pictures())


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_damaged_graphs_are_one_line(copied: Callable[[str], Path], cut: int) -> None:
    folder = copied("clip")
    path = folder / "onnx" / "vision_model.onnx"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(EncoderError, match=r"vision_model.onnx") as caught:
        ClipEncoder(folder).encode(pictures())
    assert "\n" not in str(caught.value)
