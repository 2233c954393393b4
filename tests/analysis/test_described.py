from pathlib import Path

import numpy as np
import pytest

from lookalike.analysis.described import BUDGET, CACHE, LOCAL, THUMBNAIL, Description, described
from lookalike.analysis.local_features import LocalFeatures, describe
from lookalike.errors import ImageError
from lookalike.storage.features import FeatureCache
from tests.analysis.test_group_copies import scene


def test_local_features_come_back_as_they_were_stored() -> None:
    features = describe(scene(1))
    assert len(features) > 100
    stored = LocalFeatures.from_bytes(features.to_bytes())
    assert stored is not None
    assert (stored.bits == features.bits).all()
    assert np.allclose(stored.points, features.points, rtol=2e-3, atol=2e-3)
    damaged = bytearray(features.to_bytes())
    damaged[40] ^= 1
    assert LocalFeatures.from_bytes(bytes(damaged)) is LocalFeatures.from_bytes(b"") is None


@pytest.mark.parametrize("kind", [THUMBNAIL, LOCAL], ids=lambda kind: kind.name)
def test_a_damaged_entry_of_the_cache_is_computed_again(tmp_path: Path, kind: Description[object]) -> None:
    data = _png()
    first = described(kind, ["aa"], lambda _: data, tmp_path)
    wrong = np.full(177, np.nan, np.float32).tobytes()
    FeatureCache(tmp_path, BUDGET, CACHE).put({f"{kind.name}:aa".encode(): wrong})
    (again,) = described(kind, ["aa"], lambda _: data, tmp_path)
    assert first[0] is not None
    assert again is not None
    assert kind.to_bytes(again) == kind.to_bytes(first[0])


def test_a_picture_that_cannot_be_read_has_no_features_and_is_asked_for_again(tmp_path: Path) -> None:
    asked = []

    def gone(position: int) -> bytes:
        asked.append(position)
        raise ImageError("no such file")

    assert described(THUMBNAIL, ["aa", "bb"], gone, tmp_path) == [None, None]
    assert described(THUMBNAIL, ["aa"], gone, tmp_path) == [None]
    assert sorted(asked) == [0, 0, 1]


def _png() -> bytes:
    import io

    buffer = io.BytesIO()
    scene(2).save(buffer, "PNG")
    return buffer.getvalue()
