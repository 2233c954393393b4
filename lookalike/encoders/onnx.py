"""Built graphs on ONNX Runtime: pixels to tokens on the CPU, in fp32 or int8."""

import functools
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import graph
from lookalike.encoders.build import POSITIONS, BuiltGraphs
from lookalike.encoders.graph_files import open_graph
from lookalike.utils.cores import cores


class OnnxBackbone:
    """A checkpoint on ONNX Runtime; sessions are made on first use. Thread-safe."""

    def __init__(self, built: BuiltGraphs, precision: str, threads: int = 0) -> None:
        """`threads` 0: as many as this process may use."""
        self.architecture, self._folder, self._precision = built.architecture, built.folder, precision
        self._threads = threads or cores()
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.batch_size, self.outruns_threads = 8, False
        # int8 activations have one scale per run, and an image's vector must not depend on the others in its batch.
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
        return self.architecture.place(stored, height, width)
