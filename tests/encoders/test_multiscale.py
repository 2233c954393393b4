"""The descriptor at several scales is the mean of the unit vectors at each."""

import numpy as np
import pytest

from lookalike.encoders import load_encoder, split_name
from lookalike.errors import EncoderError
from tests.support.pictures import picture

NAME = "efficientnet-lite0@scales=0.7:1:1.4"


def test_it_is_the_mean_of_the_vectors_at_each_size() -> None:
    images = [picture(seed, (200, 120)) for seed in range(2)]
    vectors = load_encoder(NAME).encode(images)
    sizes = [load_encoder(f"efficientnet-lite0@fit-{size}").encode(images) for size in (224, 320, 448)]
    mean = np.mean(sizes, axis=0)
    np.testing.assert_allclose(vectors, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_its_name_loads_it_again_and_commas_mean_the_same() -> None:
    encoder = load_encoder("efficientnet-lite0@fit-256,scales=0.7,1,1.4,precision=int8")
    assert encoder.name == "efficientnet-lite0@fit-256,precision=int8,scales=0.7:1:1.4"
    assert load_encoder(encoder.name).fingerprint == encoder.fingerprint
    assert split_name("efficientnet-lite0@scales=0.7,1,squash-224")[1] == {
        "scales": "0.7:1",
        "preprocess": "squash-224",
    }


def test_scales_have_fingerprints_of_their_own() -> None:
    names = ["efficientnet-lite0", "efficientnet-lite0@scales=1", "efficientnet-lite0@scales=0.7:1", NAME]
    assert len({load_encoder(name).fingerprint for name in names}) == len(names)


def test_a_vector_does_not_depend_on_its_batch() -> None:
    encoder = load_encoder(NAME)
    prepared = [encoder.prepare(picture(seed, (90, 120))) for seed in range(3)]
    together = encoder.encode_batch(prepared)
    np.testing.assert_array_equal(together[1:2], encoder.encode_batch(prepared[1:2]))
    assert encoder.decode_size == 448


@pytest.mark.parametrize("scales", ["", "0", "5", "1:1", "a", "0.7;1", "1:1.1:1.2:1.3:1.4:1.5:1.6:1.7:1.8", "nan"])
def test_scales_that_are_none_are_refused(scales: str) -> None:
    with pytest.raises(EncoderError, match="scales"):
        load_encoder(f"efficientnet-lite0@scales={scales}")


def test_an_encoder_of_one_size_has_no_scales() -> None:
    with pytest.raises(EncoderError, match="thumbnail takes pictures of one size and has no scales"):
        load_encoder("thumbnail@scales=0.7:1")
