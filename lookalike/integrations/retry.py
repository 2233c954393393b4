"""A call to a server that may be unavailable for a short time to its answer, or to an error of one line."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lookalike.errors import EngineError
from lookalike.utils.engine_calls import report

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0


def patience_seconds() -> float:
    """Seconds after which a command gives up on an unavailable server; from `LOOKALIKE_ENGINE_PATIENCE`."""
    try:
        return float(os.environ.get("LOOKALIKE_ENGINE_PATIENCE", "60"))
    except ValueError:
        return 60.0


@dataclass(frozen=True)
class Patience:
    """Repeats a call with growing pauses while `passing(error)`, for `seconds` in all; `describe` words an error."""

    seconds: float
    passing: Callable[[Exception], bool]
    describe: Callable[[Exception], str]
    errors: tuple[type[Exception], ...]

    def call(self, action: Callable[[], T]) -> T:
        """The answer of `action`; raises EngineError for a permanent error, or when time runs out."""
        deadline, pause = time.monotonic() + self.seconds, FIRST_PAUSE
        while True:
            begun = time.monotonic()
            try:
                answer = action()
            except self.errors as error:
                now = time.monotonic()
                left, is_passing = deadline - now, self.passing(error)
                report("retried" if is_passing and left > 0 else "failed", now - begun)
                if not is_passing:
                    raise EngineError(self.describe(error)) from error
                if left <= 0:
                    waited = f" (tried for {self.seconds:g} s)" if self.seconds else ""
                    raise EngineError(self.describe(error) + waited) from error
            else:
                report("answered", time.monotonic() - begun)
                return answer
            # At random, so that many clients of a server do not come back at the same moment.
            time.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)
