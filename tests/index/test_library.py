"""FAISS is loaded in one place, and multiplies matrices with what the processor has."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lookalike.index.library import CORE_TYPE, instructions, kernels

NAME = """
import ctypes, os, re
from pathlib import Path
import lookalike.index.library as loading
loading.library()
mapped = re.search(r"\\S+faiss_cpu\\.libs/libopenblas\\S+", Path("/proc/self/maps").read_text())
blas = ctypes.CDLL(mapped[0])
blas.openblas_get_corename.restype = ctypes.c_char_p
print(blas.openblas_get_corename().decode(), os.environ.get("OPENBLAS_CORETYPE"))
"""


def kernels_of_faiss(**environment: str) -> list[str]:
    """The kernels that FAISS' matrix products have in a new process, and the variable after loading."""
    own = {name: value for name, value in os.environ.items() if name != CORE_TYPE}
    run = subprocess.run(
        [sys.executable, "-c", NAME], env={**own, **environment}, capture_output=True, text=True, check=True
    )
    return run.stdout.split()


def has_own_openblas() -> bool:
    """Whether FAISS is a wheel for Linux on x86, which brings an OpenBLAS."""
    found = find_spec("faiss")
    assert found is not None
    assert found.origin is not None
    return any((Path(found.origin).parents[1] / "faiss_cpu.libs").glob("libopenblas*"))


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({"SSE42", "AVX2", "FMA3", "AVX512F", "AVX512_SKX"}, "SkylakeX"),
        ({"X86_V3", "X86_V4", "AVX512_ICL"}, "SkylakeX"),
        ({"SSE42", "AVX2", "FMA3"}, "Haswell"),
        ({"X86_V3"}, "Haswell"),
        ({"SSE42"}, None),
        ({"ASIMDHP", "SVE"}, None),
        (set(), None),
    ],
)
def test_the_kernels_are_the_best_that_a_processor_can_run(found: set[str], name: str | None) -> None:
    assert kernels(found) == name


@pytest.mark.skipif(not has_own_openblas(), reason="this FAISS brings no OpenBLAS")
def test_faiss_multiplies_with_them_and_the_environment_is_as_before() -> None:
    name = kernels(instructions())
    if name is None:
        pytest.skip("a processor without AVX2")
    assert kernels_of_faiss() == [name, "None"]


@pytest.mark.skipif(not has_own_openblas(), reason="this FAISS brings no OpenBLAS")
def test_whoever_sets_the_variable_decides() -> None:
    assert kernels_of_faiss(OPENBLAS_CORETYPE="Nehalem") == ["Nehalem", "Nehalem"]
