"""Files of PyTorch's are read as PyTorch reads them, and what no state dictionary needs is refused in one line."""

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lookalike.encoders import torch_file
from lookalike.errors import EncoderError


class Net(torch.nn.Module):
    """A little of everything that a convolutional network has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 2))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.head(self.norm(self.conv(pixels)).mean((2, 3)))
        return hidden


def same(path: Path, expected: dict[str, torch.Tensor]) -> None:
    """The file has these tensors, and float32 or int64 of them."""
    read = torch_file.read(path)
    assert sorted(read) == sorted(expected)
    for name, tensor in expected.items():
        assert read[name].dtype == (np.float32 if tensor.is_floating_point() else np.int64), name
        np.testing.assert_array_equal(read[name], tensor.detach().double().numpy().astype(read[name].dtype), name)


TENSORS = {
    "float32": torch.arange(6.0).reshape(2, 3) / 7,
    "float16": (torch.arange(6.0) / 7).half(),
    "bfloat16": (torch.arange(6.0) / 7).bfloat16(),
    "float64": torch.arange(3, dtype=torch.float64) / 8,
    "a whole number": torch.tensor(2**40),
    "int32, int8 and yes or no": torch.tensor([-1, 2], dtype=torch.int32),
    "int8": torch.tensor([-1, 2], dtype=torch.int8),
    "bool": torch.tensor([True, False]),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "a part": torch.arange(20.0)[4:12:3],
    "empty": torch.zeros(0, 3),
    "a parameter": torch.nn.Parameter(torch.ones(2)),
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old format"])
def test_every_kind_of_tensor_comes_through(new: bool, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "kinds.pth", _use_new_zipfile_serialization=new)
    same(tmp_path / "kinds.pth", TENSORS)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old format"])
def test_a_state_dictionary(new: bool, tmp_path: Path) -> None:
    """It is ordered, and has attributes of its own."""
    state = Net().state_dict()
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=new)
    same(tmp_path / "net.pth", state)


PIXELS = torch.zeros(1, 3, 8, 8)
JIT: Any = torch.jit  # without types


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("make", [JIT.script, lambda net: JIT.trace(net, PIXELS)], ids=["script", "trace"])
def test_a_torchscript_archive(make: Callable[[Net], Any], tmp_path: Path) -> None:
    module = make(Net().eval())
    module.save(tmp_path / "net.torchscript.pt")
    same(tmp_path / "net.torchscript.pt", module.state_dict())


def test_tensors_that_share_numbers_are_converted_once(tmp_path: Path) -> None:
    shared = torch.arange(1000.0).half()
    torch.save({str(number): shared for number in range(50)}, tmp_path / "tied.pth")
    read = torch_file.read(tmp_path / "tied.pth")
    assert all(np.shares_memory(read["0"], tensor) for tensor in read.values())


def test_torch_is_not_imported(tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pth")
    program = f"""
import pathlib, sys
from lookalike.encoders import torch_file
print(len(torch_file.read(pathlib.Path({str(tmp_path / "net.pth")!r}))))
assert "torch" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.strip() == b"8"


def refused(path: Path, words: str) -> None:
    with pytest.raises(EncoderError, match=words) as caught:
        torch_file.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"a": 3}, [1, 2], {"a": None}, {}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_a_file_of_something_else(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", r"holds something else than tensors by name; save a model's state_dict\(\)")


def test_a_whole_model_is_refused_with_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(Net(), tmp_path / "whole.pth")
    refused(tmp_path / "whole.pth", r"it holds the name 'tests\.encoders\.test_torch_file\.Net'")


def test_there_must_be_a_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "no such file")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", "is no whole file of PyTorch's")
    (tmp_path / "text.pth").write_text("weights")
    refused(tmp_path / "text.pth", "neither a zip archive nor a pickle")
    refused(tmp_path, "cannot be read")


class Runs:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old format"])
def test_nothing_that_is_named_is_run(new: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"a": Runs(os.mkdir, str(mark))}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new)
    refused(tmp_path / "evil.pth", r"it holds the name 'posix\.mkdir'; only tensors and plain containers are read")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Runs(os.system, f"mkdir {mark}")))
    refused(tmp_path / "plain.pth", r"it holds the name 'posix\.system'")
    assert not mark.exists()


