"""Several collections in one service, with pictures of the same pixels in all of them, and a client for it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
from serving import wait_ready

from lookalike.collection.collection import Collection
from lookalike.service import server
from lookalike.service.settings import Settings
from lookalike.service.several import create_several
from tests.support.pictures import picture

TOKEN = "a token of more than sixteen letters"


@dataclass
class Service:
    """Several collections that are served, and a client that has their token."""

    url: str
    client: httpx.Client
    folders: list[Path]

    def search(self, path: str = "/all", **body: Any) -> httpx.Response:
        return self.client.post(f"{path}/v1/search", json=body)


def write(folder: Path, seeds: Sequence[int]) -> Path:
    (folder / "in").mkdir(parents=True)
    for number, seed in enumerate(seeds):
        picture(seed, (96, 64)).save(folder / ("in" if number % 2 else "") / f"{number:02}.png")
    return folder


@contextmanager
def serving(folders: list[Path], encoders: Sequence[Any] = (), **options: Any) -> Iterator[Service]:
    """Index the folders, and serve them until the block ends."""
    pairs = zip_longest(folders, encoders)
    collections = [Collection(folder / ".lookalike", encoder or "thumbnail", [folder]) for folder, encoder in pairs]
    for collection in collections:
        collection.index()
    listening = server.listen("127.0.0.1", 0)
    started = server.Server(create_several(collections, Settings(token=TOKEN, **options)), 0)
    thread = threading.Thread(target=started.run, kwargs={"sockets": [listening]})
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    top = url + options.get("root_path", "")
    try:
        with httpx.Client(base_url=top, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            for folder in ("", "/all"):
                wait_ready(top + folder)
            yield Service(top, client, folders)
    finally:
        started.should_exit = True
        thread.join(timeout=60)
        for collection in collections:
            collection.close()
        listening.close()


def three(place: Path) -> list[Path]:
    """Three folders, of which some pictures are in all."""
    seeds = {"trips": (1, 2, 3, 4, 5, 6, 7, 8), "home": (3, 9, 10, 4, 11, 3), "Old Things": (12, 3, 4, 13)}
    return [write(place / name, each) for name, each in seeds.items()]
