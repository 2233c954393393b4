import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.encoders import safetensors
from lookalike.errors import EncoderError

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def file(folder: Path, header: Any, body: bytes = bytes(8), length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + body)
    return path


def test_two_numbers_come_back(tmp_path: Path) -> None:
    body = np.array([1.5, -2], "<f4").tobytes()
    tensors = safetensors.read(file(tmp_path, {"__metadata__": {"format": "pt"}, "a": ENTRY}, body))
    assert tensors["a"].shape == (2,)
    assert np.asarray(tensors["a"]).tolist() == [1.5, -2]


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": None},
        {"a": {}},
        {"a": {**ENTRY, "dtype": "I64"}},
        {"a": {**ENTRY, "dtype": ["F32"]}},
        {"a": {**ENTRY, "shape": [3]}},
        {"a": {**ENTRY, "shape": [-2]}},
        {"a": {**ENTRY, "shape": [True, 2]}},
        {"a": {**ENTRY, "shape": [1] * 9 + [2]}},
        {"a": {**ENTRY, "shape": [2**62, 2**62]}},
        {"a": {**ENTRY, "shape": "2"}},
        {"a": {**ENTRY, "data_offsets": [0, 80]}},
        {"a": {**ENTRY, "data_offsets": [8, 0]}},
        {"a": {**ENTRY, "data_offsets": [0]}},
        {"a": {**ENTRY, "data_offsets": [0.0, 8.0]}},
        {"a": ENTRY, "b": ENTRY},
        {"a": {**ENTRY, "shape": [1], "data_offsets": [4, 8]}},
        {"a": {**ENTRY, "shape": [1], "data_offsets": [0, 4]}},
        b'{"a": 1, "a": 2}',
        b'{"a": %(entry)s, "a": %(entry)s}' % {b"entry": json.dumps(ENTRY).encode()},
        b"{" * 5000,
        b"\xff\xfe",
        b"",
    ],
)
def test_a_header_that_lies_is_refused(header: Any, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is no whole safetensors file"):
        safetensors.read(file(tmp_path, header))


@pytest.mark.parametrize(
    ("kind", "values", "body"),
    [
        ("F32", [1.5, -2], np.array([1.5, -2], "<f4").tobytes()),
        ("F16", [1.5, -2], np.array([1.5, -2], "<f2").tobytes()),
        ("F64", [1.5, -2], np.array([1.5, -2], "<f8").tobytes()),
        # The upper halves of 1.5 (3fc00000) and -2 (c0000000).
        ("BF16", [1.5, -2], b"\xc0\x3f\x00\xc0"),
    ],
)
def test_each_type_of_float_comes_back_as_numbers(kind: str, values: list[float], body: bytes, tmp_path: Path) -> None:
    entry = {"dtype": kind, "shape": [2, 1], "data_offsets": [0, len(body)]}
    tensor = safetensors.read(file(tmp_path, {"a": entry}, body))["a"]
    assert np.asarray(tensor, np.float32).tolist() == [[value] for value in values]


def test_numbers_stay_in_the_file_until_they_are_wanted(tmp_path: Path) -> None:
    size = 8 << 20
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    tensors = safetensors.read(file(tmp_path, {"a": entry}, bytes(size)))
    tracemalloc.start()
    values = np.asarray(tensors["a"], np.float32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.size == size // 4
    assert not values.flags.owndata
    assert peak < 1 << 20


@pytest.mark.parametrize("length", [0, 10**6, 2**60, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is no whole safetensors file"):
        safetensors.read(file(tmp_path, {"a": ENTRY}, length=length))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_an_error_or_an_honest_answer(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(file(tmp_path, {"a": ENTRY}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(raw)
    message, tensors = "", {}
    try:
        tensors = safetensors.read(tmp_path / "damaged")
    except EncoderError as error:
        message = str(error)
    assert "\n" not in message
    assert all(np.asarray(tensor).size <= 8 for tensor in tensors.values())