def described(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with its description changed; checksums are right."""
    copy = path.with_name(f"changed {path.name}")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as other:
        for entry in archive.infolist():
            content = archive.read(entry)
            other.writestr(entry.filename, change(content) if entry.filename.endswith("data.pkl") else content)
    return copy


# A (2, 3) tensor has offset K\x00, shape K\x02K\x03\x86 and strides K\x03K\x01\x86 in its description.
NUMBERS = {
    "an offset beyond its storage": (b"K\x00K\x02K\x03\x86", b"K\x01K\x02K\x03\x86", "does not lie inside its storage"),
    "a huge offset": (b"K\x00K\x02K\x03\x86", b"J\xff\xff\xff\x7fK\x02K\x03\x86", "does not lie inside"),
    "an offset below zero": (b"K\x00K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x02K\x03\x86", "without a storage, shape"),
    "a larger shape": (b"K\x02K\x03\x86", b"K\x02K\x04\x86", "does not lie inside its storage"),
    "a huge shape of one number": (
        b"K\x02K\x03\x86q\x08K\x03K\x01",
        b"J\xff\xff\xff\x7fK\x03\x86q\x08K\x00K\x00",
        "inside",
    ),
    "a shape below zero": (b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffK\x03\x86", "without a storage, shape"),
    "a stride beyond its storage": (b"K\x03K\x01\x86", b"K\x04K\x01\x86", "does not lie inside its storage"),
    "a stride below zero": (b"K\x03K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86", "without a storage, shape"),
    "fewer strides than sides": (b"K\x03K\x01\x86", b"K\x03\x85", "is refused|no whole file"),
    "a storage of another length": (b"K\x06", b"K\x07", "a storage of 24 bytes, not 28"),
    "a storage of numbers there are not": (b"FloatStorage", b"ComplexFloatStorage", "torch.ComplexFloatStorage"),
    "a storage that is not there": (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007", "no whole file"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_point_elsewhere(name: str, tmp_path: Path) -> None:
    old, new, words = NUMBERS[name]
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, tmp_path / "net.pth")
    seen: list[int] = []

    def change(content: bytes) -> bytes:
        seen.append(content.count(old))
        return content.replace(old, new)

    refused(described(tmp_path / "net.pth", change), words)
    assert seen == [1], "the description has changed; adapt the test"


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old format"])
def test_a_file_that_ends_early(new: bool, tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pth", _use_new_zipfile_serialization=new)
    whole = (tmp_path / "net.pth").read_bytes()
    for kept in (1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:kept])
        refused(tmp_path / "cut.pth", r"is no whole file of PyTorch's .*; fetch it again")


def test_a_number_that_was_changed_in_an_archive_is_noticed(tmp_path: Path) -> None:
    torch.save({"weight": torch.full((100,), 1.5)}, tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole.replace(struct.pack("<f", 1.5), struct.pack("<f", 2.5), 1))
    refused(tmp_path / "net.pth", "data/0 has another checksum")


def test_an_archive_that_is_not_as_pytorch_writes_it(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(5000)}, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as archive:
        contents = {entry.filename: archive.read(entry) for entry in archive.infolist()}

    def archive_of(entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / "other.pth", "w", how) as other:
            for name, content in entries.items():
                other.writestr(name, content)
        return tmp_path / "other.pth"

    assert torch_file.read(archive_of(contents))["weight"].shape == (5000,)
    refused(archive_of(contents, zipfile.ZIP_DEFLATED), "is compressed, which PyTorch does not do")
    refused(archive_of(contents | {"net/byteorder": b"big"}), "its numbers are big-endian")
    refused(archive_of(contents | {"other/data.pkl": b""}), "the archive has no data.pkl")
    refused(archive_of({"a photo.txt": b""}), "the archive has no data.pkl")
    refused(
        archive_of(contents | {"net/data.pkl": b"\x80\x02]" + b"N0" * (8 << 20) + b"."}), "a description of 16,777,"
    )


def test_an_old_file_whose_lengths_are_not_its_own(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(6)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "old.pth").read_bytes()
    assert whole.count(struct.pack("<q", 6) + bytes(24)) == 1
    (tmp_path / "old.pth").write_bytes(
        whole.replace(struct.pack("<q", 6) + bytes(24), struct.pack("<q", 7) + bytes(24))
    )
    refused(tmp_path / "old.pth", "a storage of another length than described")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(1, 2) * 5)
    refused(tmp_path / "plain.pth", "a pickle, but none of PyTorch's")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_modules_that_hold_one_another_come_to_an_end(tmp_path: Path) -> None:
    JIT.script(Net().eval()).save(tmp_path / "net.pt")
    circle = b"\x80\x02c__torch__\nA\nq\x00)\x81q\x01}(X\x04\x00\x00\x00selfh\x01ub."

    def replaced(_: bytes) -> bytes:
        return circle

    assert torch_file.read(described(tmp_path / "net.pt", replaced)) == {}
