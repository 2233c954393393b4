"""Made bytes for whatever reads headers here: TIFF directories, raw files, JPEG XL, and samples of every kind."""

import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lookalike.errors import ImageError
from lookalike.images import effort, jpeg_xl, kinds, tiff
from lookalike.images.decode import SECONDS, Limits, decode, examine
from lookalike.images.depth import to_bytes
from lookalike.images.ignore import Patterns
from tests.hostile.craft import saved, scene
from tests.hostile.craft import tiff as written
from tests.images.test_pages import PICTURE, PREVIEW, REDUCED, SENSOR, Directory, dng, packed

LIMITS = Limits(pixels=1_000_000)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TAGS = [254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 324, 325, 330, 513, 514, 46, 50706, 34665]
ENTRY = st.tuples(
    st.sampled_from(TAGS), st.integers(0, 20), st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 400), st.integers(0, 2**32 - 1)),
)  # fmt: skip
MAGIC = st.sampled_from([*tiff.MAGICS, *tiff.RAW_MAGICS])


def outcome(data: bytes) -> str:
    """ "image" or the reason, within a second or so."""
    start = time.monotonic()
    try:
        examine(data, LIMITS)
        decoded = decode(data, size=16, limits=LIMITS)
        assert decoded.image.mode == "RGB"
        answer = "image"
    except ImageError as error:
        answer = str(error)
        assert 3 <= len(answer) <= 120
        assert answer.isprintable()
    assert time.monotonic() - start < 20
    return answer


@QUICK
@given(MAGIC, st.lists(ENTRY, max_size=12), st.binary(max_size=300), st.integers(0, 400))
def test_directories_of_any_claims_end(
    magic: bytes, entries: list[tuple[int, int, int, int]], body: bytes, after: int
) -> None:
    data = magic + written(entries, body, after)[4:]
    layout = tiff.layout(data)
    assert len(layout.pages) <= 3 * tiff.DIRECTORIES
    if not (layout.is_raw and layout.picture is None):
        outcome(data)


@QUICK
@given(st.binary(max_size=600), MAGIC)
def test_any_bytes_behind_a_signature_end(body: bytes, magic: bytes) -> None:
    tiff.layout(magic + body)
    tiff.jpeg_size(magic + body, 0, len(body))


@QUICK
@given(st.data())
def test_changed_bytes_of_a_file_of_several_pictures_end(data: st.DataObject) -> None:
    sound = packed([Directory((REDUCED,), [Directory(pixels=scene(1, size=(24, 16)))], scene(2, size=(6, 4)))])
    body = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(body))


@QUICK
@given(st.binary(max_size=64), st.booleans())
def test_any_bits_are_a_size_or_no_jpeg_xl(bits: bytes, is_boxed: bool) -> None:
    data = (jpeg_xl.CONTAINER if is_boxed else jpeg_xl.CODESTREAM) + bits
    try:
        width, height = jpeg_xl.size(data)
    except ValueError:
        return
    assert 0 <= width <= 2**31
    assert 1 <= height <= 2**30


@QUICK
@given(
    st.sampled_from([np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=2, max_dims=3, max_side=6))
    )
)
@pytest.mark.filterwarnings("error")
def test_samples_of_any_type_and_value_become_bytes(values: NDArray[Any]) -> None:
    levels = to_bytes(values)
    assert (levels.shape, levels.dtype.name) == (values.shape, "uint8")
    assert np.array_equal(levels, to_bytes(values.copy()))
    flat, ranks = levels.ravel(), np.argsort(values.ravel(), kind="stable")
    if values.dtype.kind in "ui":
        assert (np.diff(flat[ranks].astype(int)) >= 0).all(), "a higher sample is never darker"


@QUICK
@given(st.text(st.sampled_from("ab*?[]!/\\# "), max_size=30), st.text(st.sampled_from("ab/"), max_size=60))
def test_any_pattern_is_answered_or_refused(pattern: str, key: str) -> None:
    from lookalike.errors import SourceError

    try:
        assert Patterns((pattern,)).verdict(key) in (True, False, None)
    except SourceError as error:
        assert "--exclude" in str(error)


GIGABYTES = {
    "strip": Directory((REDUCED, (273, 4, [2**31]), (279, 4, [2**31])), pixels=PREVIEW),
    "jpeg": Directory((REDUCED, (513, 4, [2**30]), (514, 4, [2**30])), pixels=PREVIEW),
    "subdirectory": Directory((REDUCED, (330, 4, [2**31 - 8])), pixels=PREVIEW),
    "sensor": Directory((SENSOR, (256, 4, [2**20]), (257, 4, [2**20]), (273, 4, [2**31])), pixels=PREVIEW.convert("L")),
}  # fmt: skip


@pytest.mark.parametrize("name", GIGABYTES)
def test_offsets_of_gigabytes_end_at_once(name: str) -> None:
    outcome(packed([GIGABYTES[name]]))


def test_directories_without_end_end() -> None:
    """Each names the next, and itself, and all others as subdirectories."""
    body, size = bytearray(b"II*\0" + struct.pack("<I", 8)), 2 + 12 + 4
    for number in range(50_000):
        at = 8 + number * size
        body += struct.pack("<H", 1) + struct.pack("<HHII", 330, 4, 1, at + 3 * size) + struct.pack("<I", at + size)
    start = time.monotonic()
    assert tiff.layout(bytes(body)).pages == ()
    assert time.monotonic() - start < 1
    outcome(bytes(body))


def test_damage_to_a_raw_file_ends_in_an_image_or_a_reason() -> None:
    pytest.importorskip("rawpy")
    rng, sound = np.random.default_rng(3), dng(64, 48)
    outcomes = []
    for _ in range(40):
        body = bytearray(sound)
        for at in rng.integers(4, len(body), 6):
            body[at] = rng.integers(0, 256)
        for at in rng.integers(len(body) - 260, len(body), 2):
            body[at] = rng.integers(0, 256)
        outcomes.append(outcome(bytes(body)))
    assert "image" in outcomes
    assert len(set(outcomes)) > 1


def test_a_sensor_of_too_many_pixels_is_refused() -> None:
    pytest.importorskip("rawpy")
    token = SECONDS.set(20.0)
    try:
        assert "limit" in outcome(dng(1200, 900))
    finally:
        SECONDS.reset(token)


def test_every_extension_has_one_meaning() -> None:
    assert not kinds.EXTENSIONS & set(kinds.UNREAD)
    assert all(extension == extension.lower() and extension.startswith(".") for extension in kinds.UNREAD)
    assert all(len(reason) < 80 and ";" in reason for reason in kinds.UNREAD.values())


def test_a_large_page_behind_a_preview_counts_for_the_cost_of_decoding() -> None:
    data = packed([Directory((REDUCED,), pixels=PREVIEW), Directory(pixels=PICTURE)])
    facts = examine(data)
    assert effort.cost(facts.format, facts.width, facts.height, facts.passes) == 2 * 192 * 128
    assert saved(scene(1), "TIFF")[:4] in tiff.MAGICS
