"""SSCD from random weights in each of the published containers: the numbers of PyTorch, without PyTorch."""

import contextlib
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lookalike.encoders import load_encoder, reads_text, sscd, web_weights, weights
from lookalike.encoders.maps import map_encoder
from lookalike.encoders.web_weights import PublishedFile
from lookalike.errors import EncoderError
from tests.encoders import convnets
from tests.support.pictures import picture

pytestmark = pytest.mark.usefixtures("own_cache")
SMALL = ((2, 8), (1, 16), (2, 8), (1, 24))
JIT: Any = torch.jit  # without types


def expected(model: convnets.Sscd, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = convnets.planes(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).float()
    with torch.inference_mode():
        rows: np.ndarray[Any, Any] = model(values).numpy()
    return rows


def classy(state: dict[str, torch.Tensor], named: bool) -> dict[str, torch.Tensor]:
    """The same tensors under Classy Vision's names; blocks are numbered or, in later versions, named."""
    parts = {new: old for old, new in sscd.PARTS.items()}
    renamed = {}
    for name, tensor in state.items():
        inner = name.removeprefix("backbone.")
        if match := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)\.(\w+)", inner):
            stage, block, part, kind = match.groups()
            number = f"block{int(stage) - 1}-{block}" if named else block
            inner = f"blocks.{int(stage) - 1}.{number}.{parts.get(part, part)}.{kind}"
        inner = inner.replace("conv1.", "initial_block._module.0.") if inner.startswith("conv1.") else inner
        inner = inner.replace("bn1.", "initial_block._module.1.") if inner.startswith("bn1.") else inner
        renamed["embeddings.1." + inner[3:] if inner.startswith("fc.") else f"backbone.{inner}"] = tensor
    return renamed


