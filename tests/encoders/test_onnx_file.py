"""ONNX files of all kinds as encoders, compared with numpy on graphs that a person can compute."""

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import lookalike
from lookalike.encoders import load_encoder, reads_text, split_name, with_options
from lookalike.encoders.processor_config import beside
from lookalike.encoders.signature import read_signature
from lookalike.errors import EncoderError
from lookalike.types import Encoder
from tests.cli.running import status_of
from tests.encoders import graphs
from tests.encoders.graphs import BYTE, FLOAT, HALF, node, write
from tests.support.pictures import picture

PLAIN = "mean=0,std=1"
"""No normalisation: a channel of 255 is 1."""
Vector = NDArray[np.float32]
TO_VECTOR: tuple[Mapping[str, tuple[int, graphs.Shape]], Mapping[str, tuple[int, graphs.Shape]]] = (
    {"image": (FLOAT, ("n", 3, 4, 4))},
    {"vector": (FLOAT, ("n", 3))},
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return graphs.colours(tmp_path / "model.onnx")


def flat(red: int, green: int, blue: int, size: tuple[int, int] = (20, 10)) -> Image.Image:
    return Image.new("RGB", size, (red, green, blue))


def unit(*numbers: float) -> Any:
    vector = np.array(numbers)
    return pytest.approx(vector / np.linalg.norm(vector), abs=1e-5)


def vector(encoder: Encoder, image: Image.Image) -> Vector:
    return np.asarray(encoder.encode([image])[0])


def refused(name: object, **options: Any) -> str:
    """The message, in one line, with which an encoder or its first image is refused."""
    with pytest.raises(EncoderError) as caught:
        load_encoder(str(name), **options).encode([flat(10, 20, 30)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def config(folder: Path, **values: Any) -> None:
    """The smallest config that says all: 4 x 4 pixels, without normalisation."""
    plain = {"size": {"height": 4, "width": 4}, "do_normalize": False}
    (folder / "preprocessor_config.json").write_text(json.dumps({**plain, **values}))


def test_a_file_is_an_encoder_of_unit_vectors(colours: Path) -> None:
    encoder = load_encoder(f"{colours}@{PLAIN}")
    assert isinstance(encoder, Encoder)
    assert (encoder.dim, encoder.decode_size) == (3, 4)
    assert vector(encoder, flat(30, 40, 0)) == unit(3, 4, 0)
    assert encoder.encode([]).shape == (0, 3)
    assert not reads_text(str(colours))


def test_without_a_config_the_mean_and_std_of_imagenet_are_assumed_and_it_says_so(
    colours: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(colours)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{colours}: no preprocessor_config.json beside it, so this is assumed: "
        "mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
    )
    expected = (np.array([255, 51, 0]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert vector(encoder, flat(255, 51, 0)) == unit(*expected)


def test_nothing_is_said_where_options_leave_nothing_open(colours: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_encoder(f"{colours}@{PLAIN}")
    assert caplog.records == []


def test_a_graph_of_any_size_gets_224_pixels_and_another_where_it_is_named(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "any.onnx", ("n", 3, "height", "width"))
    assert load_encoder(path).prepare(flat(1, 2, 3)).shape == (224, 224, 3)
    assert load_encoder(f"{path}@squash-32x48").prepare(flat(1, 2, 3)).shape == (48, 32, 3)
    assert load_encoder(f"{path}@crop-56").prepare(flat(1, 2, 3)).shape == (56, 56, 3)


def test_a_crop_shows_the_middle_and_padding_is_grey_at_the_right_and_the_bottom(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "any.onnx", ("n", 3, "height", "width"))
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    cropped = load_encoder(f"{path}@crop-64,resample=nearest").prepare(image)
    assert (cropped == (0, 0, 255)).all()
    padded = load_encoder(f"{path}@pad-60,resample=nearest").prepare(image)
    assert (padded[:20, :20] == (255, 0, 0)).all()
    assert (padded[20:] == (124, 116, 104)).all()


def test_a_graph_of_rows_of_bytes_gets_the_pixels_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = graphs.colours_of_rows(tmp_path / "rows.onnx")
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(path)
    assert caplog.records == []
    assert vector(encoder, flat(30, 40, 0)) == unit(30, 40, 0)
    assert refused(f"{path}@mean=0.5") == f"{path} takes uint8, so it scales the pixels itself; leave out mean"


def test_bytes_in_planes_are_taken_too(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "planes.onnx", kind=BYTE)
    assert vector(load_encoder(path), flat(30, 40, 0)) == unit(30, 40, 0)


def test_half_precision_goes_in_and_comes_out(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "image", "vector", axes=[2, 3], keepdims=0)]
    path = write(tmp_path / "half.onnx", nodes, {"image": (HALF, ("n", 3, 4, 4))}, {"vector": (HALF, ("n", 3))})
    result = load_encoder(f"{path}@{PLAIN}").encode([flat(255, 255, 0)])
    assert result.dtype == np.float32
    assert result[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-3)


def test_blue_comes_first_where_the_order_says_so_and_mean_and_std_stay_with_their_colours(colours: Path) -> None:
    assert vector(load_encoder(f"{colours}@{PLAIN},order=bgr"), flat(30, 40, 0)) == unit(0, 40, 30)
    shifted = load_encoder(f"{colours}@mean=1:0:0,std=1:1:2,order=bgr")
    assert vector(shifted, flat(0, 255, 255)) == unit(0.5, 1, -1)


def test_pixels_are_multiplied_by_the_factor(colours: Path) -> None:
    encoder = load_encoder(colours, mean=(10, 0, 0), std=1, factor=1)
    assert encoder.name == f"{colours}@mean=10:0:0,std=1,factor=1"
    assert vector(encoder, flat(13, 4, 0)) == unit(3, 4, 0)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("", (1, 1, 0)),  # the class token: the largest of each channel
        ("pool=cls", (1, 1, 0)),
        ("pool=mean", (8, 8, 0)),
        ("pool=gem", (8, 8, 0)),
        ("pool=cls,prefix=0", None),
    ],
)
def test_tokens_are_pooled_as_asked_and_the_class_token_is_the_default(
    tmp_path: Path, pooling: str, expected: tuple[float, ...] | None
) -> None:
    path, halves = graphs.tokens(tmp_path / "tokens.onnx"), flat(255, 0, 0, (4, 4))
    halves.paste((0, 255, 0), (0, 0, 2, 4))
    name = f"{path}@{PLAIN},resample=nearest" + (f",{pooling}" if pooling else "")
    if expected is None:
        assert "gives 17 tokens, 0 of them before the patches, so there are none for pool=cls" in refused(name)
    else:
        assert vector(load_encoder(name), halves) == unit(*expected)


def test_mean_and_gem_are_those_of_the_sixteen_patches(tmp_path: Path) -> None:
    path, image = graphs.tokens(tmp_path / "tokens.onnx"), picture(1, (4, 4))
    patches = np.asarray(image).reshape(16, 3) / 255
    means, cubes = patches.mean(axis=0), (patches**3).mean(axis=0) ** (1 / 3)
    assert vector(load_encoder(f"{path}@{PLAIN},pool=mean"), image) == unit(*means)
    assert vector(load_encoder(f"{path}@{PLAIN},pool=gem"), image) == unit(*cubes)
    largest = patches.max(axis=0)
    both = [*largest / np.linalg.norm(largest), *cubes / np.linalg.norm(cubes)]
    assert vector(load_encoder(f"{path}@{PLAIN},pool=cls+gem"), image) == unit(*both)
    counted = np.concatenate([largest[None], patches]).mean(axis=0)
    assert vector(load_encoder(f"{path}@{PLAIN},pool=mean,prefix=0"), image) == unit(*counted)


def test_tokens_without_a_class_token_give_their_mean(tmp_path: Path) -> None:
    path, image = graphs.tokens(tmp_path / "tokens.onnx", with_class=False), picture(2, (4, 4))
    assert vector(load_encoder(f"{path}@{PLAIN}"), image) == unit(*np.asarray(image).reshape(16, 3).mean(axis=0))
    assert "gives 16 tokens, 0 of them before the patches" in refused(f"{path}@{PLAIN},pool=cls")


def test_tokens_that_are_no_grid_need_their_prefix(tmp_path: Path) -> None:
    nodes = [node("Reshape", "image shape", "tokens")]
    stored = {"shape": np.array([0, -1, 2], np.int64)}
    shapes = {"image": (FLOAT, ("n", 3, 10, 10))}, {"tokens": (FLOAT, ("n", 150, 2))}
    path = write(tmp_path / "odd.onnx", nodes, *shapes, stored)
    assert "150 tokens, which is no grid of patches in 10 x 10 pixels; say how many" in refused(f"{path}@{PLAIN}")
    assert load_encoder(f"{path}@{PLAIN},prefix=0").encode([flat(9, 9, 9)]).shape == (1, 2)


def test_a_feature_map_gives_its_mean_or_its_generalised_mean(tmp_path: Path) -> None:
    path, image = graphs.maps(tmp_path / "map.onnx"), picture(3, (4, 4))
    pixels = np.asarray(image).reshape(16, 3) / 255
    assert vector(load_encoder(f"{path}@{PLAIN}"), image) == unit(*pixels.mean(axis=0))
    assert vector(load_encoder(f"{path}@{PLAIN},pool=gem"), image) == unit(*(pixels**3).mean(axis=0) ** (1 / 3))
    assert "has no tokens for pool=cls" in refused(f"{path}@pool=cls")


IDENTITY = [node("Identity", "image", "vector")]
PLANES, ROWS = ("n", 3, 4, 4), ("n", 4, 4, 3)


@pytest.mark.parametrize(
    ("shape", "order", "result"),
    [
        (PLANES, [0, 1, 2, 3], PLANES),
        (PLANES, [0, 2, 3, 1], ROWS),
        (ROWS, [0, 1, 2, 3], ROWS),
        (ROWS, [0, 3, 1, 2], PLANES),
    ],
)
def test_the_channels_of_a_map_are_told_by_its_proportions(
    tmp_path: Path, shape: graphs.Shape, order: list[int], result: graphs.Shape
) -> None:
    image, nodes = picture(4, (4, 4)), [node("Transpose", "image", "map", perm=order)]
    path = write(tmp_path / "m.onnx", nodes, {"image": (FLOAT, shape)}, {"map": (FLOAT, result)})
    expected = np.asarray(image).reshape(16, 3).mean(axis=0)
    assert vector(load_encoder(f"{path}@{PLAIN}"), image) == unit(*expected)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_cube_is_n_x_d_x_h_x_w_unless_the_graph_takes_rows(tmp_path: Path, layout: str) -> None:
    shape = ("n", 3, 3, 3)
    path = write(tmp_path / "m.onnx", IDENTITY, {"image": (FLOAT, shape)}, {"vector": (FLOAT, shape)})
    if layout == "nchw":
        assert vector(load_encoder(f"{path}@{PLAIN}"), flat(30, 40, 0)) == unit(3, 4, 0)
    else:
        assert "which side is the channels cannot be told" in refused(f"{path}@{PLAIN},layout=nhwc")


@pytest.mark.parametrize("batch", [1, 3, "n"])
def test_every_image_of_a_batch_gets_the_vector_that_it_gets_alone(tmp_path: Path, batch: int | str) -> None:
    path = graphs.colours(tmp_path / "model.onnx", (batch, 3, 4, 4))
    encoder, images = load_encoder(f"{path}@{PLAIN}"), [picture(seed) for seed in range(20)]
    together = encoder.encode(images)
    assert together == pytest.approx(np.concatenate([encoder.encode([image]) for image in images]), abs=1e-6)
    assert encoder.batch_size == (8 if batch == "n" else batch)  # type: ignore[attr-defined]


def test_a_function_in_the_file_that_measures_the_range_of_a_batch_counts_too(tmp_path: Path) -> None:
    path, quantise = tmp_path / "model.onnx", field(7, field(4, b"DynamicQuantizeLinear"))
    path.write_bytes(HANDMADE)
    assert not read_signature(path).mixes_batch
    path.write_bytes(HANDMADE + b"\xca\x01" + bytes([len(quantise)]) + quantise)  # field 25
    assert read_signature(path).mixes_batch


def test_images_run_alone_where_the_graph_measures_the_range_of_a_batch(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["image"], ["bytes", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["full"]),
        node("ReduceMean", "full", "vector", axes=[2, 3], keepdims=0),
    ]
    encoder = load_encoder(f"{write(tmp_path / 'int8.onnx', nodes, *TO_VECTOR)}@{PLAIN}")
    # In a range of 200, 3 is 4 of 255 steps and not 3.
    dark, bright = flat(3, 2, 1), flat(200, 200, 200)
    assert (encoder.encode([dark, bright])[0] == vector(encoder, dark)).all()


def test_threads_share_one_session(colours: Path) -> None:
    encoder, images = load_encoder(f"{colours}@{PLAIN}"), [picture(seed) for seed in range(8)]
    expected = load_encoder(f"{colours}@{PLAIN}").encode(images)
    results: list[Vector] = []
    threads = [threading.Thread(target=lambda: results.append(encoder.encode(images))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all((result == expected).all() for result in results)


def outputs(path: Path, shapes: dict[str, tuple[int | str, ...]]) -> Path:
    """A graph that gives one picture's channels in several shapes: `n x 3` is scaled by its place in the list."""
    nodes, stored = [], {}
    for place, (name, shape) in enumerate(shapes.items(), 1):
        stored[f"{name}_shape"] = np.array([side if isinstance(side, int) else 0 for side in shape], np.int64)
        stored[f"{name}_weights"] = np.array([1, place, 0], np.float32)
        nodes += [
            node("ReduceMean", "image", f"{name}_means", axes=[2, 3], keepdims=0),
            node("Mul", f"{name}_means {name}_weights", f"{name}_all"),
            node("Reshape", f"{name}_all {name}_shape", name),
        ]
    declared = {name: (FLOAT, shape) for name, shape in shapes.items()}
    return write(path, nodes, {"image": (FLOAT, ("n", 3, 4, 4))}, declared, stored)


@pytest.mark.parametrize(
    ("shapes", "place"),
    [
        ({"last_hidden_state": ("n", 1, 3), "pooled": ("n", 3)}, 2),  # the only vector
        ({"other": ("n", 3), "image_embeds": ("n", 3)}, 2),  # a name that says so
        ({"first": ("n", 1, 3), "last_hidden_state": ("n", 1, 3)}, 2),
    ],
)
def test_the_output_that_looks_like_a_vector_is_taken(
    tmp_path: Path, shapes: dict[str, tuple[int | str, ...]], place: int
) -> None:
    path = outputs(tmp_path / "model.onnx", shapes)
    assert vector(load_encoder(f"{path}@{PLAIN}"), flat(255, 255, 255)) == unit(1, place, 0)


def test_a_number_for_each_image_is_no_vector(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "image", "score", axes=[1, 2, 3], keepdims=0),
        node("ReduceMean", "image", "vector", axes=[2, 3], keepdims=0),
    ]
    declared = {"score": (FLOAT, ("n",)), **TO_VECTOR[1]}
    path = write(tmp_path / "model.onnx", nodes, TO_VECTOR[0], declared)
    assert vector(load_encoder(f"{path}@{PLAIN}"), flat(30, 40, 0)) == unit(3, 4, 0)


def test_of_several_vectors_one_must_be_named_and_the_error_lists_them(tmp_path: Path) -> None:
    path = outputs(tmp_path / "model.onnx", {"one": ("n", 3), "two": ("n", 3), "tokens": ("n", 1, 3)})
    assert refused(path) == f"{path} gives one (n x 3), two (n x 3); say which is the vector, as in output=one"
    assert vector(load_encoder(f"{path}@{PLAIN},output=two"), flat(255, 255, 255)) == unit(1, 2, 0)
    assert vector(load_encoder(f"{path}@{PLAIN},output=tokens"), flat(255, 255, 255)) == unit(1, 3, 0)
    assert refused(f"{path}@output=three").endswith(
        "gives one (n x 3), two (n x 3), tokens (n x 1 x 3), of which 'three' is no vector (n x d), "
        "tokens (n x t x d) or map (n x d x h x w)"
    )


@pytest.mark.parametrize(
    ("inputs", "shape", "message"),
    [
        ({**TO_VECTOR[0], "ids": (7, ("n", 9))}, ("n", 3), "takes image (n x 3 x 4 x 4), ids (n x 9)"),
        ({"image": (FLOAT, ("n", 3))}, ("n", 3), "takes image (n x 3); an image is n x 3 x height x width"),
        ({"image": (FLOAT, None)}, ("n", 3), "takes image (?); an image is"),
        ({"image": (FLOAT, ("n", 1, 4, 4))}, ("n", 3), "1 channels, and images have 3"),
        ({"image": (7, ("n", 3, 4, 4))}, ("n", 3), "of another type than float32, float16 or uint8"),
        ({"image": (FLOAT, (1000, 3, 4, 4))}, (1000, 3), "takes 1000 images at once, over the limit of 64"),
        ({"image": (FLOAT, ("n", 3, 4, 4))}, ("n",), "gives vector (n), no vector (n x d)"),
        ({"image": (FLOAT, ("n", 3, 4, 4))}, ("n", 1, 1, 1, 3), "no vector (n x d), tokens (n x t x d) or map"),
        ({"image": (FLOAT, ("n", 3, 4, 4))}, None, "gives vector (?), no vector"),
    ],
)  # fmt: skip
def test_graphs_of_another_shape_are_refused(
    tmp_path: Path, inputs: dict[str, Any], shape: tuple[int | str, ...] | None, message: str
) -> None:
    path = write(tmp_path / "model.onnx", IDENTITY, inputs, {"vector": (FLOAT, shape)})
    assert message in refused(path)


def test_names_of_the_file_s_own_stay_in_one_line_of_bearable_length(tmp_path: Path) -> None:
    names = [f"{number}\nb" + "x" * 1000 for number in range(50)]
    outputs = dict.fromkeys(names, (FLOAT, ("n", 3)))
    path = write(tmp_path / "model.onnx", IDENTITY, TO_VECTOR[0], outputs)
    assert "and 40 more; say which is the vector" in refused(path)
    assert len(refused(path)) < 1500


def test_weights_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "image", "means", axes=[2, 3], keepdims=0), node("Mul", "means weights", "vector")]
    inputs = {"image": (FLOAT, ("n", 3, 4, 4)), "weights": (FLOAT, (3,))}
    stored = {"weights": np.array([1, 2, 3], np.float32)}
    path = write(tmp_path / "old.onnx", nodes, inputs, {"vector": (FLOAT, ("n", 3))}, stored)
    assert vector(load_encoder(f"{path}@{PLAIN}"), flat(1, 1, 1)) == unit(1, 2, 3)


def test_an_output_of_another_shape_than_the_file_states_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "image", "vector", axes=[0, 2, 3], keepdims=0)]
    declared = {"vector": (FLOAT, ("n", "d"))}
    encoder = load_encoder(f"{write(tmp_path / 'model.onnx', nodes, TO_VECTOR[0], declared)}@{PLAIN}")
    with pytest.raises(EncoderError, match=r"model\.onnx"):
        encoder.dim  # noqa: B018


