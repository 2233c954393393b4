"""The state of a search server behind a service: asked seldom, known at once, and counted."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from lookalike.errors import EngineError
from lookalike.integrations.retry import Patience
from lookalike.service.engine import EngineState
from lookalike.service.metrics import Metrics
from tests.service.test_service_metrics import scraped


class Server:
    """Answers a question about its health as it is told to."""

    def __init__(self) -> None:
        self.asked, self.is_well, self.seconds = 0, True, 0.0

    def health(self) -> None:
        self.asked += 1
        time.sleep(self.seconds)
        if not self.is_well:
            raise EngineError("away")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def state(server: Server, metrics: Metrics) -> Iterator[EngineState]:
    state = EngineState(server.health, metrics)
    yield state
    state.close()


def code(state: EngineState) -> str | None:
    refusal = asyncio.run(state.refusal())
    return refusal.code if refusal else None


def test_a_server_that_is_away_is_known_soon_and_one_that_is_back_too(server: Server, state: EngineState) -> None:
    assert code(state) is None
    server.is_well = False
    time.sleep(2.5)
    start = time.monotonic()
    assert code(state) == "engine"
    assert time.monotonic() - start < 0.1, "known, not asked"
    server.is_well = True
    time.sleep(2.5)
    assert code(state) is None


def test_many_requests_ask_a_server_once_a_second(server: Server, state: EngineState) -> None:
    for _ in range(200):
        assert code(state) is None
    assert server.asked <= 3


def test_a_server_that_never_answers_the_question_does_not_answer(server: Server, state: EngineState) -> None:
    assert code(state) is None
    server.seconds = 8
    time.sleep(6)
    assert code(state) == "engine"


def test_attempts_repetitions_and_failures_of_calls_are_counted(state: EngineState, metrics: Metrics) -> None:
    answers: Iterator[int | Exception] = iter([ConnectionError(), ConnectionError(), 7])

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wrong() -> None:
        raise ValueError

    patience = Patience(10, lambda error: isinstance(error, ConnectionError), str, (ConnectionError, ValueError))
    assert patience.call(call) == 7
    with pytest.raises(EngineError):
        patience.call(wrong)
    series = scraped(metrics)
    assert series["lookalike_engine_seconds_count{}"] == 4
    assert series["lookalike_engine_retries_total{}"] == 2
    assert series["lookalike_engine_errors_total{}"] == 1
