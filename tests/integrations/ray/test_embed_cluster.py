"""Photos from S3 to S3 over several raylets, with a driver, a worker and a node killed on the way."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.errors import SourceError
from lookalike.images.sources import open_source
from lookalike.integrations.ray import records
from lookalike.integrations.ray.load import load
from tests.support.pictures import picture

COUNT = int(os.environ.get("LOOKALIKE_CLUSTER_IMAGES", "200"))
READ_SECONDS = 0.2
"""The delay of the store for a photo: the job must last long enough to be killed in its middle, on any machine."""
BROKEN = {
    "broken/empty.jpg": b"",
    "broken/text.jpg": b"not a picture",
    "broken/cut.jpg": b"\xff\xd8\xff\xe0" + bytes(200),
    "broken/cut.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
}
TARGET = "s3://vectors/job"
SECRET = "a-secret-of-the-store"
PATIENCE = 240

pytestmark = pytest.mark.cluster


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server of this process, on loopback, that takes its time for photos."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = DomainDispatcherApplication(create_backend_app)

    def slow(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].startswith("/photos/"):
            time.sleep(READ_SECONDS)
        return store(environ, start_response)

    server = make_server("127.0.0.1", 0, slow, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield url
    server.shutdown()
    server.server_close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The development photos, or as many small made-up pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    data = Path(os.environ.get("LOOKALIKE_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    if (data / "photos").is_dir():
        for path in sorted((data / "photos").iterdir())[:COUNT]:
            (folder / path.name).symlink_to(path)
    else:
        for number in range(COUNT):
            picture(number).save(folder / f"{number:04}.jpg")
    (folder / "broken").mkdir()
    for key, data_ in BROKEN.items():
        (folder / key).write_bytes(data_)
    return folder


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and two more raylets, all on loopback."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    # Few cores, so that parts of the job come one after another; with one node less, two are what Ray Data needs.
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 200 << 20}
    # Ray would end all workers but one a core, and start one for each task: seconds for what takes none.
    keep = {"num_workers_soft_limit": 8, "idle_worker_killing_time_threshold_ms": 600_000}
    raylets = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "_system_config": keep})
    raylets.add_node(**node)
    raylets.add_node(**node)
    yield raylets
    raylets.shutdown()


def upload(folder: Path, url: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=url)
    for bucket in ("photos", "vectors"):
        client.create_bucket(Bucket=bucket)
    for path in folder.rglob("*"):
        if path.is_file():
            client.put_object(Bucket="photos", Key=path.relative_to(folder).as_posix(), Body=path.read_bytes())


def embedding(address: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "lookalike", "embed", "s3://photos", "--to", TARGET, "--cluster", address]
    options = ["--encoder", "thumbnail", "--workers", "2", "--batch", "16", "--json"]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def committed() -> int:
    try:
        images, skipped = records.counts(TARGET)
    except (SourceError, OSError, ValueError):
        return 0
    return images + sum(skipped.values())


def wait_for_more(job: "subprocess.Popen[str]", than: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and job.poll() is None:
        if committed() > than:
            return
        time.sleep(0.5)


def a_worker_of(raylets: set[int]) -> int:
    """A process that one of these started, and that encodes or decodes right now."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                name = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            # Agents of a raylet are named so too, and it ends with them.
            if parent in raylets and name.startswith(b"ray::") and b"MapBatches" in name:
                return int(folder.name)
        time.sleep(0.05)
    raise AssertionError("no worker is at work")


def raylet_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


TOKEN = "a-token-for-nobody"


def in_logs(words: str) -> list[str]:
    """The files that Ray has written of its last cluster, and that contain these words."""
    files = [path for path in Path("/tmp/ray/session_latest/").resolve().rglob("*") if path.is_file()]
    return [path.name for path in files if words.encode() in path.read_bytes()]


def test_whatever_is_killed_every_image_is_there_once(
    pictures: Path, store: str, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_MILVUS_TOKEN", TOKEN)
    upload(pictures, store)
    keys = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*") if path.is_file())

    job = embedding(cluster.address)
    wait_for_more(job, 0)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    after_driver = committed()
    assert 0 < after_driver < len(keys)

    job = embedding(cluster.address)
    wait_for_more(job, after_driver)
    workers = list(cluster.worker_nodes)
    os.kill(a_worker_of({raylet_of(node) for node in [cluster.head_node, *workers]}), signal.SIGKILL)
    wait_for_more(job, committed())
    cluster.remove_node(workers[0], allow_graceful=False)
    output, errors = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, errors
    assert " E " not in errors, "an error line of Ray's own"
    assert not in_logs(TOKEN)
    assert not in_logs(SECRET)
    summary = json.loads(output)
    assert summary["images"] == len(keys) - len(BROKEN)
    assert summary["added"] <= len(keys) - after_driver

    table = records.dataset(TARGET).to_table(columns=["key", "reason", "fingerprint"]).to_pydict()
    assert sorted(table["key"]) == keys
    assert sorted(key for key, reason in zip(table["key"], table["reason"], strict=True) if reason) == sorted(BROKEN)
    same_as_one_machine(pictures, tmp_path)


def same_as_one_machine(pictures: Path, tmp_path: Path) -> None:
    done = load(TARGET, tmp_path / "loaded")
    assert (done.added, done.skipped) == (len(list(open_source(pictures).entries())) - len(BROKEN), len(BROKEN))
    with Collection(tmp_path / "alone", "thumbnail", [pictures]) as alone, Collection(tmp_path / "loaded") as loaded:
        alone.index()
        assert sorted(alone.keys()) == sorted(loaded.keys())
        assert sorted(alone.skipped()) == sorted(loaded.skipped())
        for key in alone.keys()[::7]:
            expected, gallery = alone.gallery, loaded.gallery
            left, right = expected.row(key), gallery.row(key)
            assert left is not None
            assert right is not None
            np.testing.assert_array_equal(gallery.vectors(np.array([right])), expected.vectors(np.array([left])))
            assert gallery.item(right).sha256 == expected.item(left).sha256
