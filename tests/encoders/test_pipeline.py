import threading
from collections.abc import Iterator

import numpy as np
import pytest

from lookalike.encoders.pipeline import embed
from lookalike.errors import ImageError
from lookalike.images.decode import decode, to_jpeg
from lookalike.images.sources import SourceEntry
from tests.support.pictures import PixelEncoder, picture


def entry(number: int, sequential: bool = False) -> SourceEntry:
    def read() -> bytes:
        if number % 5 == 3:
            raise ImageError("broken on purpose")
        return to_jpeg(picture(number))

    return SourceEntry(f"{number}.jpg", 1, 1, read, sequential)


@pytest.mark.parametrize("sequential", [False, True])
def test_results_keep_the_order_of_the_entries(encoder: PixelEncoder, sequential: bool) -> None:
    results = list(embed((entry(number, sequential) for number in range(60)), encoder, lambda _: set()))
    assert [embedded.entry.key for embedded in results] == [f"{number}.jpg" for number in range(60)]
    for number, embedded in enumerate(results):
        if number % 5 == 3:
            assert embedded.reason == "broken on purpose"
        else:
            expected = encoder.encode([decode(to_jpeg(picture(number)), size=8).image])[0]
            assert embedded.vector is not None
            assert np.array_equal(embedded.vector, expected)
            assert (embedded.width, embedded.height) == (64, 48)


def test_known_content_is_not_encoded(encoder: PixelEncoder) -> None:
    results = list(embed(map(entry, range(3)), encoder, set))
    assert [embedded.vector for embedded in results] == [None] * 3
    assert all(len(embedded.sha256) == 64 for embedded in results)
    assert encoder.encoded == 0


def test_only_a_window_of_entries_is_read_ahead(encoder: PixelEncoder) -> None:
    taken = 0

    def entries() -> Iterator[SourceEntry]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield entry(number - number % 5)

    stream = embed(entries(), encoder, lambda _: set())
    next(stream)
    assert taken < 100
    stream.close()  # type: ignore[attr-defined]


def test_a_failing_encoder_ends_the_run_and_its_threads(encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(encoder, "encode_batch", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(embed(map(entry, range(30)), encoder, lambda _: set()))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lookalike-decode")]