def test_the_weights_beside_a_graph_are_read_and_fingerprinted(tmp_path: Path) -> None:
    path = graphs.weighted(tmp_path / "model.onnx", "model.onnx_data")
    encoder = load_encoder(f"{path}@{PLAIN}")
    before = encoder.fingerprint
    assert vector(encoder, flat(1, 1, 1)) == unit(1, 2, 3)
    (tmp_path / "model.onnx_data").write_bytes(np.array([3, 2, 1], np.float32).tobytes())
    changed = load_encoder(f"{path}@{PLAIN}")
    assert changed.fingerprint != before
    assert vector(changed, flat(1, 1, 1)) == unit(3, 2, 1)


@pytest.mark.parametrize("location", ["../weights", "/etc/hostname", "C:\\weights", "*/_ORT_MEM_ADDR_/*"])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    path = graphs.weighted(tmp_path / "model.onnx", location, data=False)
    with pytest.raises(EncoderError) as caught:
        load_encoder(path)  # before anything is computed
    assert str(caught.value) == (
        f"{path} wants to read {location!r}, which is outside its folder; do not use this file"
    )


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = graphs.weighted(tmp_path / "model.onnx", "weights", data=False)
    assert refused(path) == f"{path} needs 'weights' beside it, which is missing"


def test_a_truncated_file_is_one_line(colours: Path) -> None:
    whole = colours.read_bytes()
    for length in range(len(whole)):
        colours.write_bytes(whole[:length])
        assert str(colours) in refused(colours)


