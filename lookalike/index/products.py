"""A query times many stored rows of int8 or float16, which are multiplied as they are.

NumPy would convert all rows to float32 first, which takes far longer than to read them. ONNX Runtime has products of
bytes that every processor does fast, and converts halves by the processor's own instruction.
"""

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.types import Scores, Vectors
from lookalike.utils.onnx_writer import Graph, Weights

if TYPE_CHECKING:
    import onnxruntime

MARGINS = {"float32": 1e-5, "int8": 1e-5, "float16": 1.1e-3}
"""The largest difference between a product and the cosine of its row. Two orders of summation differ by 1e-6, as was
measured; a stored half is off by 2^-11 of its size at most, and so is the length of a row of them."""
ROWS = 1024
"""Rows that are multiplied at a time: they stay in the cache."""
DIGIT, DIGITS = 128, 3
"""The query as three digits of -64 to 63, a precision of 21 bits. Two products of a byte and such a digit together fit
16 bits, so that processors without instructions for neural networks add them without overflow too."""


def products(stored: NDArray[np.uint8], dtype: str, query: Vectors) -> Scores:
    """Rows as they are stored (n, bytes) times a vector (dim,): (n,) float32, within `MARGINS` of the cosines."""
    multiply = {"int8": _bytes, "float16": _halves, "float32": _floats}[dtype]
    result = np.empty(len(stored), np.float32)
    multiply(stored, query, result)
    return result


def _floats(stored: NDArray[np.uint8], query: Vectors, result: Scores) -> None:
    with np.errstate(all="ignore"):  # A flipped bit can turn a stored number into NaN or infinity.
        np.matmul(stored.view("<f4"), query, out=result)


def _halves(stored: NDArray[np.uint8], query: Vectors, result: Scores) -> None:
    session, column = _session("float16", len(query)), np.ascontiguousarray(query[:, None], np.float32)
    for start in range(0, len(stored), ROWS):
        rows = np.ascontiguousarray(stored[start : start + ROWS]).view("<f2")
        result[start : start + ROWS] = session.run(None, {"rows": rows, "query": column})[0][:, 0]


def _bytes(stored: NDArray[np.uint8], query: Vectors, result: Scores) -> None:
    session = _session("int8", len(query))
    digits, worth = _digits(query)
    scales = np.ascontiguousarray(stored[:, :4]).view("<f4")[:, 0]
    shifted = np.empty((min(ROWS, len(stored)), len(query)), np.uint8)
    for start in range(0, len(stored), ROWS):
        codes = stored[start : start + ROWS, 4:]
        # From -128…127 to 0…255, of which the graph takes 128 again.
        rows = np.bitwise_xor(codes, 128, out=shifted[: len(codes)])
        result[start : start + ROWS] = session.run(None, {"rows": rows, "digits": digits})[0] @ worth
    with np.errstate(all="ignore"):
        result *= scales


def _digits(query: Vectors) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """A vector (dim,) as digits (dim, 3), and what each of the three is worth."""
    largest = DIGIT // 2 - 1
    unit = max(float(np.abs(query).max()), 1e-30) / (largest * DIGIT ** (DIGITS - 1))
    remaining, columns = np.rint(query.astype(np.float64) / unit).astype(np.int64), []
    for _ in range(DIGITS):
        column = (remaining + DIGIT // 2) % DIGIT - DIGIT // 2
        remaining = (remaining - column) // DIGIT
        columns.append(column.astype(np.int8))
    return np.stack(columns, axis=1), unit * float(DIGIT) ** np.arange(DIGITS)


@cache
def _session(dtype: str, dim: int) -> "onnxruntime.InferenceSession":
    """The product as a graph; it runs in the thread that calls it, as others multiply other rows."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = _byte_graph(dim) if dtype == "int8" else _half_graph(dim)
    return onnxruntime.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])


def _byte_graph(dim: int) -> Graph:
    graph = Graph(Weights(io.BytesIO(), ""))
    inputs = [graph.input("rows", "uint8", ["n", dim]), graph.input("digits", "int8", [dim, DIGITS])]
    graph.add("MatMulInteger", [*inputs, graph.constant("zero", np.array(128, np.uint8))], "products")
    graph.output("products", "int32", ["n", DIGITS])
    return graph


def _half_graph(dim: int) -> Graph:
    graph = Graph(Weights(io.BytesIO(), ""))
    rows, query = graph.input("rows", "float16", ["n", dim]), graph.input("query", "float32", [dim, 1])
    graph.add("MatMul", [graph.add("Cast", [rows], "floats", to=1), query], "products")
    graph.output("products", "float32", ["n", 1])
    return graph
