"""A call to a server that may be away for a moment to its answer, or to one line that says what is wrong."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lookalike.errors import EngineError

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0


def patience_seconds() -> float:
    """How long a server may be away before a command gives up; `LOOKALIKE_ENGINE_PATIENCE` in seconds."""
    try:
        return float(os.environ.get("LOOKALIKE_ENGINE_PATIENCE", "60"))
    except ValueError:
        return 60.0


@dataclass(frozen=True)
class Patience:
    """Try again with growing pauses while `passing(error)`, for `seconds` in all; `told` puts an error in words."""

    seconds: float
    passing: Callable[[Exception], bool]
    told: Callable[[Exception], str]
    errors: tuple[type[Exception], ...]

    def call(self, action: Callable[[], T]) -> T:
        """The answer of `action`; raises EngineError where the error does not pass or time runs out."""
        deadline, pause = time.monotonic() + self.seconds, FIRST_PAUSE
        while True:
            try:
                return action()
            except self.errors as error:
                left = deadline - time.monotonic()
                if not self.passing(error):
                    raise EngineError(self.told(error)) from error
                if left <= 0:
                    waited = f" (tried for {self.seconds:g} s)" if self.seconds else ""
                    raise EngineError(self.told(error) + waited) from error
            # Many clients of one server must not come back all at the same moment.
            time.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)
