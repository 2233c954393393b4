from collections.abc import Callable
from typing import Any

import pytest

from lookalike.errors import QueryError
from lookalike.search.rerank import RERANKERS, parse
from lookalike.search.rerank.expansion import AlphaQE
from lookalike.search.rerank.graph import Diffusion, KReciprocal
from lookalike.search.rerank.patches import Patches
from lookalike.search.rerank.spatial import Spatial


@pytest.mark.parametrize("name", RERANKERS)
def test_every_name_of_the_table_is_a_method_with_its_defaults(name: str) -> None:
    method = parse(name)
    assert callable(method)
    default: Callable[[], Any] = type(method)
    assert method == default()


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        ("alpha-qe,k=5", AlphaQE(k=5)),
        ("alpha-qe, k = 5 , alpha = 2.5", AlphaQE(k=5, alpha=2.5)),
        ("diffusion,alpha=0.9,top=50", Diffusion(alpha=0.9, top=50)),
        ("k-reciprocal,original=0", KReciprocal(original=0.0)),
        ("spatial,upright=no,model=affine", Spatial(upright=False, model="affine")),
        ("spatial,upright=true", Spatial(upright=True)),
        ("patches,how=chamfer", Patches(how="chamfer")),
    ],
)
def test_parameters_are_read_as_what_they_are(spec: str, method: object) -> None:
    assert parse(spec) == method


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("magic", "'magic' is no re-ranking method; there are average-qe, alpha-qe"),
        ("", "'' is no re-ranking method"),
        ("alpha-qe,n=5", "'n=5' is none of its parameters; write alpha-qe,k=10,alpha=3"),
        ("alpha-qe,k", "'k' is none of its parameters"),
        ("alpha-qe,k=5,k=6", "'k=6' is none of its parameters"),
        ("alpha-qe,k=many", "k is a whole number, not 'many'"),
        ("alpha-qe,k=1.5", "k is a whole number, not '1.5'"),
        ("alpha-qe,alpha=x", "alpha is a number, not 'x'"),
        ("spatial,upright=maybe", "upright is yes or no, not 'maybe'"),
        ("spatial,model=sphere", "model = sphere; there are homography, affine"),
        ("patches,encoder=x", "'encoder=x' is none of its parameters; write patches,top=100,how=mutual"),
        ("alpha-qe,alpha=nan", "alpha = nan is not between"),
        ("alpha-qe,k=0", "k = 0 is not between 1 and 10000"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_what_can(spec: str, words: str) -> None:
    with pytest.raises(QueryError, match=words.replace("(", r"\(")) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)
