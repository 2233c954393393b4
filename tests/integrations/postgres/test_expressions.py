import pytest

from lookalike.errors import QueryError
from lookalike.integrations.postgres.expressions import document, translate


@pytest.mark.parametrize(
    ("said", "sql", "values"),
    [
        ("key = a.jpg", "(key = ANY(%s))", (["a.jpg"],)),
        ("key:beach/*", "starts_with(key, %s)", ("beach/",)),
        ("year >= 2019", "= 'number' AND meta -> %s::text >= %s::jsonb", ("year", "year", "2019")),
        ("year in (1, x)", "meta -> %s::text = ANY(%s::jsonb[])", ("year", ["1", '"x"'])),
        ("place = 'a \"b\"'", "meta -> %s::text = %s::jsonb", ("place", '"a \\"b\\""')),
    ],
)  # fmt: skip
def test_a_filter_is_said_in_sql_with_what_was_typed_as_parameters(
    said: str, sql: str, values: tuple[object, ...]
) -> None:
    condition = translate(said)
    assert sql in condition.sql
    assert condition.values == values


@pytest.mark.parametrize("said", ["key:*.jpg", "not key:beach/*", "key < b", "name:b*", "year = 3 or name:b*"])
def test_what_postgresql_might_see_differently_is_left_to_the_catalog(said: str) -> None:
    assert translate(said).sql == ""


def test_an_and_keeps_the_half_that_can_be_said_and_is_not_negated() -> None:
    assert translate("key = a and name:b*").sql == "(key = ANY(%s))"
    assert translate("not (key = a and name:b*)").sql == ""


def test_what_is_typed_never_becomes_text_of_the_statement() -> None:
    hostile = "'); DROP TABLE x; --"
    condition = translate(f"""\"{hostile}\" = \"{hostile}\" """)
    assert hostile not in condition.sql
    assert "DROP" not in condition.sql
    assert any(hostile in str(value) for value in condition.values)


def test_the_columns_of_a_row_become_json_that_postgresql_takes() -> None:
    fields = {"year": 2019, "share": 0.1, "far": float("inf"), "text": "a\x00b", "none": None, "odd": float("nan")}
    assert document(fields) == '{"year": 2019, "share": 0.1, "far": 1e400, "text": "a\\\\x00b"}'


def test_what_is_no_filter_is_refused() -> None:
    with pytest.raises(QueryError):
        translate("key ==")
