import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from lookalike.service.edge import Edge
from lookalike.service.errors import ApiError
from lookalike.service.metrics import Metrics
from lookalike.service.models import FIELDS, BatchBody, EmbedBody, LoginBody, SearchBody
from lookalike.service.settings import Settings
from lookalike.service.tokens import COOKIE, session
from tests.service.running import Running, jpeg, running, write_photos

pytest_plugins = ["tests.service.service_fixtures"]

TOKEN = "a token of more than sixteen letters"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_photos(tmp_path_factory.mktemp("guarded") / "photos", 3)
    with running(folder, token=TOKEN, origins=("https://friend.example",)) as started:
        yield started


@pytest.fixture
def stranger(guarded: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url) as client:
        yield client


def shape(answer: httpx.Response) -> str:
    """The code of a refusal, which always has the same shape."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["message"]
    return str(error["code"])


def test_without_the_token_nothing_of_the_collection_is_told(guarded: Running, stranger: httpx.Client) -> None:
    id_ = guarded.ids()["01.jpg"]
    closed = [
        "/v1/collection",
        "/v1/items",
        f"/v1/items/{id_}/thumbnail",
        "/images/01.jpg",
        "/metrics",
        "/map/state",
        "/map/data?version=1",
        "/map/sheets/0?version=1",
        "/v1/collections",
        "/v1/facets",
        "/v1/duplicates",
        "/v1/duplicates/journal",
        "/v1/nothing",
    ]
    for path in closed:
        answer = stranger.get(path)
        assert (answer.status_code, shape(answer)) == (401, "unauthorized"), path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert stranger.post("/v1/search", files={"file": jpeg(1)}).status_code == 401
    for path in ("/", "/map", "/duplicates", "/docs", "/static/app.js", "/healthz", "/readyz", "/openapi.json"):
        assert stranger.get(path).status_code == 200, path


class Ready:
    """A service that accepts every request."""

    reason_not_ready: str | None = None
    reason_to_wait: ApiError | None = None
    is_draining = False


def test_a_request_too_many_at_once_is_refused_and_the_next_is_not() -> None:
    """By whatever server: uvicorn's protocol counts connections before."""

    async def statuses() -> tuple[list[int], str]:
        gate = asyncio.Event()

        async def waits(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await PlainTextResponse("done")(scope, receive, send)

        edge = Edge(waits, Settings(connections=2), Metrics(), Ready())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://127.0.0.1") as client:
            waiting = [asyncio.create_task(client.get("/v1/items")) for _ in range(2)]
            await asyncio.sleep(0)
            refused = await asyncio.wait_for(client.get("/healthz"), 10)
            gate.set()
            answers = [refused, *await asyncio.gather(*waiting), await client.get("/healthz")]
            return [answer.status_code for answer in answers], shape(refused)

    assert asyncio.run(statuses()) == ([503, 200, 200, 200], "overloaded")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"]
)
def test_a_wrong_token_is_refused(stranger: httpx.Client, authorization: str) -> None:
    headers = {"Authorization": authorization.encode("utf-8")}
    assert stranger.get("/v1/collection", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_login_gives_a_cookie_that_no_script_reads_and_no_other_site_sends(stranger: httpx.Client) -> None:
    assert stranger.post("/v1/login", json={"token": "guess"}).status_code == 401
    answer = stranger.post("/v1/login", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert stranger.get("/v1/collection").status_code == 200
    stranger.cookies.clear()
    stranger.cookies.set(COOKIE, session("another token"))
    assert stranger.get("/v1/collection").status_code == 401


def test_every_answer_carries_the_headers_that_browsers_obey(service: Running) -> None:
    for path in ("/", "/static/app.js", "/v1/collection", "/nothing", "/images/01.jpg", "/metrics"):
        headers = service.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_the_page_has_no_script_or_style_of_its_own_and_asks_nobody_else(service: Running) -> None:
    pages = [service.client.get(path).text for path in ("/", "/map", "/duplicates", "/docs")]
    for page in pages:
        assert not re.search(r"<style|style=|<script(?![^>]* src=)|\son\w+=", page)
        assert "<!--" not in page
    names = set(re.findall(r'"static/([^"]+)"', "".join(pages)))
    sources = {name: service.client.get(f"/static/{name}").text for name in names}
    while more := set(re.findall(r'from "./([\w.]+)"', "".join(sources.values()))) - set(sources):
        sources |= {name: service.client.get(f"/static/{name}").text for name in more}
    assert {"app.js", "viewer.js", "duplicates.js", "map-tab.js", "docs.js", "style.css"} <= set(sources)
    for text in [*pages, *sources.values()]:
        addresses = set(re.findall(r"https?://[\w.]+", text)) - {"http://www.w3.org"}
        assert not addresses


def test_pages_of_other_origins_may_call_it_only_if_they_were_named(guarded: Running) -> None:
    search = {"files": {"file": jpeg(1)}}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://["):
        answer = guarded.client.post("/v1/search", headers={"Origin": origin}, **search)  # type: ignore[arg-type]
        assert (answer.status_code, shape(answer)) == (400, "wrong_origin")
    own = guarded.client.post("/v1/search", headers={"Origin": guarded.url}, **search)  # type: ignore[arg-type]
    assert own.status_code == 200
    friend = guarded.client.post("/v1/search", headers={"Origin": "https://friend.example"}, **search)  # type: ignore[arg-type]
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    preflight = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}
    assert guarded.client.options("/v1/search", headers=preflight).status_code == 200


def test_a_page_of_a_named_origin_can_read_why_it_was_refused(guarded: Running, stranger: httpx.Client) -> None:
    friend = {"Origin": "https://friend.example"}
    for answer in (stranger.get("/v1/collection", headers=friend), guarded.client.get("/v1/nothing", headers=friend)):
        assert answer.status_code in (401, 404)
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in stranger.get("/v1/collection", headers={"Origin": "null"}).headers


def test_a_name_that_was_made_to_lead_here_is_refused(tmp_path: Path) -> None:
    with running(write_photos(tmp_path / "photos", 1), hosts=("127.0.0.1", "localhost", "[::1]")) as service:
        for host in ("evil.example", "127.0.0.1.evil.example:80", "", "127.0.0.2"):
            answer = service.client.get("/v1/collection", headers={"Host": host})
            assert answer.status_code == 400, host
        for host in ("localhost", "LOCALHOST:99", "[::1]:8000"):
            assert service.client.get("/v1/collection", headers={"Host": host}).status_code == 200, host


def test_nothing_can_be_changed_unless_it_was_allowed(service: Running) -> None:
    assert shape(service.client.post("/v1/items", files={"file": jpeg(50)})) == "read_only"
    assert shape(service.client.delete(f"/v1/items/{service.ids()['01.jpg']}")) == "read_only"


def test_urls_are_not_fetched_unless_it_was_allowed(service: Running) -> None:
    answer = service.search(query={"url": "http://example.org/a.jpg"})
    assert (answer.status_code, shape(answer)) == (422, "no_urls")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 422, "invalid"),
        (b'{"k": 3}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "k": 0}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "k": 1001}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "k": 1e99}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "rerank": ["spatial,top=500"]}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "rerank": ["k-reciprocal,top=2501"]}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "rerank": ["diffusion,top=9000"]}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "kk": 3}', 422, "invalid"),
        (b'{"query": {"vector": [NaN]}}', 422, "invalid"),
        (b'{"query": {"vector": [1e400]}}', 422, "invalid"),
        (b'{"query": {"vector": []}}', 422, "invalid"),
        (b'{"query": {"vector_f16": "AH4AfgB-"}}', 422, "query"),
        (b'{"query": {"vector_f16": "A"}}', 422, "invalid"),
        (b'{"query": {"id": "x"}, "box": [9, 9, 3, 3]}', 404, "not_found"),
        (b'{"text": "a red door"}', 422, "no_text"),
        (b"[" * 100_000, 400, "bad_json"),
        (b'{"query": {"id": "x"}, "rerank": ["none"]}', 422, "query"),
        (b'{"query": {"id": "MDEuanBn"}, "box": [900, 900, 950, 950]}', 422, "query"),
        (b'{"query": {"id": "MDEuanBn"}, "filter": {"prefix": ""}}', 422, "invalid"),
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_is_refused_for_its_reason(
    service: Running, body: bytes, status: int, code: str
) -> None:
    answer = service.client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, shape(answer)) == (status, code), answer.text


