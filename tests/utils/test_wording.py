"""Wrong values are refused in plain words: the thing, the value, the way out."""

import pytest
from pydantic import ValidationError

from lookalike.service.errors import of_validation
from lookalike.service.models import SearchBody


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "k: 0 cannot be used; give 1 or more"),
        ({"k": 1001}, "k: 1001 cannot be used; give 1000 or less"),
        ({"k": "many"}, "k: 'many' cannot be used; give a whole number"),
        ({"k": None}, "k: null cannot be used; give a whole number"),
        ({"kk": 3}, "kk: there is no such field; leave it out"),
        ({"fuse": "foo"}, "fuse: 'foo' cannot be used; give 'rank' or 'scores'"),
        ({"rerank": "spatial"}, "rerank: 'spatial' cannot be used; give a list"),
        ({"box": [1, 2]}, "box: a list of 2 cannot be used; give at least 4 of them"),
        ({"found": "perhaps"}, "found: 'perhaps' cannot be used; give true or false"),
        ({"text": "x" * 5000}, f"text: '{'x' * 40}...' cannot be used; give a length of at most 2,000"),
        ({"query": 5}, "query: 5 cannot be used; give an object"),
        ({"query": {"id": 3}}, "query.id: 3 cannot be used; give text"),
        ({"query": {"vector": ["a"]}}, "query.vector.0: 'a' cannot be used; give a number"),
        ({"query": {}}, "query.id: missing; it must be given"),
    ],
)
def test_a_refused_body_names_the_field_the_value_and_what_to_give(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SearchBody.model_validate({"query": {"id": "x"}, **values})
    assert of_validation(refused.value.errors()).message == message
