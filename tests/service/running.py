"""A service on loopback in a thread of the tests; as the command in a process of its own it is `serving.command`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from serving import wait_ready

from lookalike.collection.collection import Collection
from lookalike.images.decode import to_jpeg
from lookalike.service import server
from lookalike.service.alone import Alone
from lookalike.service.app import create_app
from lookalike.service.batching import Batcher
from lookalike.service.served import Served
from lookalike.service.settings import Settings
from lookalike.types import Encoder
from tests.support.pictures import PixelEncoder, picture


@dataclass
class Running:
    """A service and a client for it."""

    url: str
    client: httpx.Client
    served: Served
    folder: Path

    @property
    def batcher(self) -> Batcher:
        """What puts the images of several requests into one batch."""
        subject = self.served.subject
        assert isinstance(subject, Alone)
        assert subject.batcher
        return subject.batcher

    def ids(self) -> dict[str, str]:
        """Keys to ids."""
        return {item["key"]: item["id"] for item in self.client.get("/v1/items?count=200").json()["items"]}

    def search(self, **body: Any) -> httpx.Response:
        return self.client.post("/v1/search", json=body)


def write_photos(folder: Path, count: int = 12) -> Path:
    """Pictures of coarse blocks, each different, some in a folder of their own."""
    (folder / "trip").mkdir(parents=True)
    for number in range(count):
        name = f"trip/{number:02}.png" if number % 3 == 0 else f"{number:02}.jpg"
        picture(number, (96, 64)).save(folder / name)
    return folder


@contextmanager
def running(folder: Path, encoder: Encoder | None = None, **options: Any) -> Iterator[Running]:
    """Index the folder and serve it until the block ends."""
    collection = Collection(folder / ".lookalike", encoder or PixelEncoder(), [folder])
    if not collection.exists:
        collection.index()
    listening = server.listen("127.0.0.1", 0)
    app = create_app(collection, Settings(**options))
    started = server.Server(app, 0)
    thread = threading.Thread(target=started.run, kwargs={"sockets": [listening]})
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    headers = {"Authorization": f"Bearer {options['token']}"} if options.get("token") else {}
    try:
        with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            wait_ready(url)
            yield Running(url, client, app.state.served, folder)
    finally:
        started.should_exit = True
        thread.join(timeout=60)
        collection.close()
        listening.close()


def jpeg(seed: int, size: tuple[int, int] = (96, 64)) -> bytes:
    return to_jpeg(picture(seed, size))
