import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.service.errors import ApiError
from lookalike.service.ids import to_id, to_key
from lookalike.service.queries import from_half, half
from tests.service.running import Running, jpeg, running, write_photos
from tests.support.pictures import PixelEncoder, picture

pytest_plugins = ["tests.service.service_fixtures"]


def test_a_file_finds_itself_first_and_the_library_says_the_same(service: Running) -> None:
    file = service.folder / "01.jpg"
    answer = service.client.post("/v1/search", files={"file": file.read_bytes()}, data={"k": "5"}).json()
    assert (answer["encoder"], answer["k"], answer["offset"]) == ("pixels", 5, 0)
    first = answer["results"][0]
    assert (first["rank"], first["key"], first["score"]) == (1, "01.jpg", 1.0)
    assert (first["width"], first["height"]) == (96, 64)
    with Collection(service.folder / ".lookalike", PixelEncoder()) as collection:
        expected = collection.search(file, 5)
    assert [result["key"] for result in answer["results"]] == [hit.key for hit in expected]
    assert [result["score"] for result in answer["results"]] == pytest.approx([hit.score for hit in expected], abs=1e-6)


def test_an_id_a_vector_and_a_half_vector_ask_the_same(service: Running) -> None:
    id_ = service.ids()["trip/03.png"]
    by_id = service.search(query={"id": id_}, exclude_self=True).json()["results"]
    embedded = service.client.post("/v1/embed", json={"query": {"id": id_}}).json()
    assert embedded["id"] == id_
    assert embedded["dim"] == len(embedded["vector"]) == 192
    by_vector = service.search(query={"vector": embedded["vector"]}, k=11).json()["results"]
    by_half = service.search(query={"vector_f16": embedded["vector_f16"]}, k=11).json()["results"]
    keys = [result["key"] for result in by_id]
    assert "trip/03.png" not in keys
    assert by_vector[0]["key"] == by_half[0]["key"] == "trip/03.png"
    assert [result["key"] for result in by_vector][1:] == [result["key"] for result in by_half][1:] == keys


def test_a_box_of_a_file_and_of_an_item_are_the_same_region(service: Running) -> None:
    box = [10, 5, 60, 50]
    by_id = service.search(query={"id": service.ids()["01.jpg"]}, box=box).json()["results"]
    file = (service.folder / "01.jpg").read_bytes()
    by_file = service.client.post("/v1/search", files={"file": file}, data={"box": "10,5,60,50"}).json()["results"]
    assert by_file == by_id
    assert by_id[0]["score"] < 1


def test_several_images_and_negatives_are_combined_as_in_the_library(service: Running) -> None:
    ids = service.ids()
    body = {"query": [{"id": ids["01.jpg"]}, {"id": ids["02.jpg"]}], "negatives": [{"id": ids["04.jpg"]}]}
    results = service.search(**body, k=12).json()["results"]
    with Collection(service.folder / ".lookalike", PixelEncoder()) as collection:
        expected = collection.search(
            [service.folder / "01.jpg", service.folder / "02.jpg"], 12, negatives=service.folder / "04.jpg"
        )
    assert [result["key"] for result in results] == [hit.key for hit in expected]
    files = [("file", (service.folder / name).read_bytes()) for name in ("01.jpg", "02.jpg")]
    files.append(("negative", (service.folder / "04.jpg").read_bytes()))
    as_form = service.client.post("/v1/search", files=files, data={"k": "12"}).json()["results"]
    assert as_form == results


def test_results_can_be_read_page_by_page_and_cut_off_by_score(service: Running) -> None:
    query = {"id": service.ids()["01.jpg"]}
    whole = service.search(query=query, k=12).json()["results"]
    pages = [service.search(query=query, k=4, offset=at).json()["results"] for at in (0, 4, 8)]
    assert [result for page in pages for result in page] == whole
    least = whole[5]["score"]
    assert len(service.search(query=query, k=12, min_score=least - 1e-6).json()["results"]) == 6


def test_results_can_be_reranked(service: Running) -> None:
    query = {"id": service.ids()["01.jpg"]}
    results = service.search(query=query, k=5, rerank=["alpha-qe,k=3"]).json()["results"]
    assert results[0]["key"] == "01.jpg"
    assert len(results) == 5


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_photos(tmp_path_factory.mktemp("shallow") / "photos", 3)
    with running(folder, depth=500, reranked=20, compared=30) as started:
        yield started


