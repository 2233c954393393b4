"""Regions over HTTP: the option, the box of a result, and of the item that is explained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.images.decode import to_jpeg
from tests.service.running import Running, running, write_photos
from tests.support.pictures import PixelEncoder, picture

THING = picture(99, (64, 48))
BOX = [64, 48, 128, 96]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_photos(tmp_path_factory.mktemp("parts") / "photos")
    write_thing(folder / "thing.png", 50, (64, 48))
    with Collection(folder / ".lookalike", PixelEncoder(), [folder]) as collection:
        collection.index()
        collection.add_regions("grid")
    with running(folder, writable=True) as started:
        yield started


def write_thing(path: Path, seed: int, place: tuple[int, int]) -> None:
    whole = picture(seed, (128, 96))
    whole.paste(THING, place)
    whole.save(path)


def post(service: Running, **fields: str) -> list[dict[str, object]]:
    answer = service.client.post("/v1/search", files={"file": ("q.jpg", to_jpeg(THING, 95))}, data=fields)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, object]] = answer.json()["results"]
    return results


def test_a_result_has_the_box_of_its_part(parts: Running) -> None:
    results = post(parts, k="2")
    assert (results[0]["key"], results[0]["box"]) == ("thing.png", BOX)
    assert (results[0]["width"], results[0]["height"]) == (128, 96)
    assert len({result["key"] for result in results}) == 2


def test_the_option_is_a_field_of_the_form_and_of_the_body(parts: Running) -> None:
    assert [result["box"] for result in post(parts, k="3", regions="false")] == [None, None, None]
    id_ = parts.ids()["thing.png"]
    for regions in (None, True, False):
        answer = parts.search(query={"id": id_}, box=BOX, k=1, regions=regions).json()["results"][0]
        assert answer["box"] == (None if regions is False else BOX)
    assert parts.search(query={"id": id_}, regions="maybe").status_code == 422


def test_regions_that_are_not_there_are_a_refusal(tmp_path: Path) -> None:
    with running(write_photos(tmp_path / "photos", 2)) as service:
        id_ = next(iter(service.ids().values()))
        answer = service.search(query={"id": id_}, regions=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "no_regions")
        assert str(tmp_path) not in answer.text


def test_explain_has_the_box_of_the_best_part(parts: Running) -> None:
    id_ = parts.ids()["thing.png"]
    answer = parts.client.post("/v1/explain", files={"file": ("q.jpg", to_jpeg(THING, 95))}, data={"item": id_})
    assert answer.json()["box"] == BOX


def test_an_upload_gets_its_regions(parts: Running, tmp_path: Path) -> None:
    write_thing(tmp_path / "new.png", 51, (0, 0))
    answer = parts.client.post("/v1/items", files={"file": ("new.png", (tmp_path / "new.png").read_bytes())})
    assert answer.status_code == 200, answer.text
    assert [0, 0, 64, 48] in [result["box"] for result in post(parts, k="2")]