def test_a_file_with_any_byte_changed_is_planned_or_refused_in_one_line(colours: Path) -> None:
    whole = colours.read_bytes()
    refusals = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            colours.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                load_encoder(colours)
            except EncoderError as error:
                assert "\n" not in str(error)
                refusals += 1
    assert refusals > len(whole)


def test_a_file_of_three_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    os.truncate(path, 3 << 30)
    assert refused(path) == (
        f"{path} has 3,221,225,472 bytes, over protobuf's limit of 2,147,483,647; "
        "export it with its weights in a file beside it"
    )


@pytest.mark.parametrize("kind", ["Log", "Reciprocal", "zero"])
def test_vectors_of_nan_or_infinity_or_zeros_are_refused(tmp_path: Path, kind: str) -> None:
    """Black pixels minus one half have no logarithm, black pixels no reciprocal."""
    nodes = [
        node("ReduceMean", "image", "means", axes=[2, 3], keepdims=0),
        node("Mul", "means means", "vector") if kind == "zero" else node(kind, "means", "vector"),
    ]
    path = write(tmp_path / "model.onnx", nodes, *TO_VECTOR)
    encoder = load_encoder(f"{path}@mean={0.5 if kind == 'Log' else 0},std=1")
    with pytest.raises(EncoderError) as caught:
        encoder.encode([flat(0, 0, 0)])
    assert str(caught.value) == (
        f"{path}: the output vector is zero or not finite for an image; this model cannot be used"
    )


