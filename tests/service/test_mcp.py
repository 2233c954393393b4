"""`lookalike mcp` as an assistant meets it: the protocol's own client, and the command in a process of its own."""

import base64
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.service.ids import to_id
from lookalike.service.mcp.models import SearchInput
from lookalike.service.mcp.server import create_server
from lookalike.service.mcp.shelf import Shelf
from lookalike.service.mcp.uris import of_uri, to_uri
from lookalike.service.models import SearchBody
from lookalike.service.settings import Settings
from lookalike.types import Vectors
from tests.collection.test_facts import write
from tests.support import ROOT
from tests.support.assistant import Assistant, assistant
from tests.support.pictures import PixelEncoder, picture
from tests.support.sockets import WATCHING

TOOLS = ["collections", "duplicates", "explain", "facts", "search", "similar"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two indexed folders, photos and things; secrets lie beside them, and links to these in photos."""
    place = tmp_path_factory.mktemp("assistant")
    photos = write(place / "photos")
    picture(1).save(photos / "copy of b.jpg", quality=60)
    picture(90, (400, 300)).save(photos / "e again.png")
    (place / "things").mkdir()
    for number in range(3):
        picture(50 + number).save(place / "things" / f"{number}.png")
    for name in ("photos", "things"):
        with Collection(place / name / ".lookalike", "thumbnail", [place / name]) as collection:
            collection.index()
    (place / "secrets").mkdir()
    picture(70).save(place / "secrets" / "private.jpg")
    (photos / ".hidden").mkdir()
    picture(71).save(photos / ".hidden" / "x.jpg")
    picture(72).save(photos / "not indexed.jpg")
    (photos / "link.jpg").symlink_to(place / "secrets" / "private.jpg")
    (photos / "folder").symlink_to(place / "secrets")
    (photos / "circle.jpg").symlink_to("circle.jpg")
    (photos / "own.jpg").symlink_to("e.jpg")
    (photos / "text.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("no picture either")
    (place / "watching").mkdir()
    (place / "watching" / "sitecustomize.py").write_text(WATCHING)
    return place


@pytest.fixture(scope="module")
def helper(place: Path) -> Iterator[Assistant]:
    with assistant(place, place / "photos", watching=place / "watching") as started:
        yield started
    assert started.errors.read_text() == ""
    assert not (place / "sockets").exists(), (place / "sockets").read_text()


def pictures(result: Any) -> list[Image.Image]:
    contents = [content for content in result.content if content.type == "image"]
    return [Image.open(io.BytesIO(base64.b64decode(content.data))) for content in contents]


def test_it_has_six_tools_that_only_read(helper: Assistant) -> None:
    tools = helper.portal.call(helper.client.list_tools).tools
    assert sorted(tool.name for tool in tools) == TOOLS
    for tool in tools:
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.annotations
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)


def test_it_says_what_there_is(helper: Assistant, place: Path) -> None:
    (about,) = helper.answer("collections")["collections"]
    assert about["folders"] == [str(place / "photos")]
    assert (about["name"], about["images"], about["encoder"], about["reads_text"]) == ("photos", 7, "thumbnail", False)


def test_a_search_by_key_answers_as_the_service_does_with_a_picture_of_each(helper: Assistant) -> None:
    result = helper.ask("search", query={"key": "trips/paris/b.jpg"}, k=3)
    document = result.structured_content
    assert json.loads(result.content[0].text) == document
    first, second, _ = document["results"]
    assert set(first) == {
        *("rank", "id", "key", "score", "confidence", "box", "inliers", "width", "height", "thumbnail")
    }
    assert (first["rank"], first["key"], first["score"]) == (1, "trips/paris/b.jpg", 1)
    assert (first["id"], second["key"]) == (to_id("trips/paris/b.jpg"), "copy of b.jpg")
    assert [hit["thumbnail"] for hit in document["results"]] == [1, 2, 3]
    assert [shown.format for shown in pictures(result)] == ["JPEG"] * 3


def test_as_many_pictures_come_as_are_wanted(helper: Assistant) -> None:
    result = helper.ask("search", query={"key": "e.jpg"}, k=4, thumbnails=2)
    assert [hit["thumbnail"] for hit in result.structured_content["results"]] == [1, 2, None, None]
    assert len(pictures(result)) == 2
    assert not pictures(helper.ask("search", query={"key": "e.jpg"}, thumbnails=0))


def test_pictures_are_small(helper: Assistant) -> None:
    (shown,) = pictures(helper.ask("search", query={"key": "e again.png"}, k=1))
    assert shown.size == (224, 168)


@pytest.mark.parametrize(
    "path", ["e.jpg", "{photos}/e.jpg", "trips/paris/b.jpg", "own.jpg", "{photos}/not indexed.jpg"]
)
def test_a_file_in_an_indexed_folder_is_a_query(helper: Assistant, place: Path, path: str) -> None:
    keys = helper.keys("search", query={"path": path.format(photos=place / "photos")})
    expected = {"own.jpg": "e.jpg", "e.jpg": "e.jpg", "{photos}/e.jpg": "e.jpg", "trips/paris/b.jpg": path}
    assert keys[0] == expected.get(path, keys[0])
    assert len(keys) == 7


OUTSIDE = [
    "{place}/secrets/private.jpg", "{photos}/../secrets/private.jpg", "../secrets/private.jpg", "{photos}/link.jpg",
    "link.jpg", "folder/private.jpg", "{photos}/folder/private.jpg", "/etc/passwd", "/", "{photos}", "{place}/nothing",
    "trips/../../secrets/private.jpg", "e.jpg\x00", "\x00", "e\n.jpg", "{photos}/\x1b[2Je.jpg", "/proc/self/environ",
    "{photos}/..", "..", "//etc/passwd", "\u202ee.jpg", "/dev/stdin", "{place}/photos2/e.jpg",
]  # fmt: skip
MISSING = [
    "{photos}/.hidden/x.jpg", ".hidden/x.jpg", "{photos}/.lookalike/catalog.sqlite", "nothing.jpg", "circle.jpg",
    "notes.txt", "~/e.jpg", "trips", ".", "file:///etc/passwd", "https://example.org/a.jpg", "x" * 4096,
    "C:\\e.jpg", "%2e%2e/secrets/private.jpg",
]  # fmt: skip


@pytest.mark.parametrize(("paths", "code"), [(OUTSIDE, "outside"), (MISSING, "not_found")])
def test_nothing_outside_and_nothing_that_is_passed_over_is_read(
    helper: Assistant, place: Path, paths: Sequence[str], code: str
) -> None:
    for path in paths:
        filled = path.format(place=place, photos=place / "photos")
        for tool, arguments in [("search", {}), ("explain", {"item": {"key": "e.jpg"}})]:
            refusal = helper.refusal(tool, query={"path": filled}, **arguments)
            assert refusal["code"] == code, filled
            assert str(place) not in json.dumps(refusal), filled


def test_what_is_no_image_is_refused_without_a_word_of_it(helper: Assistant) -> None:
    refusal = helper.refusal("search", query={"path": "text.jpg"})
    assert refusal == {
        "code": "not_an_image",
        "message": "path: not an image",
        "hint": "send JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, JPEG 2000 or QOI",
    }


def test_options_are_those_of_every_other_door(helper: Assistant) -> None:
    assert set(SearchInput.model_fields) == {*SearchBody.model_fields, "collection", "thumbnails"}
    for name in set(SearchBody.model_fields) - {"query", "negatives"}:
        assert SearchInput.model_fields[name].default == SearchBody.model_fields[name].default
    by_time = helper.keys(
        "search", query={"key": "e.jpg"}, where='taken >= 2019-08 and camera = "apple*"', sort="taken"
    )
    assert by_time == ["trips/paris/c.jpg", "home/d.jpg"]
    several = [{"key": "e.jpg"}, {"path": "home/d.jpg"}, {"id": to_id("trips/a.jpg")}]
    assert len(helper.keys("search", query=several, negatives=[{"key": "trips/paris/c.jpg"}], k=2, offset=1)) == 2
    assert helper.keys("search", query={"key": "e.jpg"}, exclude=[to_id("e.jpg")], min_score=1) == []
    assert helper.keys("search", query={"key": "e.jpg"}, rerank=["alpha-qe,k=2"], exclude_self=True, k=1) != ["e.jpg"]


def test_similar_ones_are_others(helper: Assistant) -> None:
    assert helper.keys("similar", image={"key": "trips/paris/b.jpg"}, k=1) == ["copy of b.jpg"]
    assert helper.keys("similar", image={"id": to_id("e.jpg")}, where="key:home/*") == ["home/d.jpg"]
    assert helper.refusal("similar", image={"key": "nothing"})["message"] == "there is no image of the key 'nothing'"


def test_what_matches_is_drawn(helper: Assistant) -> None:
    result = helper.ask("explain", query={"key": "trips/paris/b.jpg"}, item={"key": "copy of b.jpg"})
    document = result.structured_content
    assert document["query"] == document["item"] == {"width": 64, "height": 48}
    assert {"text", "inliers", "overlap", "matches"} <= set(document)
    (drawn,) = pictures(result)
    assert drawn.width == 900
    plain = helper.ask("explain", query={"path": "e.jpg"}, item={"key": "e.jpg"}, picture=False, box=[0, 0, 30, 30])
    assert pictures(plain) == []


def test_copies_are_listed_and_stay_where_they_are(helper: Assistant) -> None:
    result = helper.ask("duplicates", level="near")
    (group,) = result.structured_content["groups"]
    assert [(member["key"], member["suggestion"]) for member in group["members"]] == [
        ("trips/paris/b.jpg", "keep"), ("copy of b.jpg", "extra"),
    ]  # fmt: skip
    assert (result.structured_content["total_groups"], result.structured_content["extras"]) == (1, 1)
    assert (group["thumbnail"], len(pictures(result))) == (1, 1)


def test_facts_are_told_but_not_the_place(helper: Assistant) -> None:
    facts = helper.answer("facts", image={"key": "trips/a.jpg"})["facts"]
    assert (facts["camera"], facts["taken"]) == ("NIKON D90", "2019-07-14T12:30:05")
    assert not {"latitude", "longitude"} & {*facts, *helper.answer("facts")}
    assert helper.answer("facts")["taken"] == ["2019-07-14T12:30:05", "2021-01-02T03:04:05"]
    near = "near(48.8584, 2.2945, 500m)"
    assert helper.refusal("search", query={"key": "e.jpg"}, where=near)["code"] == "no_places"
    assert helper.refusal("similar", image={"key": "e.jpg"}, where=near)["code"] == "no_places"


def test_images_are_resources(helper: Assistant) -> None:
    listed = helper.portal.call(helper.client.list_resources).resources
    assert [each.name for each in listed][:2] == ["copy of b.jpg", "e again.png"]
    assert listed[0].uri == "lookalike:///photos/copy%20of%20b.jpg"
    (read,) = helper.portal.call(helper.client.read_resource, listed[0].uri).contents
    assert isinstance(read, BlobResourceContents)
    assert read.mime_type == "image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(read.blob))).size == (64, 48)
    (template,) = helper.portal.call(helper.client.list_resource_templates).resource_templates
    assert template.uri_template == "lookalike:///{collection}/{+key}"


@pytest.mark.parametrize(
    "uri",
    [
        "lookalike:///photos/nothing.jpg", "lookalike:///photos/", "lookalike:///photos", "file:///etc/passwd", "x", "",
        "lookalike:///photos/../secrets/private.jpg", "lookalike:///photos/%00", "lookalike:///others/e.jpg",
        "lookalike:///photos/link.jpg", "lookalike:///%ff%fe/e.jpg", "lookalike:////etc/passwd",
    ],
)  # fmt: skip
def test_no_other_resource_is_there(helper: Assistant, uri: str) -> None:
    with pytest.raises(MCPError, match="there is no"):
        helper.portal.call(helper.client.read_resource, uri)


def test_addresses_hold_any_key() -> None:
    for key in ("a/b c.jpg", "100%.jpg", "a?b#c.jpg", "\udcff.jpg", "ä/\n.jpg", "a//b"):
        assert of_uri(to_uri("my photos/2", key)) == ("my photos/2", key)


def test_an_unknown_tool_is_an_error_of_the_protocol(helper: Assistant) -> None:
    with pytest.raises(MCPError, match="there is no tool 'delete'"):
        helper.ask("delete", key="e.jpg")


def test_several_collections_are_asked_by_name_and_tell_places_where_they_may(place: Path) -> None:
    with assistant(place, place / "photos", place / "things", "--show-places") as both:
        assert [each["name"] for each in both.answer("collections")["collections"]] == ["photos", "things"]
        assert both.refusal("similar", image={"key": "0.png"})["hint"] == "one of photos, things"
        assert both.refusal("similar", image={"key": "0.png"}, collection="x")["code"] == "not_found"
        assert len(both.keys("similar", image={"key": "0.png"}, collection="things")) == 2
        near = "near(48.8584, 2.2945, 500m)"
        assert both.keys("search", collection="photos", query={"key": "e.jpg"}, where=near) == ["trips/a.jpg"]
        facts = both.answer("facts", collection="photos", image={"key": "trips/a.jpg"})["facts"]
        assert facts["latitude"] == 48.8584
        assert both.answer("facts", collection="photos")["longitude"] == [2.2875, 151.2153]
        # A folder counts for its own collection only.
        outside = both.refusal("search", collection="things", query={"path": str(place / "photos" / "e.jpg")})
        assert outside["code"] == "outside"
        page = both.portal.call(both.client.list_resources)
        assert (len(page.resources), page.next_cursor) == (7, "1:0")

        async def following() -> Any:
            return await both.client.list_resources(cursor=page.next_cursor)

        last = both.portal.call(following)
        assert (last.resources[0].uri, last.next_cursor) == ("lookalike:///things/0.png", None)


class Reading(PixelEncoder):
    """Also reads: a text is the picture of a seed."""

    name = "reading"

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return self.encode([picture(int(text)) for text in texts])


def test_words_are_searched_where_the_encoder_reads(tmp_path: Path, helper: Assistant) -> None:
    assert helper.refusal("search", text="1")["code"] == "no_text"
    for number in range(3):
        (tmp_path / "album").mkdir(exist_ok=True)
        picture(number).save(tmp_path / "album" / f"{number}.png")
    with Collection(tmp_path / "album" / ".lookalike", Reading(), [tmp_path / "album"]) as collection:
        collection.index()
        shelf = Shelf([collection], Settings())

        async def found() -> Any:
            async with Client(create_server(shelf, "1")) as client:
                return await client.call_tool("search", {"text": "2", "k": 1})

        result = anyio.run(found)
        shelf.close()
    assert [hit["key"] for hit in result.structured_content["results"]] == ["2.png"]


def wild(random_: random.Random, place: Path) -> Any:
    """Some value: of any type, and any length up to a few kilobytes."""
    paths = [path.format(place=place, photos=place / "photos") for path in (*OUTSIDE, *MISSING)]
    texts = [
        "",
        "e.jpg",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "ä" * 3000,
        "' or 1=1 --",
        "%s%n",
        "key:*",
        "near(1,2,3)",
        *paths,
    ]
    plain = [None, True, False, 0, -1, 3, 2**63, -(2**70), 1e308, 0.5, random_.choice(texts), random_.choice(texts)]
    kind = random_.randrange(6)
    if kind == 0:
        return [random_.choice(plain) for _ in range(random_.choice([0, 1, 4, 40]))]
    if kind == 1:
        return {random_.choice(["key", "path", "id", "url", "vector", "\x00"]): random_.choice(plain)}
    if kind == 2:
        return [
            {random_.choice(["key", "path", "id"]): random_.choice(texts)} for _ in range(random_.choice([1, 2, 17]))
        ]
    return random_.choice(plain)


def test_no_call_whatever_it_holds_breaks_it(helper: Assistant, place: Path) -> None:
    random_ = random.Random(7)
    tools = {
        tool.name: list(tool.input_schema["properties"]) for tool in helper.portal.call(helper.client.list_tools).tools
    }
    needed = {"search": "query", "similar": "image", "explain": "query"}
    outcomes = {True: 0, False: 0}
    for number in range(400):
        name = TOOLS[number % len(TOOLS)]
        names = [*tools[name], "nothing"]
        arguments = {random_.choice(names): wild(random_, place) for _ in range(random_.randrange(4))}
        if number % 2 and name in needed:
            arguments[needed[name]] = {"key": "e.jpg"}
            arguments.pop("nothing", None)
        result = helper.ask(name, **{key: value for key, value in arguments.items() if key != "level"})
        outcomes[result.is_error] += 1
        text = result.content[0].text
        assert "Traceback" not in text, (name, arguments)
        assert text.isprintable(), (name, arguments)
        if result.is_error:
            assert set(result.structured_content["error"]) == {"code", "message", "hint"}
    assert min(outcomes.values()) > 40, outcomes
    assert helper.keys("search", query={"key": "e.jpg"}, k=1) == ["e.jpg"]


def command(*words: Path, **streams: Any) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "lookalike", "mcp", *map(str, words)]
    return subprocess.Popen(program, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, **streams)


def test_lines_that_are_no_messages_do_not_end_it(place: Path) -> None:
    lines = [
        b"\xff\xfe", b"{", b"[]", b"null", b'"x"', b"{}", b"[" * 100_000, b'{"jsonrpc": "2.0"}', b"\x00" * 100,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 3}}',
        b'{"jsonrpc": "2.0", "id": 2, "method": "ping"}',
    ]  # fmt: skip
    with command(place / "photos", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in lines]
        process.stdin.close()
        assert (process.wait(), process.stderr.read()) == (0, b"")
    assert {"jsonrpc": "2.0", "id": 2, "result": {}} in answers
    assert [answer["error"]["code"] for answer in answers if answer["id"] is None] == [
        -32700, -32700, -32600, -32600, -32600, -32600, -32700, -32600, -32700
    ]  # fmt: skip


def test_ctrl_c_ends_it_while_it_waits(place: Path) -> None:
    with command(place / "photos", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # stdin is still open.
        assert process.wait(timeout=60) == 130


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {str(path): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}" for path in files}


def test_nothing_is_written(helper: Assistant, place: Path) -> None:
    before = contents(place / "photos")
    helper.answer("search", query={"path": "e.jpg"}, rerank=["spatial,top=2"], verify=True)
    helper.answer("duplicates", level="similar")
    helper.answer("explain", query={"key": "e.jpg"}, item={"key": "home/d.jpg"})
    helper.answer("facts")
    assert contents(place / "photos") == before


def test_a_folder_that_was_never_indexed_is_refused_at_once(tmp_path: Path) -> None:
    with command(tmp_path, stdin=subprocess.DEVNULL) as process:
        assert process.wait() == 1
        assert process.stderr
        error = f"lookalike: error: {tmp_path} has not been indexed; run `lookalike index {tmp_path}`\n"
        assert process.stderr.read().decode() == error


def test_a_line_that_is_no_message_is_answered_with_an_error_of_json_rpc(place: Path) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    ask = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    server = subprocess.Popen(
        [sys.executable, "-m", "lookalike", "mcp", str(place / "photos")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        server.stdin.write(f'hello\n\n{{"no": "message"}}\n{ask}\n')
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(3)]
        server.stdin.close()
    assert [(answer["id"], answer.get("error", {}).get("code")) for answer in answers] == [
        (None, -32700), (None, -32600), (1, None)
    ]  # fmt: skip
    assert answers[0]["error"]["message"] == "the line is not JSON; send one object a line"