CONTAINERS: dict[str, Any] = {
    "torchvision": lambda model, path: torch.save(model.state_dict(), path),
    "old torchvision": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
    "classy": lambda model, path: torch.save(classy(model.state_dict(), False), path),
    "classy, named": lambda model, path: torch.save(classy(model.state_dict(), True), path),
    "script": lambda model, path: JIT.script(model).save(path),
    "trace": lambda model, path: JIT.trace(model, torch.zeros(1, 3, 64, 64)).save(path),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> convnets.Sscd:
    """A network of the same kind with few channels."""
    monkeypatch.setattr(sscd, "STAGES", SMALL)
    return convnets.Sscd(SMALL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("container", CONTAINERS)
def test_vectors_are_those_of_pytorch(container: str, small: convnets.Sscd, tmp_path: Path) -> None:
    CONTAINERS[container](small, tmp_path / "sscd.pt")
    encoder = load_encoder(tmp_path / "sscd.pt")
    for sides in ((64, 64), (75, 101)):
        images = convnets.pixels(*sides, count=2)
        np.testing.assert_allclose(encoder.encode_batch(list(images)), expected(small, images), atol=1e-5)


def test_a_whole_resnet_50(tmp_path: Path) -> None:
    model = convnets.Sscd(sscd.STAGES)
    assert sum(values.numel() for values in model.parameters()) == 24_557_120
    torch.save(model.state_dict(), tmp_path / "sscd.pt")
    images = convnets.pixels(96, 128)
    encoder = load_encoder(tmp_path / "sscd.pt")
    np.testing.assert_allclose(encoder.encode_batch(list(images)), expected(model, images), atol=1e-4)


def test_the_whole_map_has_the_vector_of_the_picture(small: convnets.Sscd, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "sscd.pt")
    encoder = map_encoder(load_encoder(tmp_path / "sscd.pt"))
    assert encoder is not None
    assert encoder.map_head is not None
    images = convnets.pixels(96, 160)
    (cells,) = encoder.encode_maps(list(images))
    assert cells.shape == (3, 5, 4 * SMALL[-1][1])
    vector = encoder.map_head.vectors(cells, np.array([[0, 0, 3, 5]]))
    np.testing.assert_allclose(vector, expected(small, images), atol=1e-5)


def test_its_name_and_its_options(small: convnets.Sscd, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "sscd.pt")
    encoder = load_encoder(tmp_path / "sscd.pt")
    assert (encoder.name, encoder.dim, encoder.decode_size) == (str(tmp_path / "sscd.pt"), 512, 288)
    assert encoder.prepare(picture(1, (640, 480))).shape == (288, 384, 3)
    squashed = load_encoder(f"{tmp_path / 'sscd.pt'}@squash-320")
    assert squashed.name == f"{tmp_path / 'sscd.pt'}@squash-320"
    assert squashed.prepare(picture(1, (640, 480))).shape == (320, 320, 3)
    assert squashed.fingerprint != encoder.fingerprint
    assert not reads_text("sscd")
    assert not reads_text(str(tmp_path / "sscd.pt"))


def test_another_model_is_refused(small: convnets.Sscd, tmp_path: Path) -> None:
    state = small.state_dict()

    def refused(words: str, **changes: torch.Tensor | None) -> None:
        changed = {name: tensor for name, tensor in {**state, **changes}.items() if tensor is not None}
        torch.save(changed, tmp_path / "other.pt")
        with pytest.raises(EncoderError, match=words):
            load_encoder(tmp_path / "other.pt")

    kind = "SSCD with ResNet-50"
    refused(f"has no tensor fc.bias; it is no checkpoint of {kind}", **{"backbone.fc.bias": None})
    refused(r"fc.weight has shape \(1000, 96\), not \(512, 96\)", **{"backbone.fc.weight": torch.zeros(1000, 96)})
    deeper = {"backbone.layer3.2.conv1.weight": torch.zeros(1)}
    refused(rf"other.pt has a tensor 'layer3.2.conv1.weight' that {kind} has not", **deeper)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Iterator[dict[str, bytes]]:
    """A server with the file that `sscd` is fetched from; the dictionary holds its content."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(files["sscd.pt"])))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(files["sscd.pt"])

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/sscd.pt"
    monkeypatch.setattr(web_weights, "FILES", {"sscd": PublishedFile(url, 1_000_000, "MIT", 1)})
    (own_cache / "weights" / "sscd.pt").unlink(missing_ok=True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield files
    server.shutdown()
    server.server_close()


def test_it_is_fetched_once_and_recorded(
    published: dict[str, bytes], small: convnets.Sscd, own_cache: Path, tmp_path: Path
) -> None:
    torch.save(small.state_dict(), tmp_path / "small.pt")
    published["sscd.pt"] = (tmp_path / "small.pt").read_bytes()
    assert not weights.is_cached("sscd")
    encoder = load_encoder("sscd")
    assert encoder.name == "sscd"
    assert weights.is_cached("sscd")
    assert (own_cache / "weights" / "sscd.pt").read_bytes() == published["sscd.pt"]
    assert hashlib.sha256(published["sscd.pt"]).hexdigest() in (own_cache / "weights.json").read_text()
    assert encoder.fingerprint == load_encoder(tmp_path / "small.pt").fingerprint
    published.clear()
    load_encoder("sscd")


def test_another_file_at_the_url_is_refused(published: dict[str, bytes], own_cache: Path) -> None:
    published["sscd.pt"] = b"first"
    weights.pull("sscd")
    (own_cache / "weights" / "sscd.pt").unlink()
    published["sscd.pt"] = b"other"
    with pytest.raises(EncoderError, match="as recorded at the first download; it was deleted, fetch it again"):
        weights.pull("sscd")
    assert not weights.is_cached("sscd")


def test_without_a_network_the_way_out_is_named(published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError, match=r"cannot be fetched \(HF_HUB_OFFLINE is set\): fetch http\S+ elsewhere"):
        load_encoder("sscd")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    published["sscd.pt"] = bytes(1_000_001)
    with pytest.raises(EncoderError, match="more than 1,000,000 bytes"):
        load_encoder("sscd")


def test_what_is_published() -> None:
    file = web_weights.FILES["sscd"]
    assert file.url.startswith("https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.")
    assert file.path.name == "sscd_disc_mixup.torchvision.pt"
