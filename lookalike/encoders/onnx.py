"""Built graphs on ONNX Runtime: pixels to tokens on the CPU, in fp32 or int8."""

import functools
import platform
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import graph
from lookalike.encoders.build import POSITIONS, Built
from lookalike.encoders.positions import positions
from lookalike.errors import EncoderError
from lookalike.utils.cores import cores

# ONNX Runtime would fuse what `graph` takes apart because it is faster so.
SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasSkipLayerNormFusion"]


class OnnxBackbone:
    """Sessions are made when they are first needed; safe to use from several threads."""

    def __init__(self, built: Built, precision: str, threads: int = 0) -> None:
        """`threads`: 0 for as many as this process may use."""
        self.architecture, self._folder, self._precision = built.architecture, built.folder, precision
        self._threads = threads or cores()
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.batch_size, self.outruns_threads = 8, False
        # The scale of int8 activations is one for all that is run at once: an image's vector must not depend on others.
        self._together = 1 if precision == "int8" else self.batch_size
        self._positions = functools.lru_cache(maxsize=64)(self._resized)

    def class_tokens(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) to (n, width of the model)."""
        return self._run(graph.CLS, pixels)[:, 0]

    def tokens(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, height, width, 3) to class tokens (n, width) and patch tokens (n, patches, width) in reading order."""
        tokens = self._run(graph.TOKENS, pixels)
        return tokens[:, 0], tokens[:, 1 + self.architecture.registers :]

    def _run(self, name: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        session, patch = self._session(name), self.architecture.patch
        embedding = self._positions(pixels.shape[1] // patch, pixels.shape[2] // patch)
        size = self._together
        parts = [
            session.run(["tokens"], {"pixels": pixels[at : at + size], "positions": embedding})[0]
            for at in range(0, len(pixels), size)
        ]
        return np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _session(self, name: str) -> Any:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = open_graph(self._folder / name, self._precision, self._threads)
            return self._sessions[name]

    def _resized(self, height: int, width: int) -> NDArray[np.float32]:
        stored = np.load(self._folder / POSITIONS, allow_pickle=False)
        return positions(stored, height, width, self.architecture.antialias)


def open_graph(path: Path, precision: str, threads: int) -> Any:
    """A session of a graph that `graph` wrote; raises EncoderError where ONNX Runtime cannot use it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if precision == "fp32":
        # Packing the weights anew costs half a second and a second copy in memory, and makes nothing faster: they are
        # used as they are mapped from the file.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    elif not _adds_products_exactly():
        # Slower by half, and right.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # The errors of ONNX Runtime have no common base.
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise EncoderError(f"{path.parent} cannot be used ({reason}); delete it, and it is made again") from error


@functools.cache
def _adds_products_exactly() -> bool:
    """Intel and AMD processors without VNNI add int8 products in 16 bits, which may overflow."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
