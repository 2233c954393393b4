"""Uploads are checked by their headers; what could take long is decoded in a process that can be killed."""

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images import effort
from lookalike.images.decode import Limits
from lookalike.images.effort import PARTS, TRIED_BYTES
from lookalike.images.killable import Processes, TooSlow
from lookalike.service.batching import Slots
from lookalike.service.errors import ApiError, of_image

__all__ = ["PARTS", "TRIED_BYTES", "Examiner"]
PROCESSES = 2


class Examiner:
    """Checks within `seconds` whether an upload can be used; safe in several threads."""

    def __init__(self, limits: Limits, seconds: float, slots: Slots) -> None:
        self._limits, self._seconds, self._slots = limits, seconds, slots
        self._processes = Processes(images.PROGRAM, PROCESSES)

    def check(self, name: str, data: bytes, size: int | None) -> None:
        """Raises ApiError for what is no image, too large, damaged or slow; the search will decode it at `size`.

        Pillow cannot be interrupted in a thread. An image that is cheap by its header is decoded once, by the search;
        any other is decoded in a process of its own first.
        """
        try:
            if not images.sniff(data[:32]):
                raise ImageError("not an image" if data else "empty file")
            if len(data) > self._limits.bytes:
                raise ImageError(f"{len(data):,} bytes, over the limit of {self._limits.bytes:,}")
            if not effort.is_crowded(data) and not images.is_risky(data):
                facts = images.examine(data, self._limits)
                if effort.cost(facts.format, facts.width, facts.height, facts.passes) <= effort.TRIED_COST:
                    return
            with self._slots.lent():
                self._try(data, size)
        except ImageError as error:
            raise of_image(name, error) from error

    def _try(self, data: bytes, size: int | None) -> None:
        question = images.trial(size, self._limits)
        try:
            facts, _ = self._processes.ask(question, data, self._seconds, 0)
        except TooSlow as error:
            message = f"takes more than {self._seconds:g} seconds to decode"
            raise ApiError(422, "slow_image", message, "send another copy") from error
        except (OSError, ValueError) as error:
            raise ApiError(422, "bad_image", "cannot be decoded", "send another copy") from error
        if "reason" in facts:
            raise ImageError(str(facts["reason"]))

    def close(self) -> None:
        """End the processes."""
        self._processes.close()
