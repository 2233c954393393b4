"""No picture is decoded without a limit of time, wherever it is decoded; what is costly has a process that may die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import ImageError, QueryError
from lookalike.images import decode as images
from lookalike.images import effort
from lookalike.images.decode import Limits, decode, examine, load
from lookalike.images.killable import Processes, TooSlow
from lookalike.service import thumbnails
from lookalike.service.decoding import Examiner
from lookalike.types import Box
from tests.hostile.craft import chunk, saved, scene
from tests.service.running import running, write_photos
from tests.service.test_service_uploads import slow_jpeg
from tests.support.pictures import PixelEncoder, picture

SECONDS = 0.5
REASON = "takes more than 0.5 seconds to decode"
SLACK = 8.0
"""Seconds from the limit to the answer; decoding whole takes half a minute."""


@pytest.fixture
def bounded() -> Iterator[None]:
    token = images.SECONDS.set(SECONDS)
    yield
    images.SECONDS.reset(token)


def is_prompt(start: float) -> bool:
    return time.monotonic() - start < SLACK


WAYS: dict[str, Callable[[bytes], object]] = {
    "decode": decode,
    "decode reduced": lambda data: decode(data, size=100),
    "load": load,
    "thumbnail": lambda data: thumbnails.thumbnail(data, 256),
    "full picture": thumbnails.full,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_picture_is_given_up_in_time(way: str, bounded: None) -> None:
    start = time.monotonic()
    with pytest.raises(ImageError) as refusal:
        WAYS[way](slow_jpeg())
    assert str(refusal.value) == REASON
    assert is_prompt(start)


def test_an_index_run_lists_it_and_goes_on(photos: Path, encoder: PixelEncoder, bounded: None) -> None:
    (photos / "slow.jpg").write_bytes(slow_jpeg())
    start = time.monotonic()
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        assert collection.index().added == 12
        assert collection.skipped() == [("slow.jpg", REASON)]
        with pytest.raises(QueryError, match=REASON):
            collection.search(photos / "slow.jpg")
        with pytest.raises((QueryError, ImageError), match=REASON):
            collection.explain(photos / "slow.jpg", "01.jpg")
    assert time.monotonic() - start < 3 * SLACK


def test_the_service_gives_up_what_it_let_through_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Examiner, "check", lambda *_: None)
    with running(write_photos(tmp_path / "photos", 3), decode_seconds=SECONDS) as service:
        for path, form in (("search", {}), ("embed", {"preview": "true"}), ("explain", {"item": "MDEuanBn"})):
            start = time.monotonic()
            answer = service.client.post(f"/v1/{path}", files={"file": slow_jpeg()}, data=form)
            assert (answer.status_code, "takes more than 0.5 seconds" in answer.text) == (422, True), path
            assert is_prompt(start)
        assert service.client.post("/v1/search", files={"file": saved(picture(1), "JPEG")}).status_code == 200


def costly(kind: str, **options: object) -> bytes:
    """A picture that goes to a process: above thirty million pixels, times what the format costs."""
    return saved(scene(5, size=(6000, 5200)), kind, **options)


@pytest.mark.parametrize("size", [None, 200])
@pytest.mark.parametrize("box", [None, Box(100.5, 200, 3000, 2500.25)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_costly_picture_is_the_same_from_a_process(kind: str, box: Box | None, size: int | None) -> None:
    data = costly(kind)
    apart = decode(data, size=size, box=box)
    token = images.SECONDS.set(None)
    try:
        here = decode(data, size=size, box=box)
    finally:
        images.SECONDS.reset(token)
    assert (apart.width, apart.height, apart.scale) == (here.width, here.height, here.scale)
    assert np.array_equal(np.asarray(apart.image), np.asarray(here.image))


def test_a_crowded_header_is_read_in_a_process_too() -> None:
    plain = saved(picture(1), "PNG")
    crowded = plain[:33] + chunk(b"tIMe", bytes(7)) * (effort.PARTS + 1) + plain[33:]
    assert np.array_equal(np.asarray(decode(crowded).image), np.asarray(decode(plain).image))
    assert examine(crowded) == examine(plain)


def test_limits_and_reasons_hold_in_a_process() -> None:
    data = costly("JPEG")
    with pytest.raises(ImageError, match=r"^6000 x 5200 pixels, over the limit of 31,000,000$"):
        decode(data, limits=Limits(pixels=31_000_000))
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: len(data) // 2])
    with pytest.raises(ImageError, match="no area inside"):
        decode(data, box=Box(7000, 0, 8000, 10))
    assert decode(data, box=Box(0, 0, 10, 10)).image.size == (10, 10)


PROGRAM = """
import os, time
from lookalike.images.killable import answer_all
def answer(question, data):
    if question.get("die"):
        os._exit(3)
    time.sleep(question.get("sleep", 0))
    return {"sum": sum(data), "pid": os.getpid()}, question.get("claim", 3), iter([b"ab", b"c"])
answer_all(answer)
"""


@pytest.fixture
def processes() -> Iterator[Processes]:
    started = Processes(PROGRAM, 2)
    yield started
    started.close()


def test_a_process_answers_again_and_again(processes: Processes) -> None:
    first = processes.ask({}, b"\1\2", 30, 10)
    assert (first[0]["sum"], first[1]) == (3, b"abc")
    assert processes.ask({}, b"\5", 30, 10) == ({"sum": 5, "pid": first[0]["pid"]}, b"abc")


def test_one_that_is_too_slow_is_killed_and_replaced(processes: Processes) -> None:
    pid = processes.ask({}, b"", 30, 10)[0]["pid"]
    start = time.monotonic()
    with pytest.raises(TooSlow):
        processes.ask({"sleep": 60}, b"", 0.2, 10)
    assert is_prompt(start)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert processes.ask({}, b"", 30, 10)[0]["pid"] != pid


def test_one_that_dies_or_claims_too_much_is_an_error_and_replaced(processes: Processes) -> None:
    with pytest.raises(ValueError, match="closed"):
        processes.ask({"die": True}, b"", 30, 10)
    with pytest.raises(ValueError, match="11 bytes"):
        processes.ask({"claim": 11}, b"", 30, 10)
    assert processes.ask({}, b"", 30, 10)[1] == b"abc"


def test_a_process_that_dies_while_it_decodes_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_PROCESSES", Processes("import os; os._exit(1)", 1))
    with pytest.raises(ImageError, match="the process that tried ended"):
        decode(costly("JPEG"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_no_process_outlives_its_owner(tmp_path: Path) -> None:
    (tmp_path / "costly.jpg").write_bytes(costly("JPEG"))
    code = f"""
from lookalike.images.decode import decode
decode(open({str(tmp_path / "costly.jpg")!r}, "rb").read())
print(next(iter([__import__("lookalike.images.decode", fromlist=["x"])._PROCESSES._idle.get().pid])), flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    pid, deadline = int(run.stdout), time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{pid}/status").exists():
        if "zombie" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}/status").exists()


def test_an_open_image_needs_no_process() -> None:
    assert load(Image.new("RGB", (4, 4), "red")).image.getpixel((0, 0)) == (255, 0, 0)
