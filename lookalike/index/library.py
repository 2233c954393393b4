"""FAISS, loaded in one place: with the matrix kernels that this processor has."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

CORE_TYPE = "OPENBLAS_CORETYPE"
KERNELS = (("SkylakeX", {"AVX512_SKX", "X86_V4"}), ("Haswell", {"AVX2", "X86_V3"}))
"""Kernels of OpenBLAS, best first, and what NumPy (before 2.4, and since) calls the instructions that they need."""


@cache
def library() -> Any:
    """FAISS as `Any`: its own annotations leave out the keyword arguments of its functions.

    The OpenBLAS in FAISS' wheels is of 2021. On a processor that is newer, it takes the kernels of 2004, and matrices
    are multiplied at a fifth of the speed (benchmarks/kernels.py). It reads the name of better ones when it is loaded.
    """
    with _named(kernels(instructions())):
        return importlib.import_module("faiss")


def instructions() -> set[str]:
    """The vector instructions of this processor, by NumPy's names."""
    config: Any = np.show_config(mode="dicts")
    return set((config or {}).get("SIMD Extensions", {}).get("found", ()))


def kernels(found: set[str]) -> str | None:
    """The best kernels for a processor with these instructions; None where OpenBLAS had better choose by itself."""
    return next((name for name, needed in KERNELS if needed & found), None)


@contextmanager
def _named(name: str | None) -> Iterator[None]:
    if name is None or CORE_TYPE in os.environ:
        yield
        return
    os.environ[CORE_TYPE] = name
    try:
        yield
    finally:
        # Processes that are started later choose by themselves.
        os.environ.pop(CORE_TYPE, None)