@pytest.mark.parametrize(
    ("allowed", "refused", "told"),
    [
        ({"k": 10, "offset": 490}, {"k": 10, "offset": 491}, "offset: offset + k may be 500 at most"),
        ({"rerank": ["alpha-qe,k=500"]}, {"rerank": ["alpha-qe,k=501"]}, "rerank: k may be 500 at most"),
        ({"rerank": ["spatial,top=20"]}, {"rerank": ["spatial,top=21"]}, "rerank: top may be 20 at most"),
        ({"rerank": ["k-reciprocal,top=30"]}, {"rerank": ["k-reciprocal,top=31"]}, "rerank: top may be 30 at most"),
        ({"rerank": ["diffusion,top=30"]}, {"rerank": ["diffusion,top=31"]}, "rerank: top may be 30 at most"),
    ],
)
def test_no_request_may_do_the_work_of_thousands(
    shallow: Running, allowed: dict[str, Any], refused: dict[str, Any], told: str
) -> None:
    query = {"id": shallow.ids()["01.jpg"]}
    assert shallow.search(query=query, **allowed).status_code == 200
    answer = shallow.search(query=query, **refused)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, told)


@pytest.mark.parametrize(
    ("methods", "total"),
    [(["spatial,top=10", "spatial,top=11"], 21), (["k-reciprocal,top=20", "diffusion,top=11"], 31)],
)
def test_methods_one_after_the_other_look_at_no_more_than_one_may(
    shallow: Running, methods: list[str], total: int
) -> None:
    answer = shallow.search(query={"id": shallow.ids()["01.jpg"]}, rerank=methods)
    assert answer.status_code == 422
    assert f"would look at {total} candidates; a request may have" in answer.json()["error"]["message"]


def test_the_searches_of_a_batch_share_what_a_request_may_do(shallow: Running) -> None:
    def batch(*methods: list[str]) -> httpx.Response:
        query = {"id": shallow.ids()["01.jpg"]}
        searches = [{"query": query, "rerank": specs} for specs in methods]
        return shallow.client.post("/v1/search/batch", json={"searches": searches})

    assert batch(["spatial,top=10"], ["spatial,top=10"], ["alpha-qe,k=400"], ["alpha-qe,k=400"]).status_code == 200
    refused = batch(["spatial,top=10"], ["spatial,top=10"], ["spatial,top=1"])
    assert (refused.status_code, refused.json()["error"]["hint"]) == (
        422,
        "set top=, as in spatial,top=50, or send fewer searches",
    )
    # One that no search can have is still refused alone.
    assert "error" in batch(["spatial,top=10"], ["no such method"]).json()["answers"][1]


@pytest.mark.parametrize("box", [[10, 10, 10, 20], [10, 20, 30, 20], [30, 10, 10, 20]])
def test_a_box_without_an_area_is_refused_as_such(service: Running, box: list[int]) -> None:
    answer = service.search(query={"id": service.ids()["01.jpg"]}, box=box)
    told = "box: left, top, right, bottom, with right > left and bottom > top"
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, told)


@pytest.mark.parametrize("spelling", ["fn5+YQ", "fn5-YR", "fn5-YQ==", "fn5-YQ=", " fn5-YQ", "fn5-YQ\n"])
def test_an_item_has_one_id(spelling: str) -> None:
    """What decodes to the same bytes is another: an address would have many names in caches and logs."""
    assert (to_id("~~~a"), to_key("fn5-YQ")) == ("fn5-YQ", "~~~a")
    with pytest.raises(ApiError) as refused:
        to_key(spelling)
    assert refused.value.status == 404


def test_a_batch_answers_each_search_or_says_why_not(service: Running) -> None:
    ids = service.ids()
    searches = [{"query": {"id": ids["01.jpg"]}, "k": 2}, {"query": {"id": "bm9uZQ"}}, {"query": {"vector": [1, 2]}}]
    answers = service.client.post("/v1/search/batch", json={"searches": searches}).json()["answers"]
    assert answers[0]["results"][0]["key"] == "01.jpg"
    assert answers[1]["error"]["code"] == "not_found"
    assert "2 numbers" in answers[2]["error"]["message"]


