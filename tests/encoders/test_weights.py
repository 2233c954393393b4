import hashlib
import http.server
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from lookalike.cli import main
from lookalike.encoders import ENCODERS, load_encoder, reads_text, repository, weights
from lookalike.errors import EncoderError
from tests.encoders import checkpoints, graphs

REVISION = "a" * 40
GATED = "facebook/dinov3-vits16-pretrain-lvd1689m"
FILES = {"config.json": b'{"model_type": "dinov2"}', "model.safetensors": bytes(range(256)) * 4000}


class Hub(http.server.BaseHTTPRequestHandler):
    """The few answers of the hub that a download needs."""

    repository = "facebook/dinov2-small"
    kind: str | None = None
    files = published = FILES
    requests: ClassVar[list[tuple[str, str, str | None]]] = []
    tokens: ClassVar[list[tuple[str, str | None]]] = []
    cuts: ClassVar[list[int]] = []
    lied = False
    elsewhere = address = ""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        type(self).requests.append((self.command, path, self.headers.get("Range")))
        type(self).tokens.append((path, self.headers.get("Authorization")))
        if f"/{GATED}/resolve/" in path and self.headers.get("Authorization") != "Bearer hf_accepted":
            # What the hub answers without a token, and with one whose account has not accepted the licence.
            status = 403 if self.headers.get("Authorization") else 401
            return self.reply(b"", body, {"X-Error-Code": "GatedRepo"}, status)
        path = path.replace(GATED, "facebook/dinov2-small")
        if path == "/store/model.safetensors":
            return self.reply(self.files["model.safetensors"], body, {})
        if path.startswith(f"/api/models/{self.repository}"):
            return self.reply(json.dumps(self.info()).encode(), body, {"Content-Type": "application/json"})
        name = path.partition(f"/{self.repository}/resolve/{REVISION}/")[2]
        if name not in self.files:
            return self.reply(b"{}", body, {"X-Error-Code": "RepoNotFound"}, 404)
        headers = {"X-Repo-Commit": REVISION, "ETag": f'"{digest(self.published[name])}"'}
        if self.elsewhere and name == "model.safetensors":
            large = {
                "X-Linked-Size": str(len(FILES[name])),
                "X-Linked-ETag": headers["ETag"],
                "Location": self.elsewhere,
            }
            return self.reply(b"", body, headers | large, 302)
        return self.reply(self.files[name], body, headers)

    def info(self) -> dict[str, object]:
        files = [{"rfilename": name} if name.endswith(".json") else self.large(name) for name in self.published]
        config = {"config": {"model_type": self.kind}} if self.kind else {}
        return {"id": self.repository, "modelId": self.repository, "sha": REVISION, "siblings": files, **config}

    def large(self, name: str) -> dict[str, object]:
        data = self.published[name]
        return {
            "rfilename": name,
            "lfs": {"sha256": "0" * 64 if self.lied else digest(data), "size": len(data), "pointerSize": 1},
        }

    def reply(self, data: bytes, body: bool, headers: dict[str, str], status: int = 200) -> None:
        start = 0
        if (requested := self.headers.get("Range")) and status == 200:
            start, status = int(requested.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data) - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data[start:][: self.cuts.pop(0)] if self.cuts and len(data) > 1000 else data[start:])

    def log_message(self, *args: object) -> None:
        pass


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine; huggingface_hub reads its address when it is imported, so its constants are set too."""
    from huggingface_hub import constants

    class Own(Hub):
        requests: ClassVar[list[tuple[str, str, str | None]]] = []
        tokens: ClassVar[list[tuple[str, str | None]]] = []
        cuts: ClassVar[list[int]] = []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = Own.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    yield Own
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_a_model_is_fetched_once_and_found_from_then_on(hub: type[Hub]) -> None:
    assert not weights.is_cached("dinov2-small")
    calls: list[tuple[int, int | None]] = []
    folder = weights.pull("dinov2-small", lambda done, total: calls.append((done, total)))
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert max(done for done, _ in calls) == len(FILES["model.safetensors"])
    count = len(hub.requests)
    assert weights.resolve("dinov2-small") == weights.find("dinov2-small") == folder
    assert len(hub.requests) == count


def test_the_first_download_is_recorded_and_a_later_one_must_match(hub: type[Hub], tmp_path: Path) -> None:
    folder = weights.pull("dinov2-small")
    record = json.loads((tmp_path / "cache" / "weights.json").read_text())["facebook/dinov2-small"]
    assert record["revision"] == REVISION
    assert record["sha256"]["model.safetensors"] == digest(FILES["model.safetensors"])
    for file in folder.iterdir():
        file.resolve().unlink()
        file.unlink()
    hub.files = {**FILES, "model.safetensors": b"\1" * len(FILES["model.safetensors"])}
    with pytest.raises(EncoderError, match=r"model.safetensors has SHA-256 .* as recorded at the first download"):
        weights.pull("dinov2-small")
    assert not weights.is_cached("dinov2-small")


def test_a_file_that_is_not_what_the_hub_published_is_refused(hub: type[Hub]) -> None:
    hub.lied = True
    with pytest.raises(EncoderError, match=r"not 000000000000… as published; it was deleted"):
        weights.pull("dinov2-small")
    assert not weights.is_cached("dinov2-small")


def test_the_further_files_of_a_second_model_in_a_repository_are_checked_too(
    hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(weights.HUB, "head", weights.PublishedModel("facebook/dinov2-small", ("config.json",)))
    weights.pull("head")
    hub.lied = True
    with pytest.raises(EncoderError, match=r"model.safetensors has SHA-256 .* as published"):
        weights.pull("dinov2-small")
    hub.lied = False
    weights.pull("dinov2-small")
    record = json.loads((tmp_path / "cache" / "weights.json").read_text())["facebook/dinov2-small"]
    assert record["sha256"] == {name: digest(data) for name, data in FILES.items()}


def ranges(hub: type[Hub]) -> list[str | None]:
    return [
        requested for method, path, requested in hub.requests if method == "GET" and path.endswith("model.safetensors")
    ]


def test_an_interrupted_download_is_resumed(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.utils.download.CHUNK", 100_000)

    def stop(done: int, total: int | None) -> None:
        if done == 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.pull("dinov2-small", stop)
    assert not weights.is_cached("dinov2-small")
    folder = weights.pull("dinov2-small")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert ranges(hub) == [None, "bytes=300000-"]


def test_a_broken_connection_is_resumed(hub: type[Hub]) -> None:
    hub.cuts += [400_000, 500_000]
    folder = weights.pull("dinov2-small")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert ranges(hub) == [None, "bytes=400000-", "bytes=900000-"]


def test_more_bytes_than_the_hub_announced_are_not_kept(hub: type[Hub], tmp_path: Path) -> None:
    hub.elsewhere = hub.address.replace("127.0.0.1", "localhost") + "/store/model.safetensors"
    hub.files = {**FILES, "model.safetensors": FILES["model.safetensors"] + b"more"}
    with pytest.raises(EncoderError, match="more than 1,024,000 bytes"):
        weights.pull("dinov2-small")
    kept = {path.stat().st_size for path in (tmp_path / "hf").rglob("blobs/*")}
    assert kept == {len(FILES["config.json"])}


def test_the_token_is_sent_to_the_hub_and_not_to_where_it_redirects(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.elsewhere = hub.address.replace("127.0.0.1", "localhost") + "/store/model.safetensors"
    folder = weights.pull("dinov2-small")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    sent = {path.removeprefix("/").split("/")[0]: token for path, token in hub.tokens}
    assert sent == {"": None, "api": "Bearer hf_secret", "facebook": "Bearer hf_secret", "store": None}


def test_the_command_fetches_from_hf_endpoint(hub: type[Hub], tmp_path: Path) -> None:
    environment = dict(os.environ) | {"HF_ENDPOINT": hub.address, "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "lookalike", "encoders"]
    pulled = subprocess.run(
        [*command, "pull", "dinov2-small"], env=environment, capture_output=True, text=True, check=False
    )
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert pulled.stdout == f"dinov2-small: {weights.find('dinov2-small')}\n"
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "dinov2-small         here" in listed
    assert "dinov2-base          to be fetched" in listed


@pytest.mark.parametrize("token", [None, "hf_not_accepted"])
@pytest.mark.parametrize("name", ["dinov3-small", GATED])
def test_a_gated_model_says_where_its_licence_is_accepted(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, token: str | None, name: str
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(EncoderError) as caught:
        weights.resolve(name)
    text = str(caught.value)
    assert f"do so at https://huggingface.co/{GATED} and set HF_TOKEN" in text
    assert ("DINOv3 License" in text) == (name == "dinov3-small")
    assert "\n" not in text
    assert not weights.is_cached(name)


def test_a_gated_model_is_fetched_with_the_token_of_one_who_accepted(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_accepted")
    folder = weights.pull("dinov3-small")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_licence_that_restricts_use_is_shown_before_its_weights_are_fetched(hub: type[Hub]) -> None:
    environment = dict(os.environ) | {"HF_ENDPOINT": hub.address, "no_proxy": "127.0.0.1", "HF_TOKEN": "hf_accepted"}
    command = [sys.executable, "-m", "lookalike", "encoders", "pull", "dinov3-small"]
    pulled = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    page = f"https://huggingface.co/{GATED}"
    assert pulled.returncode == 0
    assert pulled.stderr == f"lookalike: dinov3-small: DINOv3 License, which restricts use; read it at {page}\n"
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert again.stderr == "", "it is here already"


def test_the_list_says_size_and_licence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "one-more", "lookalike.encoders.thumb:Thumbnail")
    with pytest.raises(SystemExit):
        main(["encoders"])
    lines = capsys.readouterr().out.splitlines()
    assert "dinov2-base          to be fetched       346 MB  Apache-2.0 (the default)" in lines
    assert "dinov3-large         to be fetched     1,213 MB  DINOv3 License" in lines
    assert "one-more             needs no download" in lines, "nothing is known of it"
    with pytest.raises(SystemExit):
        main(["encoders", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["clip-vit-b32"]["license"], rows["clip-vit-b32"]["megabytes"]) == ("MIT", 606)
    assert (rows["one-more"]["license"], rows["one-more"]["megabytes"]) == (None, None)


@pytest.mark.parametrize("name", [name for name in weights.HUB if name.startswith("dinov")])
def test_the_size_is_that_of_the_tensors(name: str) -> None:
    shape = checkpoints.rotary(name) if name.startswith("dinov3") else checkpoints.real(name)
    numbers = sum(math.prod(size) for size in shape.shapes().values())
    assert weights.HUB[name].megabytes == round(4 * numbers / 1e6)


def test_the_size_of_what_is_shipped_is_that_of_its_file() -> None:
    data = Path(weights.__file__).parent / "data"
    assert weights.SHIPPED["rootsift"].megabytes == round((data / "rootsift.safetensors").stat().st_size / 1e6)


def published(hub: type[Hub], repository: str, files: dict[str, bytes]) -> None:
    hub.repository = repository
    hub.files = hub.published = files


def fetched(hub: type[Hub]) -> set[str]:
    """The files whose content was sent."""
    return {path.partition(f"/{REVISION}/")[2] for method, path, _ in hub.requests if method == "GET"} - {""}


@pytest.fixture
def graph(tmp_path: Path) -> dict[str, bytes]:
    """A graph whose weights lie beside it."""
    path = graphs.weighted(tmp_path / "made" / "model.onnx", "model.onnx_data")
    return {"model.onnx": path.read_bytes(), "model.onnx_data": path.with_name("model.onnx_data").read_bytes()}


PLAIN = json.dumps({"size": 4, "do_normalize": False}).encode()


def test_of_a_repository_with_a_graph_no_more_is_fetched_than_it_needs(
    hub: type[Hub], graph: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {f"onnx/{name}": data for name, data in graph.items()} | {"preprocessor_config.json": PLAIN}
    others = {
        "model.safetensors": b"0" * 9999,
        "onnx/model_fp16.onnx": b"1",
        "onnx/other.bin": b"2",
        "README.json": b"{}",
    }
    published(hub, "somebody/vit", used | others)
    assert not reads_text("somebody/vit")
    encoder = load_encoder("somebody/vit")
    assert fetched(hub) == set(used)
    assert encoder.encode([Image.new("RGB", (9, 9), (9, 9, 9))])[0] == pytest.approx(np.array([1, 2, 3]) / 14**0.5)
    assert encoder.name == "somebody/vit"
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    named = load_encoder("somebody/vit@order=bgr")
    assert named.name == "somebody/vit@order=bgr"
    assert hub.requests == []


def test_a_graph_without_its_weights_is_not_whole_and_its_download_goes_on(
    hub: type[Hub], graph: dict[str, bytes]
) -> None:
    published(hub, "somebody/vit", {**graph, "preprocessor_config.json": PLAIN})
    folder = weights.pull("somebody/vit")
    (folder / "model.onnx_data").resolve().unlink()
    (folder / "model.onnx_data").unlink()
    assert weights.find("somebody/vit") is None
    assert weights.resolve("somebody/vit") == folder
    assert (folder / "model.onnx_data").read_bytes() == graph["model.onnx_data"]


def test_a_repository_of_towers_is_a_text_encoder_without_being_loaded(hub: type[Hub]) -> None:
    towers = {"onnx/vision_model.onnx": b"\x08\x08", "onnx/text_model.onnx": b"\x08\x09"}
    steps = json.dumps({"size": {"height": 4, "width": 4}, "do_normalize": False}).encode()
    used = {**towers, "preprocessor_config.json": steps, "tokenizer.json": b"{}"}
    published(hub, "somebody/clip", {**used, "onnx/model.onnx": b"\x08\x08", "model.safetensors": b"1"})
    assert not reads_text("somebody/clip")
    assert load_encoder("somebody/clip").name == "somebody/clip"
    assert fetched(hub) == set(used)
    assert reads_text("somebody/clip@precision=fp32")


def test_the_weights_beside_a_graph_are_checked_too(hub: type[Hub], graph: dict[str, bytes]) -> None:
    published(hub, "somebody/vit", graph)
    hub.files = {**graph, "model.onnx_data": bytes(12)}
    with pytest.raises(EncoderError, match=r"vit/model.onnx_data has SHA-256 .* as published"):
        weights.pull("somebody/vit")


def test_a_graph_that_names_files_outside_its_folder_is_refused_before_they_are_requested(
    hub: type[Hub], tmp_path: Path
) -> None:
    path = graphs.weighted(tmp_path / "made" / "model.onnx", "../secret", data=False)
    published(hub, "somebody/vit", {"onnx/model.onnx": path.read_bytes(), "secret": b"1"})
    with pytest.raises(EncoderError, match=r"wants to read '../secret', which is outside its folder"):
        load_encoder("somebody/vit")
    assert fetched(hub) == {"onnx/model.onnx"}


@pytest.mark.parametrize(
    ("names", "kind", "expected"),
    [
        ("config.json model.safetensors", None, "config.json model.safetensors"),
        ("config.json model.safetensors onnx/model.onnx", "dinov2", "config.json model.safetensors"),
        ("config.json model.safetensors onnx/model.onnx", "vit", "config.json onnx/model.onnx"),
        ("onnx/model.onnx model.onnx other.onnx", None, "onnx/model.onnx"),
        ("model.onnx preprocessor_config.json vocab.txt", None, "preprocessor_config.json model.onnx"),
        ("resnet50.onnx README.md", None, "resnet50.onnx"),
        (
            "onnx/vision_model.onnx onnx/text_model.onnx onnx/model.onnx config.json tokenizer.json",
            "clip",
            "config.json tokenizer.json onnx/vision_model.onnx onnx/text_model.onnx",
        ),
    ],
)
def test_the_files_of_a_repository_are_chosen_by_a_rule(names: str, kind: str | None, expected: str) -> None:
    assert repository.chosen("a/b", names.split(), kind) == tuple(expected.split())


@pytest.mark.parametrize(
    "names", ["README.md", "a.onnx b.onnx", "deep/model.onnx", "model.safetensors", "pytorch_model.bin config.json"]
)
def test_a_repository_without_a_model_is_one_line(hub: type[Hub], names: str) -> None:
    published(hub, "somebody/nothing", dict.fromkeys(names.split(), b"1"))
    with pytest.raises(EncoderError) as caught:
        load_encoder("somebody/nothing")
    assert str(caught.value) == (
        "somebody/nothing on the hub has neither model.safetensors with config.json nor one ONNX file "
        "(onnx/model.onnx, model.onnx); download the file that you want, and give its path"
    )
    assert fetched(hub) == set()


def test_an_unknown_model_is_one_line(hub: type[Hub]) -> None:
    with pytest.raises(EncoderError, match=r"nobody/nothing: no such model on the hub"):
        weights.resolve("nobody/nothing")


@pytest.mark.usefixtures("no_hub")
def test_without_network_and_cache_three_ways_out_are_named() -> None:
    with pytest.raises(EncoderError) as caught:
        weights.resolve("dinov2-base")
    text = str(caught.value)
    assert "`lookalike encoders pull dinov2-base` where there is a network" in text
    assert "a local path" in text
    assert "--encoder efficientnet-lite0" in text
    assert "\n" not in text


def test_offline_the_cache_is_used_and_nothing_is_requested(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = weights.pull("dinov2-small")
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert weights.pull("dinov2-small") == weights.resolve("dinov2-small") == folder
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        weights.resolve("dinov2-base")
    assert hub.requests == []


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert weights.resolve(tmp_path) == tmp_path


def test_hf_home_and_hf_hub_cache_are_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.hub_cache() == tmp_path / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert weights.hub_cache() == tmp_path / "elsewhere"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.hub_cache() == tmp_path / "xdg" / "huggingface" / "hub"
