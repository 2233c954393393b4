"""Runs and qrels there and back, and the figures of a run against pytrec_eval and revisitop's own script, ported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Truth
from lookalike.evaluation.report import Report
from lookalike.evaluation.run import evaluate
from lookalike.evaluation.trec import TrecFiles, decreasing, escaped, evaluate_run, read_qrels, read_run, unescaped
from tests.evaluation.angles import AngleEncoder, paint, vgg

TEN = {f"a{degrees}": float(degrees) for degrees in range(0, 100, 10)}
WHOLE = "0 0 32 24"


def write(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def tied_case(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """Five queries over 60 images whose scores are tenths, so most tie; 8 positives (2 or 1) and 10 junk."""
    random = np.random.default_rng(seed)
    run, qrels, junk = [], [], []
    for query in range(5):
        for image in range(60):
            run.append(f"q{query} Q0 i{image} 0 {random.integers(0, 10) / 10} someone")
        chosen = random.permutation(60)
        qrels += [f"q{query} 0 i{image} {1 + at % 2}" for at, image in enumerate(chosen[:8])]
        qrels += [f"q{query} 0 i{image} 0" for image in chosen[30:35]]
        junk += [f"q{query} 0 i{image} 1" for image in chosen[8:18]]
    random.shuffle(run)
    files = {"run": run, "qrels": qrels, "junk": junk}
    first, second, third = (write(folder / name, lines) for name, lines in files.items())
    return first, second, third


def raw_run(file: Path) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for line in file.read_text().splitlines():
        query, _, image, _, score, _ = line.split()
        table.setdefault(query, {})[image] = float(score)
    return table


@pytest.mark.parametrize("seed", range(8))
def test_figures_without_junk_equal_pytrec_eval_with_ties(tmp_path: Path, seed: int) -> None:
    run, qrels, _ = tied_case(tmp_path, seed)
    binary = {query: {image: min(value, 1) for image, value in of.items()} for query, of in read_qrels(qrels).items()}
    measures = {"map", "P.5,10,20", "recall.5,10,20", "success.5,10,20", "ndcg_cut.5,10,20"}
    theirs = pytrec_eval.RelevanceEvaluator(binary, measures).evaluate(raw_run(run))
    step = evaluate_run(run, qrels, protocol="landmarks", k=[5, 10, 20])
    names = {"precision": "P", "recall": "recall", "hit_rate": "success", "ndcg": "ndcg_cut"}
    for query in step.queries:
        ours = query.setups["all"]
        assert ours.ap == pytest.approx(theirs[query.name]["map"], abs=1e-9)
        for name, measure in names.items():
            for k in (5, 10, 20):
                assert ours.at[name][k] == pytest.approx(theirs[query.name][f"{measure}_{k}"], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_junk_counts_as_wrong_in_pytrec_eval_and_not_here(tmp_path: Path, seed: int) -> None:
    """Where qrels alone are read, junk is wrong; with junk taken out of the run by hand the figures agree again."""
    run, qrels, junk = tied_case(tmp_path, seed)
    ignored = read_qrels(junk)
    results = raw_run(run)
    cleaned = {query: {i: s for i, s in of.items() if i not in ignored[query]} for query, of in results.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(read_qrels(qrels), {"map"})
    with_junk, without = evaluator.evaluate(results), evaluator.evaluate(cleaned)
    ours = evaluate_run(run, qrels, junk, "landmarks", [5])
    for query in ours.queries:
        assert query.setups["all"].ap == pytest.approx(without[query.name]["map"], abs=1e-9)
        assert query.setups["all"].ap > with_junk[query.name]["map"]


def compute_ap(ranks: np.ndarray[tuple[int], np.dtype[np.int64]], count: int) -> float:
    """As in revisitop's evaluate.py."""
    ap, step = 0.0, 1.0 / count
    for hits, rank in enumerate(ranks):
        before = 1.0 if rank == 0 else hits / rank
        ap += (before + (hits + 1) / (rank + 1)) * step / 2
    return ap


