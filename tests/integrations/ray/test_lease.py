"""Who may write to a target: one run at a time, and the next one as soon as that was killed."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lookalike.errors import SourceError
from lookalike.integrations.ray.lease import FILE, held

ENDED = "another run has begun to write here"


def test_the_right_ends_with_the_run(tmp_path: Path) -> None:
    with held(str(tmp_path)) as check:
        check()
        assert json.loads((tmp_path / FILE).read_text())["process"] == os.getpid()
    assert not (tmp_path / FILE).exists()


def test_a_second_run_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    with held(str(tmp_path), every=0.1), pytest.raises(SourceError, match=r"another run writes here \(process \d+ on"):
        held(str(tmp_path), after=5).__enter__()


def test_a_run_that_was_killed_on_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / FILE).write_text(json.dumps({"name": "x", "host": socket.gethostname(), "process": ended.pid}))
    start = time.monotonic()
    with held(str(tmp_path), after=60):
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("content", ['{"name": "x", "host": "elsewhere", "process": 1}', '{"name": "x"', "null"])
def test_a_run_that_renews_nothing_is_followed_after_a_while(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with held(str(tmp_path), after=0.3) as check:
        check()


def test_a_run_that_was_suspended_ends_when_another_has_begun(tmp_path: Path) -> None:
    with held(str(tmp_path), every=0.05) as check:
        (tmp_path / FILE).write_text(json.dumps({"name": "other"}))
        time.sleep(0.3)
        with pytest.raises(SourceError, match=ENDED):
            check()
    assert json.loads((tmp_path / FILE).read_text()) == {"name": "other"}, "the other's is left alone"
