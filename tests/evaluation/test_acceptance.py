"""A verdict is given on a run that others have made too, and on no other."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lookalike.evaluation.page import report_page
from lookalike.evaluation.report import Cost, Figures, GalleryFacts, Report


def report(dataset: str, maps: Mapping[str, float]) -> Report:
    setups = {setup: Figures(value, {}, 70) for setup, value in maps.items()}
    setups = {setup: replace(figures, at={name: {1: 1.0} for name in AT}) for setup, figures in setups.items()}
    cost = Cost(0, 0, 0, 3072)
    # 20 files of Paris are no images as published, and are skipped in every run.
    facts = GalleryFacts(4993, 0) if dataset == "roxford5k" else GalleryFacts(6322, 0, (("a.jpg", "no image"),) * 20)
    return Report(dataset, "revisited", "dinov2-base", "f", True, (), (1,), facts, setups, (), cost)


AT = ("revisited_precision", "map", "precision", "recall", "hit_rate", "ndcg")
PAPER = {"easy": 0.875, "medium": 0.729, "hard": 0.495}


def test_the_papers_figures_are_inside_their_band() -> None:
    oxford = report("roxford5k", PAPER)
    assert "medium 72.90, inside 72.5–73.7; hard 49.50, inside 49–52; as in the paper" in oxford.text()
    assert oxford.to_json()["checks"] == [
        {"setup": "medium", "map": pytest.approx(72.9), "band": {"low": 72.5, "high": 73.7}, "verdict": "inside"},
        {"setup": "hard", "map": pytest.approx(49.5), "band": {"low": 49, "high": 52}, "verdict": "inside"},
    ]
    paris = report("rparis6k", {"easy": 0.953, "medium": 0.906, "hard": 0.793})
    assert [check.inside for check in paris.checks] == [True, True]


def test_another_figure_is_outside_and_the_line_says_where_to_look() -> None:
    other = report("roxford5k", PAPER | {"medium": 0.69, "hard": 0.437})
    for text in (other.text(), other.markdown(), report_page(other)):
        assert "medium 69.00, OUTSIDE 72.5–73.7; hard 43.70, OUTSIDE 49–52; others measure another figure" in text
    assert [check.inside for check in report("roxford5k", PAPER | {"hard": 0.5201}).checks] == [True, False]


@pytest.mark.parametrize(
    "other",
    [
        {"encoder": "dinov2-base@squash-448"},
        {"encoder": "dinov2-base@precision=int8"},
        {"encoder": "dinov2-small"},
        {"uncropped": False},
        {"rerank": ("alpha-qe",)},
        {"gallery": GalleryFacts(5993, 1000)},
        {"gallery": GalleryFacts(4992, 0, (("a.jpg", "empty file"),))},
        {"dataset": "revisited"},
    ],
    ids=str,
)
def test_a_run_that_others_have_not_made_has_no_verdict(other: dict[str, object]) -> None:
    changed = replace(report("roxford5k", PAPER), **other)  # type: ignore[arg-type]
    assert changed.checks == ()
    assert changed.to_json()["checks"] == []
    assert "check of" not in changed.text() + changed.markdown()