def test_operators_of_somebody_s_own_library_are_refused(tmp_path: Path) -> None:
    nodes = [node("Mystery", "image", "vector", domain="my.library")]
    path = write(tmp_path / "model.onnx", nodes, *TO_VECTOR, functions=[("", 17), ("my.library", 1)])
    assert "cannot be loaded by ONNX Runtime" in refused(path)


OPTIONS = [
    "squash-4x4,order=bgr", "pad-4", "crop-4", "mean=0.5", "mean=0.5:0.5:0.6", "std=0.5", "factor=1", "resample=box",
    "resample=nearest", "output=last_hidden_state", "output=last_hidden_state,pool=mean",
    "output=last_hidden_state,pool=gem", "output=last_hidden_state,pool=mean,prefix=0",
]  # fmt: skip


@pytest.fixture
def two_outputs(tmp_path: Path) -> Path:
    return outputs(tmp_path / "model.onnx", {"last_hidden_state": ("n", 1, 3), "pooled": ("n", 3)})


def test_the_fingerprint_changes_with_every_option_and_the_name_makes_the_same_encoder_again(two_outputs: Path) -> None:
    encoders = [load_encoder(two_outputs), *(load_encoder(f"{two_outputs}@{words}") for words in OPTIONS)]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)
    for encoder in encoders:
        assert load_encoder(encoder.name).fingerprint == encoder.fingerprint
        assert load_encoder(with_options(encoder.name)).fingerprint == encoder.fingerprint