def test_what_matches_is_explained_in_pixels_of_both(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    scene = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    scene.save(folder / "scene.jpg", quality=95)
    scene.crop((100, 80, 500, 400)).save(folder / "part.jpg", quality=95)
    with running(folder) as service:
        ids = service.ids()
        pair = {"query": ids["part.jpg"], "item": ids["scene.jpg"]}
        answer = service.client.get("/v1/explain", params=pair).json()
        assert answer["inliers"] > 50
        assert (answer["query"], answer["item"]) == ({"width": 400, "height": 320}, {"width": 640, "height": 480})
        shifts = np.array([np.subtract(match["b"], match["a"]) for match in answer["matches"]])
        assert np.abs(np.median(shifts, axis=0) - (100, 80)).max() < 1
        # The same from a region of the larger picture, in pixels of the whole.
        files, data = {"file": (folder / "scene.jpg").read_bytes()}, {"item": ids["part.jpg"], "box": "90,70,520,420"}
        turned = service.client.post("/v1/explain", files=files, data=data).json()
        shifts = np.array([np.subtract(match["a"], match["b"]) for match in turned["matches"]])
        assert np.abs(np.median(shifts, axis=0) - (100, 80)).max() < 1
        corner = np.array(turned["matrix"]) @ (100, 80, 1)
        assert np.abs(corner[:2] / corner[2]).max() < 3


def test_the_routes_of_the_report_still_answer(service: Running) -> None:
    file = (service.folder / "01.jpg").read_bytes()
    results = service.client.post("/search?k=3", files={"file": file}).json()["results"]
    assert results[0] == {"image_path": "01.jpg", "distance": 0.0}
    assert results[1]["distance"] > 0
    picture = service.client.get(f"/images/{service.client.get('/v1/items?count=1').json()['items'][0]['key']}")
    assert picture.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "trip/..%2f01.jpg", ""]
)
def test_no_path_of_a_request_is_a_path_of_the_disk(service: Running, path: str) -> None:
    for address in (f"/images/{path}", f"/v1/items/{path}/image", f"/static/{path}"):
        assert service.client.get(address).status_code in (404, 405), address
    assert service.client.get(f"/v1/items/{to_id('/etc/hostname')}/image").status_code == 404
    assert service.search(query={"id": to_id("/etc/hostname")}).status_code == 404


def test_a_key_that_is_also_a_file_of_the_server_is_taken_as_a_key(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(99).save(tmp_path / "01.jpg")
    monkeypatch.chdir(tmp_path)
    results = service.search(query={"id": service.ids()["01.jpg"]}, k=1).json()["results"]
    assert (results[0]["key"], results[0]["score"]) == ("01.jpg", 1.0)


def test_pictures_are_served_small_upright_and_without_their_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)
    picture(1, (120, 80)).save(folder / "gps.jpg", exif=exif, comment=b"SECRET COMMENT")
    assert b"SECRET" in (folder / "gps.jpg").read_bytes()
    with running(folder) as service:
        item = service.client.get("/v1/items").json()["items"][0]
        assert (item["width"], item["height"]) == (80, 120)
        for address, size in (("image", (80, 120)), ("thumbnail?size=60", (40, 60))):
            answer = service.client.get(f"/v1/items/{item['id']}/{address}")
            served = Image.open(io.BytesIO(answer.content))
            assert served.size == size
            assert not served.getexif()
            assert b"SECRET" not in answer.content
            unchanged = {"If-None-Match": answer.headers["etag"]}
            assert service.client.get(f"/v1/items/{item['id']}/{address}", headers=unchanged).status_code == 304


def test_names_of_any_bytes_have_ids_and_are_shown_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = ["caf\udce9 \udcff.jpg", "new\nline.jpg", "100% #?&.jpg", "日本 é.jpg", "-rf.jpg"]
    for number, name in enumerate(names):
        picture(number).save(folder / name, "JPEG")
    with running(folder) as service:
        items = service.client.get("/v1/items").json()["items"]
        assert sorted(to_key(item["id"]) for item in items) == sorted(names)
        for item in items:
            assert service.client.get(f"/v1/items/{item['id']}/thumbnail").status_code == 200
            assert service.search(query={"id": item["id"]}, k=1).json()["results"][0]["id"] == item["id"]