def full(start: str, part: str, count: int, end: str) -> str:
    """A JSON text with a list of `count` equal parts in it."""
    return start + ",".join([part] * count) + end


BAD_VECTOR = full('{"query":{"vector":[', '""', 8000, "]}}")
UNKNOWN = "{" + ",".join(f'"{number}":1' for number in range(50_000)) + "}"
SOME_UNKNOWN = "{" + ",".join(f'"{number}":1' for number in range(60)) + "}"


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (BatchBody, full('{"searches":[', BAD_VECTOR, 64, "]}")),
        (BatchBody, full('{"searches":[', full('{"query":[', SOME_UNKNOWN, 16, "]}"), 64, "]}")),
        (SearchBody, UNKNOWN),
        (SearchBody, f'{{"query":{UNKNOWN}}}'),
        (SearchBody, f'{{"text":"a","filter":{UNKNOWN}}}'),
        (SearchBody, full('{"text":"a","negatives":[', SOME_UNKNOWN, 16, "]}")),
        (EmbedBody, f'{{"query":{UNKNOWN}}}'),
        (LoginBody, UNKNOWN),
    ],
    ids=range(8),
)
def test_a_body_full_of_faults_is_left_at_the_first_ones(model: type[BaseModel], body: str) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(body)
    # Of each kind of query that it might have been, the fields of one object.
    assert refused.value.error_count() <= 4 * FIELDS


