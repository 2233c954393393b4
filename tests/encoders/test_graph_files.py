import contextlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.encoders.graph_files import external_locations
from lookalike.errors import EncoderError


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def entry(key: bytes, value: bytes) -> bytes:
    return field(13, field(1, key) + field(2, value))


TENSOR = entry(b"location", b"weights.data") + entry(b"offset", b"0")
# Field numbers of onnx.proto3, each with where a tensor can be in it.
PLACES = {
    "an initialiser": field(7, field(5, TENSOR)),
    "a constant": field(7, field(1, field(5, field(5, TENSOR)))),
    "a list of constants": field(7, field(1, field(5, field(10, TENSOR)))),
    "the branch of a condition": field(7, field(1, field(5, field(6, field(5, TENSOR))))),
    "a sparse initialiser": field(7, field(15, field(1, TENSOR))),
}


@pytest.mark.parametrize("place", PLACES)
def test_names_of_other_files_are_found_wherever_a_tensor_can_be(place: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08" + PLACES[place])
    assert external_locations(tmp_path / "model.onnx") == ["weights.data"]


def test_of_two_names_for_one_tensor_both_are_looked_at(tmp_path: Path) -> None:
    tensor = entry(b"location", b"weights.data") + entry(b"location", b"../secret")
    (tmp_path / "model.onnx").write_bytes(field(7, field(5, tensor)))
    assert external_locations(tmp_path / "model.onnx") == ["../secret", "weights.data"]


def test_graphs_nested_beyond_reason_are_refused(tmp_path: Path) -> None:
    def long(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    graph = b""
    for _ in range(300):
        graph = long(1, long(5, long(6, graph)))
    (tmp_path / "model.onnx").write_bytes(long(7, graph))
    with pytest.raises(EncoderError, match="damaged"):
        external_locations(tmp_path / "model.onnx")


def test_a_file_of_zeros_is_refused_without_being_read_through(tmp_path: Path) -> None:
    path = tmp_path / "zeros.onnx"
    path.touch()
    os.truncate(path, 1 << 30)
    began = time.monotonic()
    with pytest.raises(EncoderError, match="damaged"):
        external_locations(path)
    assert time.monotonic() - began < 5


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_end_in_an_answer_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, inside: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary.onnx"
    path.write_bytes(field(7, field(5, data[:100])) if inside else data)
    with contextlib.suppress(EncoderError):
        assert isinstance(external_locations(path), list)