def test_ids_that_nobody_made_are_not_found(service: Running) -> None:
    for id_ in ("x", "YQ==", "YR", "a b", "%00", "é", to_id("nothing.jpg"), "A" * 4000):
        assert service.client.get(f"/v1/items/{id_}").status_code == 404, id_


def test_half_vectors_survive_the_address() -> None:
    row = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    assert np.abs(from_half(half(row)) - row).max() < 2e-3


def test_queries_that_wait_together_are_encoded_together(tmp_path: Path) -> None:
    encoder, sizes, gate = PixelEncoder(), [], threading.Event()
    plain = encoder.encode_batch
    with running(write_photos(tmp_path / "photos"), encoder) as service:

        def slow(arrays: object) -> object:
            sizes.append(len(arrays))  # type: ignore[arg-type]
            gate.wait(20)
            return plain(arrays)  # type: ignore[arg-type]

        batcher = service.batcher
        batcher._encode = slow  # type: ignore[assignment]
        keys: dict[int, str] = {}

        def ask(number: int) -> None:
            answer = service.client.post("/v1/search", files={"file": jpeg(number, (97, 65))}, data={"k": "1"}).json()
            keys[number] = answer["results"][0]["key"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(500):
            if sum(sizes) + batcher._queue.qsize() == 8:
                break
            time.sleep(0.02)
        gate.set()
        for thread in threads:
            thread.join()
        # What came before the encoder was busy was taken at once; all that waited then made one batch.
        assert len(sizes) == 2
        assert sum(sizes) == 8
        assert keys == {
            number: f"trip/{number:02}.png" if number % 3 == 0 else f"{number:02}.jpg" for number in range(8)
        }
        assert "lookalike_batch_size_sum 8" in service.client.get("/metrics").text


NAMES = [
    "2019/a.jpg",
    "2019/b.jpg",
    "20190.jpg",
    "a*b/1.jpg",
    "axb/2.jpg",
    "[2019]/3.jpg",
    '"q" \\/4.jpg',
    "what?/5.jpg",
]


@pytest.fixture(scope="module")
def sorted_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sorted") / "photos"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)
    with running(folder) as started:
        yield started


@pytest.mark.parametrize(
    "prefix", ["2019/", "2019", "a*", "[2019]/", '"q" \\/', '"q" \\', "what?", "2", "none", "?", "*"]
)
def test_a_filter_keeps_to_keys_that_begin_so_whatever_its_letters_mean_elsewhere(
    sorted_away: Running, prefix: str
) -> None:
    query = {"id": to_id("2019/a.jpg")}
    results = sorted_away.search(query=query, k=20, filter={"prefix": prefix}).json()["results"]
    assert sorted(result["key"] for result in results) == sorted(name for name in NAMES if name.startswith(prefix))
    fields = {"k": "20", "prefix": prefix, "id": to_id("2019/a.jpg")}
    form = {name: (None, value.encode()) for name, value in fields.items()}
    assert sorted_away.client.post("/v1/search", files=form).json()["results"] == results


def test_what_re_ranks_here_can_be_asked_for_by_its_name(service: Running) -> None:
    methods = service.client.get("/v1/collection").json()["rerankers"]
    assert [method["name"] for method in methods if method["compares_pictures"]] == ["spatial", "region"]
    for method in methods:
        answer = service.search(query={"id": service.ids()["01.jpg"]}, k=3, rerank=[method["name"]])
        assert len(answer.json()["results"]) == 3, method


def test_a_picture_that_is_too_long_for_jpeg_is_shown_as_long_as_it_can_be(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 1)
    picture(1, (66_000, 8)).save(folder / "long.png")
    with running(folder) as service:
        for path in (f"/v1/items/{service.ids()['long.png']}/image", "/images/long.png"):
            answer = service.client.get(path)
            assert answer.status_code == 200, answer.text
            with Image.open(io.BytesIO(answer.content)) as image:
                assert image.size == (65_500, 8)