def test_a_login_is_short(service: Running) -> None:
    answer = service.client.post("/v1/login", json={"token": "\N{GRINNING FACE}" * 1024})
    assert answer.status_code == 204
    answer = service.client.post("/v1/login", json={"token": "x" * 20_000})
    assert (answer.status_code, shape(answer)) == (413, "too_large")
    assert "16,384 bytes" in answer.text


def test_other_content_types_methods_and_addresses_are_refused_alike(service: Running) -> None:
    plain = service.client.post("/v1/search", content=b"x", headers={"Content-Type": "text/plain"})
    assert (plain.status_code, shape(plain)) == (415, "content_type")
    wrong = service.client.put("/v1/search")
    assert (wrong.status_code, shape(wrong)) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]
    assert shape(service.client.get("/v1/nothing")) == "not_found"
    assert shape(service.client.get("/v1/items?count=many")) == "invalid"


def test_messages_name_no_path_of_the_server(service: Running) -> None:
    answers = [service.search(text="a door"), service.search(query={"id": "eA"}), service.search(query={"vector": [1]})]
    for answer in answers:
        assert str(service.folder) not in answer.text


def test_what_is_counted_can_be_scraped(service: Running) -> None:
    service.client.post("/v1/search", files={"file": jpeg(77)})
    service.client.get("/secret/path")
    text = service.client.get("/metrics").text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [0-9.e+-]+", line), line
    for stage in ("decode", "encode", "search"):
        assert f'lookalike_stage_seconds_count{{stage="{stage}"}}' in text
    assert 'lookalike_requests_total{method="POST",route="/v1/search",status="200"}' in text
    assert "lookalike_images 12" in text
    assert "secret" not in text


def test_a_stranger_cannot_make_up_series(service: Running) -> None:
    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in service.client.get("/metrics").text.splitlines()}

    service.client.request("MADEUP", "/made/up")
    service.client.get("/static/made-up.js")
    before = series()
    for number in range(10):
        service.client.request(f"MADE{number}", f"/made/up/{number}?a={number}")
        service.client.get(f"/static/{number}.js")
    assert series() == before