def test_the_fingerprint_is_the_file_s_and_not_its_name_s(two_outputs: Path, tmp_path: Path) -> None:
    first = load_encoder(two_outputs).fingerprint
    moved = two_outputs.rename(tmp_path / "other.onnx")
    assert load_encoder(moved).fingerprint == first
    assert load_encoder(f"{moved}@squash-4").fingerprint == first
    moved.write_bytes(moved.read_bytes() + b"\x32\x01x")  # a comment
    assert load_encoder(moved).fingerprint != first


def test_the_fingerprint_is_of_the_steps_in_the_config_and_not_of_its_text(colours: Path) -> None:
    config(colours.parent)
    first = load_encoder(colours).fingerprint
    config(colours.parent, processor_class="X")
    assert load_encoder(colours).fingerprint == first
    config(colours.parent, resample=0)
    assert load_encoder(colours).fingerprint != first


def test_the_layout_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "model.onnx", ("n", "a", "b", "c"))
    planes, rows = (load_encoder(f"{path}@squash-3,{PLAIN},layout={layout}") for layout in ("nchw", "nhwc"))
    assert planes.fingerprint == load_encoder(f"{path}@squash-3,{PLAIN}").fingerprint != rows.fingerprint
    assert vector(planes, flat(30, 40, 0)) == unit(30, 40, 0)
    assert vector(rows, flat(30, 40, 0)) == unit(1, 1, 1)