def compute_map(ranked: list[list[str]], truths: list[tuple[set[str], set[str]]], ks: list[int]) -> list[list[float]]:
    """revisitop's compute_map for each query, [AP, mP@k, …], with names in place of indices."""
    rows = []
    for names, (ok, junk) in zip(ranked, truths, strict=True):
        position = np.array([at for at, name in enumerate(names) if name in ok])
        ignored = np.array([at for at, name in enumerate(names) if name in junk])
        ij = k = 0
        if len(ignored):
            for ip in range(len(position)):
                while ij < len(ignored) and position[ip] > ignored[ij]:
                    k, ij = k + 1, ij + 1
                position[ip] -= k
        ap = compute_ap(position, len(ok))
        position += 1
        precisions = [(position <= kq).sum() / kq for kq in (min(max(position), cut) for cut in ks)]
        rows.append([ap, *precisions])
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_figures_with_junk_and_setups_equal_revisitops_own_script_with_ties(tmp_path: Path, seed: int) -> None:
    run, qrels, junk = tied_case(tmp_path, seed)
    report = evaluate_run(run, qrels, junk, "revisited", [1, 5, 10])
    judged, ignored, ks = read_qrels(qrels), read_qrels(junk), [1, 5, 10]
    # Ties go by falling name, as in trec_eval.
    ranked = {
        query: [image for image, _ in sorted(of.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)]
        for query, of in raw_run(run).items()
    }
    for setup in ("easy", "medium", "hard"):
        truths = []
        for query in judged:
            easy, hard = ({i for i, value in judged[query].items() if value == label} for label in (2, 1))
            aside = set(ignored[query])
            ok, out = {"easy": (easy, aside | hard), "medium": (easy | hard, aside), "hard": (hard, aside | easy)}[
                setup
            ]
            truths.append((ok, out))
        rows = compute_map([ranked[query] for query in judged], truths, ks)
        means = np.mean(rows, axis=0)
        figures = report.setups[setup]
        assert figures.map == pytest.approx(means[0], abs=1e-9)
        for at, k in enumerate(ks, 1):
            assert figures.at["revisited_precision"][k] == pytest.approx(means[at], abs=1e-9)


def both_ways(root: Path, tmp_path: Path, protocol: str, benchmark_protocol: str) -> tuple[Report, Report]:
    benchmark = load("vgg", root)
    if benchmark_protocol == "revisited":
        easy, hard, junk = frozenset({"a0.png"}), frozenset({"a20.png", "a60.png"}), frozenset({"a10.png"})
        truths = {
            "easy": Truth(easy, junk | hard),
            "medium": Truth(easy | hard, junk),
            "hard": Truth(hard, junk | easy),
        }
        queries = tuple(replace(query, truths=truths) for query in benchmark.queries)
        benchmark = replace(benchmark, queries=queries, protocol="revisited")
    files = TrecFiles(tmp_path / "run", tmp_path / "qrels", tmp_path / "junk")
    more = tmp_path / "more photos"
    paint(more / "100% a.png", 20)
    benchmark = replace(benchmark, distractors=(more,))
    here = evaluate(benchmark, None, AngleEncoder(), protocol, [3, 5], cache=tmp_path / "cache", files=files)
    return here, evaluate_run(tmp_path / "run", tmp_path / "qrels", tmp_path / "junk", protocol, [3, 5])


@pytest.mark.parametrize("protocol", ["original", "landmarks", "revisited"])
def test_a_run_that_was_written_gives_the_same_figures(tmp_path: Path, protocol: str) -> None:
    queries = {"q 1": (f"a0 {WHOLE}", "a0;a20;a60", "a10"), "q%202": (f"a50 {WHOLE}", "a40;a50", "a60;a0")}
    root = vgg(tmp_path / "set", TEN, queries)
    here, there = both_ways(root, tmp_path, protocol, "revisited" if protocol == "revisited" else "original")
    assert there.setups == here.setups
    figures = [(query.name, query.setups) for query in here.queries]
    assert [(query.name, query.setups) for query in there.queries] == figures
    names = [[result.key for result in query.results] for query in here.queries]
    assert [[result.key for result in query.results] for query in there.queries] == names
    assert any("more photos/100% a.png" in of for of in names)
    assert there.heading().startswith(
        "run judged by qrels · protocol " + protocol + " · angles · 2 queries · 11 images"
    )
    run = read_run(tmp_path / "run")
    assert set(run.images) == {"q 1", "q%202"}
    for line in (tmp_path / "run").read_text().splitlines():
        query, _, image, rank, score, _ = line.split()
        at = int(rank) - 1
        assert run.images[unescaped(query)][at] == unescaped(image)
        assert run.scores[unescaped(query)][at] == float(score) == np.float32(score)


def test_pytrec_eval_gives_our_figures_for_a_run_that_we_wrote_though_images_tie(tmp_path: Path) -> None:
    """Four images of one colour tie; by name, a9 would come first, and by row it comes last."""
    root = vgg(tmp_path / "set", {"a0": 0, "a1": 0, "a2": 0, "a9": 0, "b": 50}, {"q": (f"a0 {WHOLE}", "a9;b", "")})
    files = TrecFiles(tmp_path / "run", tmp_path / "qrels")
    report = evaluate("vgg", root, AngleEncoder(), "landmarks", [3], cache=tmp_path / "cache", files=files)
    assert report.queries[0].setups["all"].ranks == (4, 5)
    evaluator = pytrec_eval.RelevanceEvaluator(read_qrels(tmp_path / "qrels"), {"map"})
    assert evaluator.evaluate(raw_run(tmp_path / "run"))["q"]["map"] == pytest.approx((1 / 4 + 2 / 5) / 2, abs=1e-9)


