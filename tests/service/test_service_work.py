import asyncio
import inspect
import threading
import time

import pytest
import uvicorn

from lookalike.service.batching import Slots
from lookalike.service.errors import ApiError
from lookalike.service.metrics import Metrics
from lookalike.service.work import OUT_OF_TIME, Work


async def cancelled(reason: str) -> None:
    """A request that is at work when it is cancelled."""
    work, begun, over = Work(Slots(1), 1, 1, Metrics(), "requests"), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        over.wait(30)

    running = asyncio.ensure_future(work.run(job))
    try:
        await asyncio.to_thread(begun.wait, 30)
        running.cancel(reason)
        await running
    finally:
        over.set()
        work.close()


def test_what_does_not_end_within_the_grace_period_is_told_to_come_back() -> None:
    with pytest.raises(ApiError, match="the service is ending") as refused:
        asyncio.run(cancelled(f"Task cancelled, {OUT_OF_TIME}"))
    assert refused.value.status == 503


def test_a_slot_that_was_lent_is_taken_back_before_more_is_computed() -> None:
    slots, lock, computing, most = Slots(2), threading.Lock(), 0, 0

    def job() -> None:
        nonlocal computing, most
        for _ in range(10):
            with slots.taken():
                with slots.lent():
                    time.sleep(0.001)
                with lock:
                    computing += 1
                    most = max(most, computing)
                time.sleep(0.002)
                with lock:
                    computing -= 1

    threads = [threading.Thread(target=job) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_any_other_cancelling_stays_one() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled("the client went away"))


def test_uvicorn_still_says_so() -> None:
    assert f"Task cancelled, {OUT_OF_TIME}" in inspect.getsource(uvicorn.Server)


def test_quick_requests_do_not_wait_for_those_that_take_long() -> None:
    """Four of them would take both workers for as long as they last."""

    async def scene() -> list[str]:
        work, ended, over = Work(Slots(2), 2, 8, Metrics(), "requests"), list[str](), threading.Event()

        def slow() -> None:
            over.wait(30)
            ended.append("slow")

        heavy = [asyncio.ensure_future(work.run(slow, heavy=True)) for _ in range(4)]
        await asyncio.sleep(0.05)
        heavy[3].cancel()
        await asyncio.wait_for(work.run(lambda: ended.append("quick")), 20)
        over.set()
        await asyncio.gather(*heavy, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert work.pending == 0
        await work.run(lambda: ended.append("last"), heavy=True)
        work.close()
        return ended

    assert asyncio.run(scene()) == ["quick", "slow", "slow", "slow", "last"]
