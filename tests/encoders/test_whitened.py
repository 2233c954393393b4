from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoders.whitened import fingerprint, whitened
from lookalike.encoders.whitening import Whitening, fit
from lookalike.errors import EncoderError
from lookalike.search.rerank.patches import PatchEncoder
from lookalike.types import Box, Encoder, TextEncoder, Vectors
from tests.support.pictures import PixelEncoder, picture


class Reading(PixelEncoder):
    """Encodes text and patches: the vector of a text is a picture's (its seed the length), a patch is a pixel."""

    batch_size = 3

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return self.encode([picture(len(text)) for text in texts])

    def encode_patches(self, prepared: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return list(prepared)

    def patch_region(self, width: int, height: int) -> Box:
        return Box(0, 0, width, height)


@pytest.fixture
def learned() -> Whitening:
    return fit(PixelEncoder().encode([picture(number) for number in range(30)]), dim=10)


def test_its_vectors_are_those_of_the_encoder_whitened(encoder: PixelEncoder, learned: Whitening) -> None:
    pictures = [picture(number) for number in range(40, 45)]
    combined = whitened(encoder, learned)
    assert isinstance(combined, Encoder)
    assert combined.dim == 10
    assert (combined.encode(pictures) == learned.apply(encoder.encode(pictures))).all()
    assert (combined.name, combined.decode_size) == (encoder.name, encoder.decode_size)


def test_the_whitened_encoder_has_no_abilities_that_the_encoder_lacks(
    encoder: PixelEncoder, learned: Whitening
) -> None:
    combined = whitened(encoder, learned)
    assert not isinstance(combined, TextEncoder)
    assert not isinstance(combined, PatchEncoder)
    assert not hasattr(combined, "batch_size")
    assert not hasattr(combined, "anything")


def test_the_abilities_of_the_encoder_are_kept(learned: Whitening) -> None:
    combined = whitened(Reading(), learned)
    assert isinstance(combined, TextEncoder)
    assert isinstance(combined, PatchEncoder)
    assert (combined.encode_text(["one", "three"]) == learned.apply(Reading().encode_text(["one", "three"]))).all()
    assert getattr(combined, "batch_size") == 3  # noqa: B009
    assert getattr(combined, "patch_region")(4, 3) == Box(0, 0, 4, 3)  # noqa: B009
    prepared = combined.prepare(picture(1))
    assert (combined.encode_patches([prepared])[0] == prepared).all(), "patches are compared as they are"


def test_the_fingerprint_is_of_both(encoder: PixelEncoder, learned: Whitening) -> None:
    other = Whitening(learned.mean, learned.projection * np.float32(1.5))
    fingerprints = {encoder.fingerprint, whitened(encoder, learned).fingerprint, whitened(encoder, other).fingerprint}
    assert len(fingerprints) == 3
    assert whitened(encoder, learned).fingerprint == fingerprint(encoder.fingerprint, learned)
    assert fingerprint("another", learned) not in fingerprints


def test_a_whitening_of_another_length_is_refused(encoder: PixelEncoder) -> None:
    with pytest.raises(EncoderError, match="pixels gives 192 numbers, the whitening takes 8"):
        whitened(encoder, Whitening(np.zeros(8, np.float32), np.eye(8, dtype=np.float32)))
