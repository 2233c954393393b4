import pytest

from lookalike.errors import QueryError
from lookalike.integrations.milvus.expressions import translate


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        ("key = a.jpg", 'key == "a.jpg"'),
        ("key:beach/*", 'key like "beach/%"'),
        ("key in (a, b)", 'key in ["a", "b"]'),
        ("year >= 2019", '$meta["year"] >= 2019'),
        ("place = 'New York'", '$meta["place"] == "New York"'),
        ("year in (1, 2)", '$meta["year"] == 1 or $meta["year"] == 2'),
        ("not key = a.jpg", 'not (key == "a.jpg")'),
        ("key:beach/* and year >= 2019", '(key like "beach/%") and ($meta["year"] >= 2019)'),
        ("(year = 1 or year = 2) and key = a", '(($meta["year"] == 1) or ($meta["year"] == 2)) and (key == "a")'),
    ],
)
def test_a_filter_is_said_to_milvus(said: str, translated: str) -> None:
    assert translate(said) == translated


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        (r"""key = 'say "hi"'""", r'key == "say \"hi\""'),
        (r"key = 'back\\slash'", r'key == "back\\slash"'),
        ('key = "two\nlines"', r'key == "two\nlines"'),
        ("""place = '" or id >= 0 or key == "'""", r'$meta["place"] == "\" or id >= 0 or key == \""'),
        ("""'a"]' = 1""", r'$meta["a\"]"] == 1'),
        ("key:100%_done*", 'key like "100%"'),
    ],
)
def test_nothing_that_is_typed_leaves_its_quotation_marks(said: str, translated: str) -> None:
    assert translate(said) == translated


@pytest.mark.parametrize(
    "said",
    [
        "not year >= 2019",  # of a row without a year, the two may think differently
        "year != 3",
        "name:b*",
        "key:*.jpg",
        "year = 3 or name:b*",
        "id = 3",  # a column of that name, not the row's number
        "count = 9007199254740993",
        "not (key = a and year = 3)",
    ],
)
def test_what_milvus_might_see_differently_is_left_to_the_catalog(said: str) -> None:
    assert translate(said) == ""


def test_an_and_keeps_the_half_that_can_be_said() -> None:
    assert translate("key = a and year != 3") == 'key == "a"'


def test_what_is_no_filter_is_refused() -> None:
    with pytest.raises(QueryError):
        translate("key ==")
