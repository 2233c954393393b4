import functools
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.encoders import dinov2, load_encoder
from lookalike.encoders.build import build
from lookalike.encoders.files import locate
from lookalike.encoders.onnx import OnnxBackbone
from lookalike.encoders.preprocess import Preprocess
from lookalike.encoders.torch import TorchBackbone
from lookalike.errors import EncoderError
from lookalike.types import Encoder
from tests.encoders import checkpoints

SIZES = [(224, 224), (518, 518), (126, 322)]
SHRUNKEN = ["dinov2-large", "dinov2-large-reg", "dinov2-giant", "dinov2-giant-reg"]
Folders = Callable[[str], Path]
REAL = ["dinov2-small", "dinov2-small-reg", "dinov2-base"]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A folder with the checkpoint of a name, written on first use."""

    @functools.cache
    def folder(name: str) -> Path:
        shape = checkpoints.real(name) if name in REAL else checkpoints.shrunken(name)
        return checkpoints.write(shape, tmp_path_factory.mktemp(name))

    return folder


def onnx(folder: Path, precision: str = "fp32") -> OnnxBackbone:
    return OnnxBackbone(build(locate(folder), precision), precision)


def worst(backbone: dinov2.Backbone, folder: Path, height: int, width: int) -> float:
    """The largest difference to transformers in any number of the class and patch tokens."""
    pixels = checkpoints.small_pictures(height, width, count=1)
    expected, skipped = checkpoints.reference(folder, pixels), 1 + backbone.architecture.registers
    class_tokens, patches = backbone.tokens(pixels)
    assert patches.shape == (1, height * width // 196, backbone.architecture.width)
    # The graph for the class token alone differs only in its last block, so the small sizes suffice for it.
    alone = backbone.class_tokens(pixels) if height * width < 100_000 else class_tokens
    differences = (class_tokens - expected[:, 0], alone - expected[:, 0], patches - expected[:, skipped:])
    return max(float(np.abs(difference).max()) for difference in differences)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", REAL + SHRUNKEN)
def test_onnx_gives_the_numbers_of_transformers(name: str, size: tuple[int, int], folders: Folders) -> None:
    assert worst(onnx(folders(name)), folders(name), *size) < 1e-4


@pytest.mark.parametrize(
    ("name", "size"), [("dinov2-small", (224, 224)), *((name, size) for name in SHRUNKEN for size in SIZES)]
)
def test_torch_gives_the_numbers_of_transformers(name: str, size: tuple[int, int], folders: Folders) -> None:
    assert worst(TorchBackbone(locate(folders(name)), "cpu"), folders(name), *size) < 1e-4


@pytest.mark.parametrize("name", SHRUNKEN)
def test_a_file_of_meta_gives_the_same_vectors_on_both_runtimes(name: str, tmp_path: Path, folders: Folders) -> None:
    pth = checkpoints.write_meta(checkpoints.shrunken(name), tmp_path / f"{name}.pth")
    assert worst(onnx(pth), folders(name), 126, 322) < 1e-4
    assert worst(TorchBackbone(locate(pth), "cpu"), folders(name), 126, 322) < 1e-4


@pytest.mark.parametrize("name", ["dinov2-small", "dinov2-giant-reg"])
def test_bf16_stays_within_a_cosine_of_0_9999(name: str, folders: Folders) -> None:
    pixels = checkpoints.small_pictures(224, 224, count=2)
    exact = onnx(folders(name)).class_tokens(pixels)
    rounded = TorchBackbone(locate(folders(name)), "cpu", dtype="bfloat16").class_tokens(pixels)
    cosines = (exact * rounded).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() >= 0.9999


@pytest.mark.weights
def test_the_published_model_gives_the_published_numbers(shared_data: Path) -> None:
    """Of facebook/dinov2-base on the COCO image 000000039769, which `LOOKALIKE_TEST_DATA`/coco must hold."""
    from lookalike.encoders import weights

    picture, folder = shared_data / "coco" / "000000039769.jpg", weights.find("dinov2-base")
    if folder is None or not picture.is_file():
        pytest.skip("needs the weights of dinov2-base in the cache, and coco/000000039769.jpg in the test data")
    with Image.open(picture) as image:
        pixels = Preprocess("crop", 224).prepare(image.convert("RGB"))
    class_tokens, patches = onnx(folder).tokens(pixels[None])
    actual = np.stack([class_tokens[0, :3], *patches[0, :2, :3]])
    published = [[-2.1747, -0.4729, 1.0936], [-3.2780, -0.8269, -0.9210], [-2.9129, 1.1284, -0.7306]]
    assert np.allclose(actual, published, atol=1e-3)


@pytest.fixture
def encoder(tiny: Path) -> dinov2.Dinov2:
    return dinov2.load(tiny, device="onnx")


def pictures() -> list[Image.Image]:
    wide, high = checkpoints.small_pictures(60, 100)[0], checkpoints.small_pictures(90, 40)[0]
    return [Image.fromarray(wide), Image.fromarray(high), Image.fromarray(wide[:, ::-1])]


def test_it_meets_the_protocol(encoder: dinov2.Dinov2) -> None:
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode(pictures())
    assert vectors.shape == (3, encoder.dim) == (3, 128)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.encode([]).shape == (0, 128)


def test_images_of_several_sizes_come_back_in_their_order(tiny: Path) -> None:
    padded = dinov2.load(tiny, preprocess="pad-98", device="onnx")
    prepared = [padded.prepare(picture) for picture in pictures()]
    assert [array.shape for array in prepared] == [(70, 98, 3), (98, 56, 3), (70, 98, 3)]
    together = padded.encode_batch(prepared)
    alone = np.concatenate([padded.encode_batch([array]) for array in prepared])
    assert np.allclose(together, alone, atol=1e-5)
    assert [patches.shape for patches in padded.encode_patches(prepared)] == [(5, 7, 128), (7, 4, 128), (5, 7, 128)]


def test_a_patch_token_lies_where_its_pixels_are(encoder: dinov2.Dinov2) -> None:
    """A change in one patch of the picture changes the token of that patch most."""
    plain = checkpoints.small_pictures(224, 224, count=1)[0]
    changed = plain.copy()
    changed[14 * 3 : 14 * 4, 14 * 11 : 14 * 12] = 255
    before, after = encoder.encode_patches([plain, changed])
    moved = np.linalg.norm(after - before, axis=2)
    assert np.unravel_index(moved.argmax(), moved.shape) == (3, 11)


def test_both_runtimes_have_one_name_and_one_fingerprint(tiny: Path, encoder: dinov2.Dinov2) -> None:
    other = dinov2.load(tiny, device="cpu")
    assert (other.name, other.fingerprint) == (encoder.name, encoder.fingerprint)
    assert np.allclose(other.encode(pictures()), encoder.encode(pictures()), atol=1e-5)


def test_every_option_that_changes_vectors_changes_the_fingerprint(tiny: Path, tmp_path: Path) -> None:
    specs = ["", "@crop-224", "@squash-112", "@pool=gem", "@precision=int8"]
    encoders = [load_encoder(f"{tiny}{spec}", device="onnx") for spec in specs]
    encoders.append(load_encoder(checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path, seed=1)))
    assert len({encoder.fingerprint for encoder in encoders}) == len(specs) + 1


@pytest.mark.parametrize(
    ("preprocess", "fingerprint"),
    [
        ("squash-224", "cd93a6e54c9a5730357a7b673b1b9baf22c9a2c8dec2996525394ad0aa9d991b"),
        ("pad-518", "7438d97f9b4ff6cc0f2adb412e94069cdbbb5328c3c405386b8ef858cb8b19fc"),
        ("crop-224", "9a2b577acef52ee4c5ea999ae51fde2c54c5665270fe2cff9ab71eafa6c84ecf"),
    ],
)
def test_a_fingerprint_stays_what_it_was(preprocess: str, fingerprint: str) -> None:
    """Collections are bound to it. That of crop changed when its pixels did."""
    identity = dinov2.Identity("any", Preprocess.parse(preprocess), "cls", "fp32", "d" * 64)
    assert identity.fingerprint == fingerprint


def test_int8_has_another_fingerprint_than_in_earlier_releases_and_fp32_the_same() -> None:
    identities = [dinov2.Identity("x", Preprocess(), "cls", precision, "digest") for precision in ("fp32", "int8")]
    earlier = [
        hashlib.sha256(repr((1, "digest", "squash-224", "cls", name)).encode()).hexdigest() for name in ("fp32", "int8")
    ]
    assert identities[0].fingerprint == earlier[0]
    assert identities[1].fingerprint != earlier[1]


def test_a_name_makes_the_same_encoder_again(tiny: Path) -> None:
    first = load_encoder(tiny, preprocess="pad-98", pooling="cls+gem", precision="int8")
    assert first.name == f"{tiny}@pad-98,pool=cls+gem,precision=int8"
    again = load_encoder(first.name)
    assert (again.name, again.fingerprint, again.dim) == (first.name, first.fingerprint, 256)


def test_auto_means_fp32_where_no_images_are_at_hand(tiny: Path, encoder: dinov2.Dinov2) -> None:
    auto = load_encoder(tiny, precision="auto", device="onnx")
    assert (auto.name, auto.fingerprint) == (encoder.name, encoder.fingerprint)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preprocess": "stretch-224"}, "stretch-224.* none of squash-N, crop-N, pad-N"),
        ({"preprocess": "squash-225"}, "multiples of 14.* try squash-224"),
        ({"pooling": "max"}, "'max' is none of cls, mean, gem, cls\\+gem"),
        ({"precision": "int4"}, "'int4' is none of fp32, int8, auto"),
        ({"device": "tpu"}, "'tpu' is none of cuda, mps, cpu, onnx"),
        ({"device": "cpu", "precision": "int8"}, "int8 runs on ONNX Runtime alone"),
    ],
)
def test_an_unknown_option_is_one_line(options: dict[str, str], words: str, tiny: Path) -> None:
    with pytest.raises(EncoderError, match=words) as caught:
        load_encoder(tiny, **options)
    assert "\n" not in str(caught.value)


def test_with_everything_cached_neither_torch_nor_the_checkpoint_is_read(tiny: Path, encoder: dinov2.Dinov2) -> None:
    code = f"""
import sys, numpy as np
from PIL import Image
from lookalike.encoders import load_encoder, safetensors
def refuse(path): raise AssertionError("the checkpoint was read again")
safetensors.read = refuse
vector = load_encoder({str(tiny)!r}).encode([Image.new("RGB", (40, 30), (90, 60, 30))])
assert vector.shape == (1, 128)
loaded = {{"torch", "transformers", "huggingface_hub", "onnx", "safetensors"}} & set(sys.modules)
assert not loaded, loaded
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