def test_scores_fall_by_the_least_that_float32_can_tell() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    given = np.array([0.5, 0.5, 0.7, 0.25, 0, 0, -0.5, -0.5], np.float32)
    lowered = decreasing(given)
    assert (np.diff(lowered) < 0).all()
    assert lowered[:2].tolist() == [0.5, below]
    assert lowered[2] == np.nextafter(below, np.float32(0))
    assert (lowered[3], lowered[6]) == (0.25, -0.5)
    assert decreasing(lowered).tolist() == lowered.tolist()
    with pytest.raises(EvaluationError, match="not finite"):
        decreasing(np.array([np.inf], np.float32))


@pytest.mark.parametrize(
    "name", ["a b", "a%20b", "100%", "tab\there", "nul\x00", "caf\udce9", "é", "\u2003", "plain.jpg"]
)
def test_a_name_comes_back_as_it_was_and_is_one_word_in_between(name: str) -> None:
    assert unescaped(escaped(name)) == name
    assert escaped(name).encode().decode().split() == [escaped(name)]


def test_what_a_run_lacks_is_never_found_and_a_k_beyond_it_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", ["q Q0 a 1 .9 x", "q Q0 b 2 .8 x", "other Q0 a 1 .5 x"])
    qrels = write(tmp_path / "qrels", ["q 0 b 1", "q 0 lost 1", "q 0 a 0"])
    report = evaluate_run(run, qrels, k=[2])
    # b is the second of two, and the other positive is not there: ((0 + 1/2) / 2) / 2.
    assert report.map == pytest.approx(1 / 8)
    assert "queries without judgements, left out: other" in report.notes
    assert "positives that the run does not list, counted as never found: lost" in report.notes
    with pytest.raises(EvaluationError, match="query q: k = 3 goes beyond the 2 results"):
        evaluate_run(run, qrels, k=[3])


@pytest.mark.parametrize(
    ("run", "qrels", "reason"),
    [
        ("q Q0 a 1 .9", "q 0 a 1", "run line 1: expected query Q0 image rank score tag"),
        ("q Q0 a 1 much x", "q 0 a 1", "run line 1: 'much' is no score"),
        ("q Q0 a 1 nan x", "q 0 a 1", "run line 1: 'nan' is no score"),
        ("q Q0 a 1 .9 x\nq Q0 a 2 .8 x", "q 0 a 1", "run line 2: 'a' is found twice for 'q'"),
        ("", "q 0 a 1", "run: no results"),
        ("q Q0 a 1 .9 x", "q 0 a yes", "qrels line 1: relevance 'yes' is no whole number"),
        ("q Q0 a 1 .9 x", "q 0 a 1\nq 0 a 2", "qrels line 2: 'a' is judged twice for 'q', and differently"),
        ("q Q0 a 1 .9 x", "q 0 a 1\np 0 a 1", "1 query of .*qrels is not in .*run: p"),
        ("q Q0 a 1 .9 x", "", "qrels: no judgements"),
        ("q Q0 a 1 .9 x", "q 0 a 3", "protocol revisited reads relevance 2 as easy and 1 as hard only"),
    ],
)
def test_files_that_do_not_hold_together_are_refused_in_one_line(
    tmp_path: Path, run: str, qrels: str, reason: str
) -> None:
    with pytest.raises(EvaluationError, match=reason) as refused:
        evaluate_run(write(tmp_path / "run", [run]), write(tmp_path / "qrels", [qrels]), protocol="revisited")
    assert len(str(refused.value).splitlines()) == 1


def test_what_is_right_and_junk_at_once_is_refused_and_so_is_the_reports_protocol(tmp_path: Path) -> None:
    run, qrels = write(tmp_path / "run", ["q Q0 a 1 .9 x"]), write(tmp_path / "qrels", ["q 0 a 1"])
    with pytest.raises(EvaluationError, match="q: both positive and junk: a"):
        evaluate_run(run, qrels, qrels)
    with pytest.raises(EvaluationError, match="a run is not scored by protocol 'report'"):
        evaluate_run(run, qrels, protocol="report")
    with pytest.raises(EvaluationError, match="does not go with --run"):
        evaluate(
            "vgg",
            vgg(tmp_path / "set", TEN, {"q": (f"a0 {WHOLE}", "a0", "")}),
            AngleEncoder(),
            "report",
            files=TrecFiles(tmp_path / "no"),
        )


def test_two_queries_of_one_name_make_no_run_and_leave_no_file(tmp_path: Path) -> None:
    benchmark = load("vgg", vgg(tmp_path / "set", TEN, {"q": (f"a0 {WHOLE}", "a0", "")}))
    twice = replace(benchmark, queries=benchmark.queries * 2)
    with pytest.raises(EvaluationError, match="two queries are called 'q'"):
        evaluate(twice, None, AngleEncoder(), k=[1], cache=tmp_path / "cache", files=TrecFiles(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
