import time

import pytest

from lookalike.errors import EngineError
from lookalike.integrations.retry import Patience


class AwayError(Exception):
    pass


def patience(seconds: float) -> Patience:
    return Patience(seconds, lambda error: str(error) == "away", lambda error: f"failed: {error}", (AwayError,))


def test_a_server_that_comes_back_answers() -> None:
    answers = iter([AwayError("away"), AwayError("away"), 7])

    def action() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, int)
        return answer

    assert patience(10).call(action) == 7


def test_a_server_that_stays_away_is_an_error_with_the_time_that_was_tried() -> None:
    def action() -> None:
        raise AwayError("away")

    start = time.monotonic()
    with pytest.raises(EngineError, match=r"failed: away \(tried for 0.3 s\)"):
        patience(0.3).call(action)
    assert time.monotonic() - start >= 0.3


def test_a_permanent_error_is_raised_at_once() -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise AwayError("refused")

    with pytest.raises(EngineError, match=r"^failed: refused$"):
        patience(60).call(action)
    assert len(calls) == 1


def test_other_errors_pass_through() -> None:
    def action() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        patience(60).call(action)