def test_what_fingerprints_are_made_of_has_not_changed(tmp_path: Path) -> None:
    """A change would orphan collections; the file is written by hand, as exporters differ."""
    path = tmp_path / "model.onnx"
    path.write_bytes(HANDMADE)
    assert load_encoder(f"{path}@{PLAIN}").fingerprint == PINNED


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def value(name: bytes, *sides: int) -> bytes:
    shape = b"".join(field(1, bytes([8, side])) for side in sides)
    return field(1, name) + field(2, field(1, b"\x08\x01" + field(2, shape)))


HANDMADE = field(7, field(11, value(b"image", 1, 3, 4, 4)) + field(12, value(b"vector", 1, 3)))
PINNED = "345c32c676005cc835a034f85e0cf194cafdd7de8380bcc7cc63402d6ad1d3d6"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("squash-0", "none of squash-N"), ("squash-9999", "at most 4096"), ("crop-4x5", "none of squash-N"),
        ("crop-4000", "at most 4096"), ("mean=a", "mean 'a' is no number"), ("mean=nan", "is no number"),
        ("mean=1:2", "neither one number nor three"), ("std=0", "std '0' is no number"), ("std=1:0:1", "std '0'"),
        ("factor=0", "factor '0'"), ("factor=inf", "factor 'inf'"), ("order=gbr", "none of rgb, bgr"),
        ("resample=sinc", "none of nearest, box, bilinear"), ("layout=chw", "none of nchw, nhwc"),
        ("pool=max", "none of cls, mean, gem"), ("prefix=-1", "no number from 0"), ("prefix=1", "leave out prefix"),
        ("pool=mean", "has no tokens for pool=mean"), ("squash-8", "takes images of 4 x 4 pixels, not 8 x 8"),
        ("precision=int8", "does not take the options precision"), ("mean=0.5,0.5", "is no"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(colours: Path, words: str, message: str) -> None:
    assert message in refused(f"{colours}@{words}")


def test_keywords_are_the_options_of_the_name(colours: Path) -> None:
    by_name = load_encoder(f"{colours}@squash-4,mean=0.5:0.4:0.3,std=0.2,order=bgr,resample=box")
    by_keyword = load_encoder(
        colours, preprocess="squash-4", mean=[0.5, 0.4, 0.3], std=0.2, order="bgr", resample="box"
    )
    assert by_keyword.fingerprint == by_name.fingerprint
    assert by_keyword.name == by_name.name
    assert "has a comma" in refused(colours, output="a,b")


def test_the_config_beside_a_file_is_used_and_options_take_precedence(colours: Path) -> None:
    config(colours.parent, do_normalize=True, image_mean=[0.5, 0, 0], image_std=[0.5, 1, 1], rescale_factor=1 / 255)
    assert vector(load_encoder(colours), flat(255, 255, 0)) == unit(1, 1, 0)
    assert vector(load_encoder(f"{colours}@mean=0"), flat(255, 255, 0)) == unit(2, 1, 0)


def test_the_config_above_a_folder_of_the_name_onnx_is_used(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "onnx" / "model.onnx")
    config(tmp_path, do_flip_channel_order=True)
    assert vector(load_encoder(path), flat(30, 40, 0)) == unit(0, 40, 30)
    assert vector(load_encoder(tmp_path), flat(30, 40, 0)) == unit(0, 40, 30)


# What each image processor of transformers does to a picture of 40 x 20 pixels: (resize, crop).
CONFIGS: list[tuple[dict[str, Any], Any, Any]] = [
    ({"size": 8}, (8, 8), None),
    ({"size": 8, "do_center_crop": True, "crop_size": 6}, 8, (6, 6)),
    ({"size": 8, "do_center_crop": True, "crop_size": 6, "image_processor_type": "DeiTImageProcessor"}, (8, 8), (6, 6)),
    ({"size": {"height": 8, "width": 6}}, (6, 8), None),
    ({"size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 6, "width": 5}}, 8, (5, 6)),
    ({"size": {"shortest_edge": 7}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"}, 8, (7, 7)),
    ({"size": 7, "crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor"}, 8, (7, 7)),
    ({"size": {"shortest_edge": 384}, "crop_pct": 1.0}, (384, 384), None),
    ({"size": {"shortest_edge": 9}, "crop_pct": 0.9, "do_center_crop": True, "crop_size": 8}, 10, (8, 8)),
    ({"size": 8, "do_center_crop": None, "do_pad": None, "crop_size": None}, (8, 8), None),
]  # fmt: skip


@pytest.mark.parametrize(("values", "resize", "crop"), CONFIGS)
def test_the_sizes_of_many_image_processors_are_understood(
    tmp_path: Path, values: dict[str, Any], resize: Any, crop: Any
) -> None:
    config(tmp_path, **values)
    processor = beside(tmp_path / "model.onnx")
    assert processor is not None
    assert (processor.resize, processor.crop) == (resize, crop)


@pytest.mark.parametrize(
    ("values", "factor", "mean", "std"),
    [
        ({}, 1 / 255, 0, 1),
        ({"do_rescale": False}, 1, 0, 1),
        ({"do_normalize": None}, 1 / 255, 0, 1),
        ({"do_normalize": True, "image_mean": 0.5, "image_std": 0.25}, 1 / 255, 0.5, 0.25),
        ({"do_normalize": None, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}, 1 / 255, 0.5, 0.25),
        ({"include_top": True, "do_normalize": True, "image_mean": 0.5, "image_std": [0.5] * 3}, 1 / 255, 0.5, 0.25),
    ],
)  # fmt: skip
def test_the_scaling_of_many_image_processors_is_understood(
    tmp_path: Path, values: dict[str, Any], factor: float, mean: float, std: float
) -> None:
    config(tmp_path, **values)
    processor = beside(tmp_path / "model.onnx")
    assert processor is not None
    assert (processor.factor, processor.mean, processor.std) == (factor, (mean,) * 3, (std,) * 3)


@pytest.mark.parametrize(
    "values",
    [
        {"do_pad": True}, {"rescale_offset": True}, {"size": {"longest_edge": 8}}, {"size": "x"}, {"resample": 77},
        {"crop_pct": 0}, {"crop_pct": 0.9}, {"image_mean": [1, 2]}, {"do_normalize": True}, {"do_resize": False},
        {"size": {"shortest_edge": 4}}, {"size": 4, "do_center_crop": True, "crop_size": 9}, {"rescale_factor": 0},
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_followed_is_refused(colours: Path, values: dict[str, Any]) -> None:
    config(colours.parent, **({"do_normalize": True} if "image_mean" in values else {}), **values)
    assert "config" in refused(colours)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", '"x"', "[" * 100_000, '{"size": 1e999}'])
@pytest.mark.parametrize("name", ["preprocessor_config.json", "config.json"])
def test_a_damaged_config_is_one_line(colours: Path, text: str, name: str) -> None:
    (colours.parent / name).write_text(text)
    try:
        load_encoder(colours)
    except EncoderError as error:
        assert str(error).startswith(f"{colours.parent / name} cannot be used")
        assert "\n" not in str(error)
    else:
        # JSON that is no config of timm's says nothing about images.
        assert name == "config.json"
        assert text in ("[]", "null", '"x"', '{"size": 1e999}')


def timm(folder: Path, **values: Any) -> None:
    stored = {"input_size": [3, 4, 4], "mean": [0.5, 0, 0], "std": [0.5, 1, 1], "interpolation": "bicubic", **values}
    (folder / "config.json").write_text(json.dumps({"architecture": "x", "pretrained_cfg": stored}))


def test_timm_s_config_is_used_where_there_is_no_other(colours: Path) -> None:
    timm(colours.parent, crop_pct=0.5, interpolation="bilinear")
    processor = beside(colours)
    assert processor is not None
    assert (processor.resize, processor.crop, processor.resample) == (8, (4, 4), Image.Resampling.BILINEAR)
    assert vector(load_encoder(colours), flat(255, 255, 0)) == unit(1, 1, 0)
    config(colours.parent)
    assert vector(load_encoder(colours), flat(30, 40, 0)) == unit(30, 40, 0)


def test_timm_squashes_without_proportions_and_other_modes_are_refused(colours: Path) -> None:
    timm(colours.parent, crop_pct=1.0, crop_mode="squash", input_size=[3, 4, 6])
    processor = beside(colours)
    assert processor is not None
    assert (processor.resize, processor.crop) == ((6, 4), (6, 4))
    assert "takes images of 4 x 4 pixels, not 6 x 4; give @squash-4" in refused(colours)
    timm(colours.parent, crop_mode="border")
    assert "crop_mode 'border' is not supported" in refused(colours)
    timm(colours.parent, input_size=[1, 4, 4])
    assert "input_size [1, 4, 4]" in refused(colours)


def test_preprocessing_matches_transformers(tmp_path: Path) -> None:
    """For three image processors with steps of their own."""
    transformers = pytest.importorskip("transformers")
    readers: dict[str, dict[str, Any]] = {
        "ConvNextImageProcessorPil": {"size": {"shortest_edge": 32}, "crop_pct": 0.875},
        "PoolFormerImageProcessorPil": {"size": {"shortest_edge": 32}, "crop_pct": 0.9, "crop_size": 28},
        "ViTImageProcessorPil": {"size": {"height": 32, "width": 24}},
    }
    for number, (name, values) in enumerate(readers.items()):
        folder = tmp_path / str(number)
        reader = getattr(transformers, name)(**values)
        reader.save_pretrained(folder)
        processor = beside(folder / "model.onnx")
        assert processor is not None
        images = [picture(seed, size) for seed, size in enumerate([(64, 48), (48, 64), (90, 41), (33, 32)])]
        expected = np.asarray(reader(images, return_tensors="np")["pixel_values"])
        actual = processor.scale(np.stack([processor.pixels(image) for image in images]))
        assert np.abs(actual - expected).max() < 1e-5


def test_a_folder_with_one_graph_is_its_encoder_and_with_several_it_says_so(tmp_path: Path) -> None:
    graphs.colours(tmp_path / "a.onnx")
    assert load_encoder(f"{tmp_path}@{PLAIN}").name == f"{tmp_path}@{PLAIN}"
    graphs.colours(tmp_path / "b.onnx")
    assert refused(tmp_path) == f"{tmp_path} holds a.onnx, b.onnx; give one such file"
    graphs.tokens(tmp_path / "onnx" / "model.onnx")
    assert load_encoder(f"{tmp_path}@{PLAIN},pool=mean").encode([flat(3, 2, 1)]).shape == (1, 3)


def test_a_checkpoint_of_dinov2_stays_one_beside_a_graph(tiny: Path, tmp_path: Path) -> None:
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    graphs.colours(tmp_path / "onnx" / "model.onnx")
    assert load_encoder(tmp_path, device="onnx").fingerprint == load_encoder(tiny, device="onnx").fingerprint


def test_a_missing_file_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("models/missing.onnx") == "models/missing.onnx is no usable ONNX file (no such file)"


def test_an_at_in_a_folder_s_name_is_no_option(tmp_path: Path) -> None:
    path = graphs.colours(tmp_path / "team@work" / "v@2.onnx")
    assert split_name(str(path)) == (str(path), {})
    assert split_name(f"{path}@squash-4,mean=0") == (str(path), {"preprocess": "squash-4", "mean": "0"})
    encoder = load_encoder(f"{path}@{PLAIN}")
    assert load_encoder(encoder.name).fingerprint == encoder.fingerprint


def test_a_name_with_options_becomes_absolute(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(colours.parent)
    assert with_options("model.onnx@squash-4,mean=0:0:0", device=None) == f"{colours}@squash-4,mean=0:0:0"


def test_a_folder_is_indexed_and_searched_with_a_file(
    photos: Path, colours: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colours.parent)
    assert status_of("index", photos, "--encoder", f"model.onnx@{PLAIN}") == 0
    capfd.readouterr()
    # The collection knows the file by its full name, from any folder.
    monkeypatch.chdir(photos)
    query = photos.parent / "query.png"
    picture(5).save(query)
    assert status_of("search", photos, query, "--json", "-k", 1) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["encoder"] == f"{colours}@{PLAIN}"
    assert answer["results"][0]["key"] == "05.jpg"
    assert status_of("search", photos, query, "--encoder", f"{colours}@{PLAIN},order=bgr") == 1
    assert "was made with" in capfd.readouterr().err


def test_python_opens_a_collection_with_a_file(photos: Path, colours: Path) -> None:
    with lookalike.open(photos, encoder=f"{colours}@{PLAIN}") as collection:
        assert collection.index().added == 12
    with lookalike.open(photos) as collection:
        assert collection.search(picture(7), 1)[0].key == "07.jpg"
        assert not collection.reads_text


def test_an_unusable_model_leaves_no_collection_behind(photos: Path, tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "image", "means", axes=[2, 3], keepdims=0), node("Sub", "means means", "vector")]
    path = write(tmp_path / "zeros.onnx", nodes, *TO_VECTOR)
    assert status_of("index", photos, "--encoder", path) == 1
    assert not (photos / ".lookalike" / "collection.json").exists()
