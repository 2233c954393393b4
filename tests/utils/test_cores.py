import os

import pytest

from lookalike.utils.cores import cores


def test_cores_are_those_that_this_process_may_use_unless_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKALIKE_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert cores() == 3
    for override, used in {"7": 7, "0": 3, "-2": 3, "many": 3}.items():
        monkeypatch.setenv("LOOKALIKE_THREADS", override)
        assert cores() == used
