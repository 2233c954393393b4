"""The options of a search over HTTP, in JSON and in a form: each does what it does in Python, within its limits."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lookalike.collection import reader
from lookalike.collection.collection import Collection
from lookalike.errors import LookalikeError
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.service.ids import to_id
from lookalike.types import Box, Hit
from tests.collection.test_sets import ColourEncoder
from tests.service.running import Running, running, write_photos
from tests.support.pictures import PixelEncoder

QUERY = "01.jpg"
KEYS = {f"trip/{number:02}.png" if number % 3 == 0 else f"{number:02}.jpg": 2000 + number for number in range(12)}
"""Key to year."""


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Twelve pictures with a year each, and a second vector set, of an encoder that reads text."""
    folder = write_photos(tmp_path_factory.mktemp("dated") / "photos")
    table = folder.parent / "years.csv"
    table.write_text("key,year\n" + "".join(f"{key},{year}\n" for key, year in KEYS.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "load_encoder", lambda name: ColourEncoder())
        patch.setattr(reader, "reads_text", lambda name: name == "colours")
        with Collection(folder / ".lookalike", PixelEncoder(), [folder]) as collection:
            collection.index(meta=[table])
            collection.add_set(ColourEncoder())
        with running(folder) as service:
            yield service


def as_json(service: Running, **options: Any) -> httpx.Response:
    if "exclude" in options:
        options["exclude"] = [to_id(key) for key in options["exclude"]]
    return service.search(query={"id": to_id(QUERY)}, **options)


def as_form(service: Running, **options: Any) -> httpx.Response:
    """The same in a form, where what can be repeated is, and other lists are written by commas."""
    fields: list[tuple[str, str]] = [("id", to_id(QUERY))]
    for name, value in options.items():
        if name == "exclude":
            fields += [(name, to_id(key)) for key in value]
        elif name == "rerank":
            fields += [(name, method) for method in value]
        else:
            fields.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return sent(service, fields)


def sent(service: Running, fields: list[tuple[str, str]]) -> httpx.Response:
    return service.client.post("/v1/search", files=[(name, (None, value.encode())) for name, value in fields])


def in_python(service: Running, **options: Any) -> list[Hit]:
    with Collection(service.folder / ".lookalike", PixelEncoder()) as collection:
        return collection.search(QUERY, **options)


ASKED: dict[str, dict[str, Any]] = {
    "a filter of keys": {"where": "key:trip/*"},
    "a filter of columns": {"where": "year >= 2004 and not key:*.png"},
    "a filter with commas": {"where": "year in (2001, 2005, 2009)"},
    "some left out": {"exclude": ["08.jpg", "trip/06.png"]},
    "the query left out": {"exclude": [QUERY]},
    "some left out of an expansion": {"exclude": ["08.jpg", "trip/06.png"], "rerank": ["alpha-qe,k=3,alpha=0"]},
    "exact": {"recall": 1.0},
    "nearly exact": {"recall": 0.9},
    "words by rank": {"text": "red", "fuse": "rank"},
    "words by score": {"text": "red", "fuse": "scores"},
    "unwanted words": {"negative_text": "red", "fuse": "scores"},
    "methods in their order": {"rerank": ["alpha-qe,k=2,alpha=0", "spatial,top=4"]},
    "a region": {"box": [10, 5, 60, 50]},
    "mirrored and turned": {"invariant": ["flip", "rotate"]},
    "all at once": {
        "where": "year < 2011", "exclude": ["08.jpg"], "recall": 1.0, "text": "blue", "fuse": "scores",
        "offset": 1, "exclude_self": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", ASKED.values(), ids=ASKED)
def test_what_is_asked_over_http_finds_what_the_library_finds(dated: Running, options: dict[str, Any]) -> None:
    options = {"k": 12, **options}
    hits = in_python(dated, **options | ({"box": Box(*options["box"])} if "box" in options else {}))
    assert hits
    for answer in (as_json(dated, **options), as_form(dated, **options)):
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [result["key"] for result in results] == [hit.key for hit in hits]
        assert [result["score"] for result in results] == pytest.approx([hit.score for hit in hits], abs=1e-6)


def test_these_options_change_what_is_found(dated: Running) -> None:
    """Without which the test above would say nothing; what is exact here already finds no more with `recall`."""
    keys = {
        name: tuple(hit.key for hit in in_python(dated, k=12, **ASKED[name]))
        for name in ASKED
        if "box" not in ASKED[name]
    }
    plain = tuple(hit.key for hit in in_python(dated, k=12))
    assert {name for name, ranking in keys.items() if ranking == plain} == {"exact", "nearly exact"}
    assert keys["words by rank"] != keys["words by score"]


class Spy:
    """Keeps what a service asks of the library, and lets it answer."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        find = Collection.find

        def spied(collection: Collection, query: Query, options: SearchOptions) -> list[Hit]:
            self.query, self.options = query, options
            return find(collection, query, options)

        patch.setattr(Collection, "find", spied)


def test_every_option_arrives_as_it_was_sent(dated: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    options = {
        "k": 3, "offset": 2, "min_score": 0.01, "exclude_self": True, "where": "year > 1999", "recall": 0.75,
        "fuse": "scores", "rerank": ["alpha-qe,k=2", "average-qe"], "exclude": ["08.jpg", "05.jpg"],
        "text": "blue", "negative_text": "red", "combine": "mean", "invariant": ["flip", "rotate"],
        "box": [10.0, 5.0, 60.0, 50.0],
    }  # fmt: skip
    for ask in (as_json, as_form):
        assert ask(dated, **options).status_code == 200
        assert spy.options == SearchOptions(
            k=3, offset=2, min_score=0.01, exclude_self=True, where="year > 1999", recall=0.75, fuse="scores",
            rerank=("alpha-qe,k=2", "average-qe"), exclude=frozenset({"08.jpg", "05.jpg"}),
        )  # fmt: skip
        assert (spy.query.text, spy.query.negative_text, spy.query.combine) == ("blue", "red", "mean")
        assert (spy.query.invariant, spy.query.box) == (("flip", "rotate"), Box(10, 5, 60, 50))


def test_what_is_not_sent_is_the_default_of_the_library(dated: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    for ask in (as_json, as_form):
        assert ask(dated).status_code == 200
        assert spy.options == SearchOptions()
        assert spy.query == Query(examples=spy.query.examples)


def test_weights_stand_in_one_field_of_a_form_by_commas(dated: Running) -> None:
    ids = [to_id("01.jpg"), to_id("02.jpg")]
    with Collection(dated.folder / ".lookalike", PixelEncoder()) as collection:
        hits = collection.search(["01.jpg", "02.jpg"], 12, weights=[3, 0.5])
    form = sent(dated, [("id", ids[0]), ("id", ids[1]), ("weights", "3, 0.5"), ("k", "12")])
    body = dated.search(query=[{"id": id_} for id_ in ids], weights=[3, 0.5], k=12)
    assert form.json()["results"] == body.json()["results"]
    assert [result["key"] for result in form.json()["results"]] == [hit.key for hit in hits]
    assert [result["score"] for result in form.json()["results"]] == pytest.approx(
        [hit.score for hit in hits], abs=1e-6
    )


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert error["message"].isprintable(), "one line"
    return answer.status_code, error["code"], error["message"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("year >=", "filter 'year >=': a value is wanted at its end"),
        ("yaer = 2001", "yaer: no such column; there are: key, year"),
        ("key", "filter 'key': one of"),
        ("(year = 2001", "')' is wanted"),
        ("year = 2001 or", "a column is wanted"),
        ("((((((((((((((((((((((((((((((((((((((((((((((((((((", "more than 50 brackets"),
        ('"a\nb" = 1', "no such column"),
        ('"a\x1b[2J\u202eb" = 1', "no such column"),
    ],
)
def test_a_bad_filter_is_refused_in_one_line_with_the_reason(dated: Running, where: str, message: str) -> None:
    for ask in (as_json, as_form):
        status, code, text = refusal(ask(dated, where=where))
        assert (status, code) == (422, "query")
        assert message in text
    good = {"query": {"id": to_id(QUERY)}}
    answers = dated.client.post("/v1/search/batch", json={"searches": [good | {"where": where}, good]}).json()[
        "answers"
    ]
    assert message in answers[0]["error"]["message"]
    assert answers[1]["results"][0]["key"] == QUERY


def test_the_old_filter_and_the_new_one_hold_together(dated: Running) -> None:
    where = "key:*.jpg or year >= 2004"
    both = {key for key, year in KEYS.items() if key.startswith("trip/") and (key.endswith(".jpg") or year >= 2004)}
    assert both == {"trip/06.png", "trip/09.png"}
    body = as_json(dated, k=12, where=where, filter={"prefix": "trip/"}).json()["results"]
    form = as_form(dated, k=12, where=where, prefix="trip/").json()["results"]
    assert {result["key"] for result in body} == both
    assert form == body


def test_an_id_of_no_image_has_nothing_to_leave_out(dated: Running) -> None:
    """Nothing is searched of it anyhow: an image that somebody took out meanwhile does not end a search."""
    plain = as_json(dated, k=12).json()["results"]
    for ask in (as_json, as_form):
        assert ask(dated, k=12, exclude=["no such key", "trip/", "*"]).json()["results"] == plain


@pytest.mark.parametrize("id_", ["?", "01.jpg", "YR", "é", "a\nb"])
def test_what_cannot_be_an_id_is_not_found_as_everywhere(dated: Running, id_: str) -> None:
    """It is a mistake of the caller, who would else believe that the image had been left out."""
    for answer in (
        dated.search(query={"id": to_id(QUERY)}, exclude=[to_id("02.jpg"), id_]),
        sent(dated, [("id", to_id(QUERY)), ("exclude", to_id("02.jpg")), ("exclude", id_)]),
    ):
        assert refusal(answer) == (404, "not_found", f"there is no item {id_!a}")


def filter_of(length: int) -> str:
    return "key:" + "*" * (length - 4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"where": ""}, "where"),
        ({"where": filter_of(1025)}, "where"),
        ({"recall": 0}, "recall"),
        ({"recall": 1.01}, "recall"),
        ({"recall": "all"}, "recall"),
        ({"fuse": "sum"}, "fuse"),
        ({"exclude": [""]}, "exclude.0"),
        ({"exclude": ["a" * 6145]}, "exclude.0"),
        ({"rerank": ["average-qe"] * 5}, "rerank"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_name(dated: Running, options: dict[str, Any], field: str) -> None:
    for ask in (as_json, as_form):
        status, code, message = refusal(ask(dated, **options))
        assert (status, code) == (422, "invalid")
        assert message.startswith(f"{field}: ")


def test_what_is_just_within_a_limit_is_answered(dated: Running) -> None:
    for ask in (as_json, as_form):
        for options in ({"where": filter_of(1024)}, {"recall": 1}, {"recall": 0.01}, {"exclude": ["a" * 6144]}):
            answer = ask(dated, k=12, **options)
            assert (answer.status_code, len(answer.json()["results"])) == (200, 12), options


def test_sixty_four_images_may_be_left_out_and_a_form_has_sixty_four_fields_in_all(dated: Running) -> None:
    keys = [QUERY, *(f"gone {number}" for number in range(64))]
    assert len(as_json(dated, k=12, exclude=keys[:64]).json()["results"]) == 11
    assert refusal(as_json(dated, k=12, exclude=keys))[:2] == (422, "invalid")
    assert len(as_form(dated, k=12, exclude=keys[:62]).json()["results"]) == 11
    assert refusal(as_form(dated, k=12, exclude=keys[:63]))[:2] == (413, "too_large")


def test_a_filter_that_grows_too_long_beside_a_prefix_is_refused(dated: Running) -> None:
    """Each letter of the prefix may need three in the filter that is made of it."""
    body = as_json(dated, filter={"prefix": "[" * 1024}, where=filter_of(1024))
    assert refusal(body)[:2] == (422, "query")
    with pytest.raises(LookalikeError, match="at most 4,096 are read"):
        in_python(dated, where=filter_of(4097))
