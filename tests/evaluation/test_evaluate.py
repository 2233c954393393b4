"""From images on disk through a collection and its search to figures that can be checked by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection import collection as collections
from lookalike.encoders import default
from lookalike.errors import EvaluationError, QueryError
from lookalike.evaluation.answers import QueryVectors
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Truth
from lookalike.evaluation.datasets.synthetic import render
from lookalike.evaluation.run import evaluate
from lookalike.types import Box, Gallery, Probe, Ranking
from tests.evaluation.angles import AngleEncoder, paint, vgg
from tests.support.pictures import PixelEncoder, picture

# Seen from a0 the order is a0, a10, a20, …: an image's name is its rank, times ten, less ten.
TEN = {f"a{degrees}": float(degrees) for degrees in range(0, 100, 10)}
WHOLE = "0 0 32 24"
RANKS_1_3_7 = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2 + (2 / 6 + 3 / 7) / 2) / 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return vgg(tmp_path / "set", TEN, {"q": (f"a0 {WHOLE}", "a0;a20;a60", "")})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_positives_at_ranks_1_3_7_give_the_figures_worked_by_hand(root: Path, cache: Path) -> None:
    report = evaluate("vgg", root, AngleEncoder(), k=[2, 5, 10], cache=cache)
    figures = report.setups["all"]
    assert figures.map == report.map == pytest.approx(RANKS_1_3_7)
    assert figures.at["map"] == {
        2: pytest.approx(1 / 2),
        5: pytest.approx((1 + 2 / 3) / 3),
        10: pytest.approx((1 + 2 / 3 + 3 / 7) / 3),
    }
    assert figures.at["precision"] == {2: pytest.approx(1 / 2), 5: pytest.approx(2 / 5), 10: pytest.approx(3 / 10)}
    assert report.queries[0].setups["all"].ranks == (1, 3, 7)


def test_junk_is_taken_out_before_ranks_are_counted(tmp_path: Path, cache: Path) -> None:
    root = vgg(tmp_path / "junk", TEN, {"q": (f"a0 {WHOLE}", "a10;a30", "a0;a20")})
    report = evaluate("vgg", root, AngleEncoder(), cache=cache)
    assert report.map == 1
    assert [result.verdict for result in report.queries[0].results[:5]] == [
        "junk",
        "positive",
        "junk",
        "positive",
        "negative",
    ]


def test_json_holds_what_other_programs_rely_on(root: Path, cache: Path) -> None:
    document = json.loads(json.dumps(evaluate("vgg", root, AngleEncoder(), cache=cache).to_json(), allow_nan=False))
    assert (document["dataset"], document["protocol"], document["encoder"]) == ("vgg", "original", "angles")
    assert document["map"] == pytest.approx(RANKS_1_3_7)
    assert document["map_at"]["5"] == pytest.approx((1 + 2 / 3) / 3)
    assert document["precision_at"]["5"] == pytest.approx(2 / 5)
    assert document["denominators"]["map_at"] == "min(k, R)"
    assert document["gallery"] == {"images": 10, "distractors": 0, "skipped": []}
    query = document["queries"][0]
    assert (query["name"], query["image"], query["box"]) == ("q", "a0.png", [0, 0, 32, 24])
    assert query["ap"] == pytest.approx(RANKS_1_3_7)
    assert query["results"][0] == {"rank": 1, "key": "a0.png", "score": 1.0, "verdict": "positive"}


def test_one_k_and_one_method_stand_for_lists_of_one(root: Path, cache: Path) -> None:
    report = evaluate("vgg", root, AngleEncoder(), cache=cache, k=5, rerank="alpha-qe,k=2")
    assert (report.ks, len(report.rerank)) == ((5,), 1)
    with pytest.raises(QueryError, match=r"k is '5' \(str\): give a whole number"):
        evaluate("vgg", root, AngleEncoder(), cache=cache, k="5")  # type: ignore[arg-type]


def test_a_second_run_encodes_nothing(root: Path, cache: Path) -> None:
    first, second = AngleEncoder(), AngleEncoder()
    before = evaluate("vgg", root, first, cache=cache)
    after = evaluate("vgg", root, second, cache=cache)
    assert (first.encoded, second.encoded) == (11, 0)
    assert after.setups == before.setups
    assert (before.cost.embedded, after.cost.embedded) == (10, 0)


def test_another_box_or_encoder_is_encoded_again(root: Path, cache: Path) -> None:
    evaluate("vgg", root, AngleEncoder(), cache=cache)
    (root / "groundtruth" / "q_query.txt").write_text("a0 0 0 16 24")
    again = AngleEncoder()
    evaluate("vgg", root, again, cache=cache)
    assert again.encoded == 1
    other = AngleEncoder()
    other.fingerprint = "angles-2"
    evaluate("vgg", root, other, cache=cache)
    assert other.encoded == 11


def test_a_query_is_cut_to_its_box_from_the_whole_image(tmp_path: Path, cache: Path) -> None:
    root = vgg(tmp_path / "crop", TEN, {"q": ("a0 8 0 32 24", "a90", "")})
    picture = Image.new("RGB", (32, 24), (228, 128, 128))
    picture.paste((128, 228, 128), (8, 0, 32, 24))
    picture.save(root / "images" / "a0.png")
    encoder = AngleEncoder()
    cropped = evaluate("vgg", root, encoder, k=[1], cache=cache)
    assert cropped.queries[0].results[0].key == "a90.png"
    assert encoder.full_sizes[-1] == (32, 24), "a crop keeps the scale of its whole image"
    whole = evaluate("vgg", root, AngleEncoder(), k=[1], uncropped=True, cache=cache)
    assert whole.queries[0].results[0].key == "a0.png"
    assert whole.to_json()["uncropped"] is True


def test_boxes_are_in_pixels_of_the_upright_image(tmp_path: Path, cache: Path) -> None:
    """The file lies on its side: stored 24 wide and 32 high, upright 32 wide and 24 high."""
    root = vgg(tmp_path / "exif", TEN, {"q": ("a0 16 0 32 24", "a90", "")})
    upright = Image.new("RGB", (32, 24), (228, 128, 128))
    upright.paste((128, 228, 128), (16, 0, 32, 24))
    exif = Image.Exif()
    exif[274] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(root / "images" / "a0.png", exif=exif)
    report = evaluate("vgg", root, AngleEncoder(), k=[1], cache=cache)
    assert report.setups["all"].at["precision"][1] == 1


def test_a_box_outside_its_image_is_refused_by_name_and_one_across_the_border_noted(root: Path, cache: Path) -> None:
    (root / "groundtruth" / "q_query.txt").write_text("a0 100 100 120 120")
    with pytest.raises(EvaluationError, match=r"query q: .*box 100,100,120,120 has no area inside the image"):
        evaluate("vgg", root, AngleEncoder(), cache=cache)
    (root / "groundtruth" / "q_query.txt").write_text("a0 0 0 50 24")
    report = evaluate("vgg", root, AngleEncoder(), cache=cache)
    assert "box reaches beyond the image, cut at its border: q" in report.notes


def test_images_that_cannot_be_read_are_named_and_a_positive_among_them_is_never_found(root: Path, cache: Path) -> None:
    (root / "images" / "a60.png").write_bytes(b"no image")
    (root / "images" / "a90.png").write_bytes(b"")
    report = evaluate("vgg", root, AngleEncoder(), cache=cache)
    assert report.map == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 3)
    assert "positives that cannot be read, counted as never found: a60.png" in report.notes
    assert any("a60.png (" in note and "a90.png (empty file)" in note for note in report.notes)
    assert (report.gallery.images, len(report.gallery.skipped)) == (8, 2)


def test_a_query_image_that_cannot_be_read_is_refused_by_name(root: Path, cache: Path) -> None:
    (root / "images" / "a0.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    with pytest.raises(EvaluationError, match="query q: "):
        evaluate("vgg", root, AngleEncoder(), cache=cache)


def test_a_k_that_cannot_be_retrieved_is_refused_if_requested_and_else_left_out(root: Path, cache: Path) -> None:
    with pytest.raises(EvaluationError, match="query q: k = 15 goes beyond the 10 results"):
        evaluate("vgg", root, AngleEncoder(), k=[5, 15], cache=cache)
    assert evaluate("vgg", root, AngleEncoder(), cache=cache).ks == (5, 10)


def test_distractors_are_searched_and_counted_and_never_right(root: Path, cache: Path, tmp_path: Path) -> None:
    for number, degrees in enumerate((1, 15)):
        paint(tmp_path / "more" / f"a{number}.png", degrees)
    report = evaluate("vgg", root, AngleEncoder(), distractors=[tmp_path / "more"], cache=cache)
    assert (report.gallery.images, report.gallery.distractors) == (12, 2)
    assert report.queries[0].setups["all"].ranks == (1, 5, 9)
    keys = [result.key for result in report.queries[0].results[:4]]
    assert keys == ["a0.png", "more/a0.png", "a10.png", "more/a1.png"]


def test_leave_one_out_never_finds_the_query_itself(tmp_path: Path, cache: Path) -> None:
    for name, degrees in {"x/1": 0, "x/2": 1, "y/1": 2, "y/2": 50}.items():
        paint(tmp_path / "classes" / f"{name}.png", degrees)
    report = evaluate("folders", tmp_path / "classes", AngleEncoder(), k=[1], cache=cache)
    by_name = {query.name: query for query in report.queries}
    assert all(result.key != name for name, query in by_name.items() for result in query.results)
    # x/1 and y/2 find their own class first; x/2 sees y/1 and x/1 equally far and y/1 sees x/2 first.
    assert by_name["x/1.png"].setups["all"].ap == 1
    assert by_name["y/1.png"].setups["all"].ap == pytest.approx((0 / 2 + 1 / 3) / 2)
    assert report.gallery.images == 4


def test_leave_one_out_passes_over_what_cannot_be_read_and_names_it(tmp_path: Path, cache: Path) -> None:
    for name, degrees in {"x/1": 0, "x/2": 1, "y/1": 50, "y/2": 51}.items():
        paint(tmp_path / "classes" / f"{name}.png", degrees)
    (tmp_path / "classes" / "x" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    report = evaluate("folders", tmp_path / "classes", AngleEncoder(), cache=cache)
    assert [query.name for query in report.queries] == ["x/1.png", "x/2.png", "y/1.png", "y/2.png"]
    assert "queries that cannot be read, left out: x/broken.png" in report.notes
    assert "positives that cannot be read, counted as never found: x/broken.png" in report.notes


def test_a_list_shorter_than_every_k_is_scored_whole(tmp_path: Path, cache: Path) -> None:
    for name, degrees in {"x/1": 0, "x/2": 1, "y/1": 50}.items():
        paint(tmp_path / "classes" / f"{name}.png", degrees)
    report = evaluate("folders", tmp_path / "classes", AngleEncoder(), cache=cache)
    assert report.ks == (2,)
    assert "k=2" in report.text()


def test_three_setups_are_scored_each_with_its_own_junk(tmp_path: Path, cache: Path) -> None:
    for name, degrees in TEN.items():
        paint(tmp_path / "images" / f"{name}.png", degrees)
    easy, hard, junk = frozenset({"a10.png"}), frozenset({"a40.png"}), frozenset({"a20.png"})
    truths = {
        "easy": Truth(easy, junk | hard),
        "medium": Truth(easy | hard, junk),
        "hard": Truth(hard, junk | easy),
    }
    query = BenchmarkQuery("q", tmp_path / "images" / "a0.png", None, truths, frozenset({"a0.png"}))
    nothing_easy = BenchmarkQuery("r", query.image, None, truths | {"easy": Truth(frozenset(), junk)}, query.hidden)
    benchmark = Benchmark("tiny", tmp_path / "images", (query, nothing_easy), "revisited")
    report = evaluate(benchmark, encoder=AngleEncoder(), cache=cache)
    # Without the query: a10 a20 a30 a40 …; Medium finds ranks 1 and 3, Hard rank 2.
    assert report.setups["easy"].map == 1
    assert report.setups["medium"].map == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert report.setups["hard"].map == pytest.approx((0 + 1 / 2) / 2)
    assert report.setups["medium"].at["revisited_precision"] == {
        1: 1,
        5: pytest.approx(2 / 3),
    }
    assert (report.setups["easy"].queries, report.setups["hard"].queries) == (1, 2)
    document = report.to_json()
    assert document["map"]["hard"] == pytest.approx(1 / 4)
    assert document["queries"][1]["ap"]["easy"] is None
    assert document["gallery"]["images"] == 9


def test_landmarks_scores_the_first_hundred_and_refuses_fewer(root: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="scores the first 100 results, but a query of this gallery has only 10"):
        evaluate("vgg", root, AngleEncoder(), protocol="landmarks", cache=cache)
    for number in range(95):
        paint(tmp_path / "more" / f"{number}.png", 100 + number / 2)
    report = evaluate("vgg", root, AngleEncoder(), "landmarks", distractors=[tmp_path / "more"], cache=cache)
    assert report.setups["all"].at["map"] == {100: pytest.approx((1 + 2 / 3 + 3 / 7) / 3)}
    assert report.map == pytest.approx((1 + 2 / 3 + 3 / 7) / 3), "the rule of the landmarks protocol is the step"


def test_a_benchmark_that_was_made_by_hand_is_checked_like_any_other(tmp_path: Path, cache: Path) -> None:
    paint(tmp_path / "images" / "a.png", 0)
    truth = {"all": Truth(frozenset({"a.png"}), frozenset({"a.png"}))}
    benchmark = Benchmark(
        "mine", tmp_path / "images", (BenchmarkQuery("q", tmp_path / "images" / "a.png", None, truth),)
    )
    with pytest.raises(EvaluationError, match=r"q: both positive and junk \(all\): a\.png"):
        evaluate(benchmark, encoder=AngleEncoder(), cache=cache)
    lost = Benchmark("mine", tmp_path / "images", (BenchmarkQuery("q", tmp_path / "lost.png", None, truth),))
    with pytest.raises(EvaluationError, match="the query image of q is missing"):
        evaluate(lost, encoder=AngleEncoder(), cache=cache)


def test_figures_of_dinov2_on_oxford_and_paris_say_what_it_was_trained_on(root: Path, cache: Path) -> None:
    encoder, benchmark = AngleEncoder(), load("vgg", root)
    encoder.name = "dinov2-base@pad-518"
    for name, noted in (("roxford5k", True), ("paris6k", True), ("vgg", False)):
        report = evaluate(replace(benchmark, name=name), encoder=encoder, cache=cache)
        assert any("among the seeds" in note for note in report.notes) == noted


def test_a_protocol_that_the_ground_truth_cannot_answer_is_refused(root: Path, cache: Path) -> None:
    with pytest.raises(EvaluationError, match="protocol revisited scores the setups easy, medium, hard, vgg has all"):
        evaluate("vgg", root, AngleEncoder(), protocol="revisited", cache=cache)
    with pytest.raises(EvaluationError, match="no protocol 'best'"):
        evaluate("vgg", root, AngleEncoder(), protocol="best", cache=cache)
    with pytest.raises(EvaluationError, match="vgg needs --root DIR"):
        evaluate("vgg", encoder=AngleEncoder())


class Backwards:
    """A re-ranker that reverses the list."""

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        assert probe.image is not None
        assert probe.image().size == (32, 24)
        return Ranking(ranking.ids[::-1], ranking.scores[::-1])

    def __str__(self) -> str:
        return "backwards"


def test_a_reranker_changes_what_is_measured_and_is_named(root: Path, cache: Path) -> None:
    report = evaluate("vgg", root, AngleEncoder(), rerank=[Backwards()], cache=cache)
    assert report.queries[0].setups["all"].ranks == (4, 8, 10)
    assert report.to_json()["rerank"] == ["backwards"]
    assert "backwards" in report.heading()


def test_a_reranker_is_given_every_image_whatever_the_ground_truth_says(root: Path, cache: Path) -> None:
    """Some published code removes junk and wrong images before re-ranking, which makes the figures too high."""
    (root / "groundtruth" / "q_junk.txt").write_text("a30\n")
    seen: list[list[int]] = []

    def look(probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        seen.append(sorted(ranking.ids.tolist()))
        return ranking

    evaluate("vgg", root, AngleEncoder(), rerank=[look], cache=cache)
    assert seen == [list(range(10))]


class Shortlist(Backwards):
    """A re-ranker that loses the tail."""

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        return ranking.head(5)


def test_a_list_cut_short_is_not_scored_as_if_it_were_whole(root: Path, cache: Path) -> None:
    with pytest.raises(EvaluationError, match="the list of 5 results holds 2 of 3 positives"):
        evaluate("vgg", root, AngleEncoder(), rerank=[Shortlist()], k=[5], cache=cache)


def test_a_rerank_spec_is_parsed_by_the_rerank_room(monkeypatch: pytest.MonkeyPatch, root: Path, cache: Path) -> None:
    import lookalike.search.rerank

    monkeypatch.setattr(lookalike.search.rerank, "parse", lambda spec: {"turn": Backwards()}[spec], raising=False)
    assert evaluate("vgg", root, AngleEncoder(), rerank=["turn"], cache=cache).rerank == ("backwards",)


def test_a_name_of_an_encoder_is_loaded(monkeypatch: pytest.MonkeyPatch, root: Path, cache: Path) -> None:
    monkeypatch.setattr(default, "load_encoder", lambda name: {"angles": AngleEncoder()}[name])
    assert evaluate("vgg", root, "angles", cache=cache).map == pytest.approx(RANKS_1_3_7)


def test_progress_is_reported_while_the_gallery_is_embedded(root: Path, cache: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    evaluate("vgg", root, AngleEncoder(), cache=cache, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (10, 10)


def test_stored_query_vectors_grow_with_each_run(root: Path, cache: Path, tmp_path: Path) -> None:
    vectors = QueryVectors(tmp_path / "q.npz", "angles-1")
    benchmark = load("vgg", root)
    ask = vectors.remember(lambda query, box: Probe(AngleEncoder().encode([query.image])))
    ask(benchmark.queries[0], None)
    vectors.save()
    again = QueryVectors(tmp_path / "q.npz", "angles-1")
    again.remember(lambda query, box: Probe(AngleEncoder().encode([query.image])))(
        benchmark.queries[0], Box(0, 0, 9, 9)
    )
    again.save()
    with np.load(tmp_path / "q.npz", allow_pickle=False) as stored:
        assert len(stored.files) == 2
        assert all(len(name) == 64 for name in stored.files)


def test_a_damaged_file_of_query_vectors_is_made_again(root: Path, cache: Path) -> None:
    before = evaluate("vgg", root, AngleEncoder(), cache=cache)
    (file,) = cache.rglob("queries.npz")
    for damage in (b"", b"PK\x03\x04 not a zip", b"\x80\x04N."):
        file.write_bytes(damage)
        assert evaluate("vgg", root, AngleEncoder(), cache=cache).setups == before.setups
    with np.load(file, allow_pickle=False) as stored:
        assert len(stored.files) == 1


def test_hidden_images_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / f"{number}.png", 10 * number)
    with collections.open(tmp_path, encoder=AngleEncoder()) as collection:
        collection.index()
        gallery = collection.gallery.view(exclude=frozenset({"0.png", "2.png", "not there.png"}))
        scores, ids = gallery.search(AngleEncoder().encode([tmp_path / "0.png"] * 2), 3)
        assert ids.tolist() == [[1, 3, -1], [1, 3, -1]]
        # cos 10 and cos 30 degrees, as far as whole colours tell
        assert scores[0][:2] == pytest.approx([0.985, 0.866], abs=0.005)
        assert (len(gallery), len(collection.gallery)) == (2, 4)


def test_a_town_among_another_town_and_many_pictures_is_harder_to_find(
    six_buildings: Path, tmp_path: Path, cache: Path
) -> None:
    render(tmp_path / "elsewhere", buildings=6, views=2, seed=1, distractors=0)
    (tmp_path / "many").mkdir()
    for number in range(150):
        picture(number).save(tmp_path / "many" / f"{number:03}.jpg")
    encoder, others = PixelEncoder(), [tmp_path / "elsewhere" / "images", tmp_path / "many"]
    alone = evaluate("vgg", six_buildings, encoder, cache=cache)
    among = evaluate("vgg", six_buildings, encoder, distractors=others, cache=cache)
    assert (alone.gallery.images, among.gallery.images, among.gallery.distractors) == (30, 192, 162)
    assert 0 < among.map < alone.map < 1
    assert not any(math.isnan(query.setups["all"].ap) for query in among.queries)
    assert len(among.queries) == 12
    first = (six_buildings / "groundtruth" / "bakery_1_query.txt").read_text().split()
    assert among.queries[0].box == Box(*map(float, first[1:]))


@pytest.mark.parametrize("protocol", ["original", "landmarks", "report", "revisited"])
def test_five_of_sixty_images_are_scored_by_every_protocol(tmp_path: Path, cache: Path, protocol: str) -> None:
    root = vgg(tmp_path / "sixty", {f"a{at}": float(at) for at in range(60)}, {"q": (f"a0 {WHOLE}", "a0;a2;a5", "")})
    benchmark = load("vgg", root)
    if protocol == "revisited":
        truths = dict.fromkeys(("easy", "medium", "hard"), benchmark.queries[0].truths["all"])
        benchmark = replace(benchmark, queries=(replace(benchmark.queries[0], truths=truths),))
    report = evaluate(benchmark, None, AngleEncoder(), protocol, [5], cache=cache)
    assert report.ks == (5,)
    assert any("mAP@100" in note for note in report.notes) == (protocol == "landmarks")
    if protocol != "report":
        assert next(iter(report.setups.values())).at["precision"][5] == pytest.approx(2 / 5)


def test_folders_are_leave_one_out_with_whole_photos(tmp_path: Path, cache: Path) -> None:
    for name, degrees in {"x/1": 0, "x/2": 1, "y/1": 2, "y/2": 50}.items():
        paint(tmp_path / "classes" / f"{name}.png", degrees)
    report = evaluate("folders", tmp_path / "classes", AngleEncoder(), cache=cache)
    assert report.heading() == "folders · leave-one-out · angles · whole photos · 4 queries · 4 images"
    assert report.to_json()["leave_one_out"] is True
    other = evaluate("folders", tmp_path / "classes", AngleEncoder(), "landmarks", [2], cache=cache)
    assert other.heading().startswith("folders · leave-one-out · protocol landmarks · angles · whole photos")
