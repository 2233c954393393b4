"""The published layouts, read; and what is wrong with a ground truth, said by name."""

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, Names, Truth, abridged
from lookalike.evaluation.datasets.oxford import PARIS_CORRUPT, read_groundtruth
from lookalike.evaluation.datasets.revisited import revisited
from lookalike.evaluation.protocols import protocol_for
from lookalike.types import Box
from tests.evaluation.angles import vgg as angles_vgg
from tests.support.pictures import picture


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    """Six images of two buildings in the VGG layout, with one query of the first building."""
    (tmp_path / "images" / "b").mkdir(parents=True)
    (tmp_path / "groundtruth").mkdir()
    for seed, name in enumerate(("a_1", "a_2", "a_3", "b/b_1", "b/b_2", "b/b_3")):
        picture(seed).save(tmp_path / "images" / f"{name}.jpg")
    write(tmp_path, "a_1 4.0 4.0 40.0 40.0", good="a_1\na_2\n", ok="a_3\n", junk="b_1\n")
    return tmp_path


def write(root: Path, query: str, good: str = "", ok: str = "", junk: str = "", name: str = "a") -> None:
    for label, text in {"query": query, "good": good, "ok": ok, "junk": junk}.items():
        (root / "groundtruth" / f"{name}_{label}.txt").write_text(text)


def only(benchmark: Benchmark) -> Truth:
    assert len(benchmark.queries) == 1
    return benchmark.queries[0].truths["all"]


def test_good_and_ok_are_positives_under_the_keys_of_the_images(vgg: Path) -> None:
    benchmark = load("vgg", vgg)
    assert only(benchmark) == Truth(frozenset({"a_1.jpg", "a_2.jpg", "a_3.jpg"}), frozenset({"b/b_1.jpg"}))
    query = benchmark.queries[0]
    assert (query.name, query.image, query.box) == ("a", vgg / "images" / "a_1.jpg", Box(4, 4, 40, 40))
    assert query.hidden == frozenset()


def test_oxford_puts_oxc1_before_a_query_image_and_paris_does_not(vgg: Path) -> None:
    write(vgg, "oxc1_a_2 1 2 3 4", good="a_1")
    assert load("vgg", vgg).queries[0].image.name == "a_2.jpg"


def test_box_is_corners_and_not_width_and_height(vgg: Path) -> None:
    write(vgg, "a_1 10.5 20.5 30.5 44.5", good="a_2")
    assert load("vgg", vgg).queries[0].box == Box(left=10.5, top=20.5, right=30.5, bottom=44.5)


@pytest.mark.parametrize("text", ["", "a_1 1 2 3", "a_1 1 2 3 four"])
def test_a_query_file_that_is_no_name_and_four_numbers_is_refused(vgg: Path, text: str) -> None:
    write(vgg, text, good="a_2")
    with pytest.raises(EvaluationError, match=r"a_query\.txt: expected 'image left top right bottom'"):
        load("vgg", vgg)


def test_a_ground_truth_name_without_its_image_is_named_with_its_file(vgg: Path) -> None:
    write(vgg, "a_1 1 2 3 4", good="a_1\nlost_7\n")
    with pytest.raises(EvaluationError, match=r"lost_7 \(a_good\.txt\)"):
        load("vgg", vgg)


def test_a_missing_query_image_is_named(vgg: Path) -> None:
    write(vgg, "lost_8 1 2 3 4", good="a_1")
    with pytest.raises(EvaluationError, match=r"lost_8 \(a_query\.txt\)"):
        load("vgg", vgg)


def test_a_missing_label_file_is_named(vgg: Path) -> None:
    (vgg / "groundtruth" / "a_good.txt").unlink()
    with pytest.raises(EvaluationError, match=r"a_good\.txt: No such file"):
        load("vgg", vgg)


def test_positives_that_are_also_junk_are_named(vgg: Path) -> None:
    write(vgg, "a_1 1 2 3 4", good="a_1\na_2", junk="a_2")
    with pytest.raises(EvaluationError, match=r"a: both positive and junk \(all\): a_2\.jpg"):
        load("vgg", vgg)


def test_a_query_without_positives_is_noted_and_alone_refused(vgg: Path) -> None:
    write(vgg, "b_1 1 2 3 4", name="empty")
    assert load("vgg", vgg).notes == ("without positives, so out of the mean: empty",)
    write(vgg, "a_1 1 2 3 4")
    with pytest.raises(EvaluationError, match="no query has a positive"):
        load("vgg", vgg)


def test_a_name_that_two_images_have_is_refused(vgg: Path) -> None:
    shutil.copy(vgg / "images" / "a_2.jpg", vgg / "images" / "b" / "a_2.jpg")
    with pytest.raises(EvaluationError, match=r"'a_2' in the ground truth could be a_2\.jpg, b/a_2\.jpg"):
        load("vgg", vgg)


def test_a_whole_key_is_that_image_even_where_its_name_is_shared(vgg: Path) -> None:
    picture(50).save(vgg / "images" / "a_2.png")
    write(vgg, "a_1 1 2 3 4", good="a_2.png\na_2.jpg")
    assert only(load("vgg", vgg)).positives == {"a_2.png", "a_2.jpg"}


@pytest.mark.parametrize("folder", ["images", "groundtruth"])
def test_a_missing_folder_is_named_with_what_belongs_there(vgg: Path, folder: str) -> None:
    (vgg / folder).rename(vgg / "elsewhere")
    with pytest.raises(EvaluationError, match=f"no folder {folder}/; put"):
        load("vgg", vgg)


def test_a_part_is_not_taken_for_the_whole_published_set(vgg: Path) -> None:
    with pytest.raises(EvaluationError, match="6 images and 1 query, oxford5k has 5,063 and 55"):
        load("oxford5k", vgg)


def test_an_unknown_dataset_or_root_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no dataset 'oxford'; there are oxford5k, paris6k"):
        load("oxford", tmp_path)
    with pytest.raises(EvaluationError, match="fetch it with --download"):
        load("vgg", tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    for number in (1, 2):
        picture(number).save(tmp_path / "c" / f"{number}.jpg")
    with pytest.raises(EvaluationError, match="no such folder of distractors"):
        load("folders", tmp_path, [tmp_path / "none"])


@pytest.mark.photos
def test_the_official_files_of_paris6k_are_read(shared_data: Path) -> None:
    queries = read_groundtruth(shared_data / "paris6k_groundtruth")
    assert len(queries) == 55
    first = queries[0]
    assert (first.name, first.image) == ("defense_1", "paris_defense_000605")
    assert first.box == Box(130, 17, 843, 732)
    for query in queries:
        assert not set(query.good) & set(query.ok)
        assert not {*query.good, *query.ok} & set(query.junk)
        assert not {*query.good, *query.ok, *query.junk} & PARIS_CORRUPT


def test_a_rendered_town_is_a_benchmark(six_buildings: Path) -> None:
    benchmark = load("vgg", six_buildings)
    assert (len(benchmark.queries), len(Names(benchmark.images).keys)) == (12, 30)
    for query in benchmark.queries:
        assert query.key(benchmark.images) in query.truths["all"].positives, "its own photo is a good one"


# Revisited: six images, two of them queries, and a gallery of four.


@pytest.fixture
def revisit(tmp_path: Path) -> Path:
    (tmp_path / "jpg").mkdir()
    for number in range(7):
        picture(number).save(tmp_path / "jpg" / f"i{number}.jpg")
    truth = {"bbx": [1.0, 2.0, 30.0, 40.0], "easy": np.array([0]), "hard": [1], "junk": np.array([2], np.int32)}
    save_gnd(tmp_path, [truth, truth | {"easy": [], "hard": [3]}])
    return tmp_path


def save_gnd(root: Path, gnd: object, protocol: int = 2) -> None:
    value = {"gnd": gnd, "imlist": ["i0", "i1", "i2", "i3"], "qimlist": ["i4", "i5"]}
    (root / "gnd_tiny.pkl").write_bytes(pickle.dumps(value, protocol))


def test_revisited_setups_move_easy_and_hard_between_positives_and_junk(revisit: Path) -> None:
    truths = revisited("tiny", revisit).queries[0].truths
    assert truths["easy"] == Truth(frozenset({"i0.jpg"}), frozenset({"i1.jpg", "i2.jpg"}))
    assert truths["medium"] == Truth(frozenset({"i0.jpg", "i1.jpg"}), frozenset({"i2.jpg"}))
    assert truths["hard"] == Truth(frozenset({"i1.jpg"}), frozenset({"i0.jpg", "i2.jpg"}))


def test_revisited_queries_and_stray_images_are_not_in_the_gallery(revisit: Path) -> None:
    benchmark = revisited("tiny", revisit)
    assert [query.image.name for query in benchmark.queries] == ["i4.jpg", "i5.jpg"]
    assert benchmark.queries[1].hidden == {"i4.jpg", "i5.jpg", "i6.jpg"}
    assert (benchmark.protocol, benchmark.queries[0].box) == ("revisited", Box(1, 2, 30, 40))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_revisited_ground_truth_of_any_pickle_protocol_is_read(revisit: Path, protocol: int) -> None:
    before = revisited("tiny", revisit).queries
    truth = {"bbx": np.array([1, 2, 30, 40.0]), "easy": np.array([0]), "hard": [1], "junk": [2]}
    save_gnd(revisit, [truth, truth | {"easy": np.array([], np.int64), "hard": np.array([3])}], protocol)
    assert revisited("tiny", revisit).queries == before


@pytest.mark.parametrize(
    ("gnd", "reason"),
    [
        ([{"bbx": [1, 2, 3, 4], "easy": [9], "hard": [], "junk": []}] * 2, "easy of i4 holds 9, no index into 4"),
        ([{"bbx": [1, 2, 3, 4], "easy": [[0]], "hard": [], "junk": []}] * 2, "easy of i4 holds list"),
        ([{"bbx": [1, 2, 3], "easy": [0], "hard": [], "junk": []}] * 2, "bbx of i4 is not four numbers"),
        ([{"bbx": [1, 2, 3, 4], "easy": [0], "hard": []}] * 2, "junk of i4 is no list"),
        ([{}], "2 query images, but ground truth for 1"),
        (7, "expected a dict of imlist, qimlist and gnd"),
    ],
    ids=["index", "nested", "box", "label", "count", "shape"],
)
def test_a_revisited_ground_truth_that_does_not_hold_together_is_refused(
    revisit: Path, gnd: object, reason: str
) -> None:
    save_gnd(revisit, gnd)
    with pytest.raises(EvaluationError, match=reason):
        revisited("tiny", revisit)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**5000], ids=["400", "minus 400", "5000"])
def test_a_number_of_hundreds_of_digits_in_a_revisited_ground_truth_is_refused_in_one_line(
    revisit: Path, number: int
) -> None:
    """Beyond 308 digits an integer is no float, and beyond 4,300 Python does not print it."""
    plain = {"bbx": [1, 2, 3, 4], "easy": [0], "hard": [], "junk": []}
    for truth, reason in (
        (plain | {"bbx": [number, 2, 3, 4]}, "bbx of i4 is not four numbers: left, top, right, bottom"),
        (plain | {"easy": [number]}, "easy of i4 holds a huge number, no index into 4 images"),
    ):
        save_gnd(revisit, [truth] * 2)
        with pytest.raises(EvaluationError) as refused:
            revisited("tiny", revisit)
        assert str(refused.value) == f"{revisit / 'gnd_tiny.pkl'}: {reason}"


def test_a_part_of_a_revisited_set_is_refused(revisit: Path) -> None:
    (revisit / "gnd_tiny.pkl").rename(revisit / "gnd_roxford5k.pkl")
    with pytest.raises(EvaluationError, match="4 images and 2 queries, roxford5k has 4,993 and 70"):
        load("roxford5k", revisit)
    with pytest.raises(EvaluationError, match=r"gnd_rparis6k\.pkl: no such file; put the revisited ground truth"):
        load("rparis6k", revisit)


def test_ones_own_revisited_ground_truth_of_any_size_and_name_is_read(revisit: Path) -> None:
    named = revisited("tiny", revisit).queries
    for root in (revisit, revisit / "gnd_tiny.pkl"):
        benchmark = load("revisited", root)
        assert (benchmark.name, benchmark.protocol, benchmark.queries) == ("revisited", "revisited", named)
    (revisit / "gnd_tiny.pkl").rename(revisit / "gnd_rparis6k.pkl")
    with pytest.raises(EvaluationError, match=r"rparis6k has 6,322 and 70; .*measure this part as dataset revisited"):
        load("rparis6k", revisit)
    assert load("revisited", revisit).queries == named


def test_which_of_two_revisited_ground_truths_is_meant_must_be_said(revisit: Path) -> None:
    (revisit / "gnd_b.pkl").write_bytes((revisit / "gnd_tiny.pkl").read_bytes())
    with pytest.raises(EvaluationError, match=r"expected one ground truth gnd\*\.pkl, there are gnd_b\.pkl, gnd_tiny"):
        load("revisited", revisit)
    assert len(load("revisited", revisit / "gnd_b.pkl").queries) == 2
    with pytest.raises(EvaluationError, match="there is none"):
        load("revisited", revisit / "jpg")


def test_a_ground_truth_of_ok_and_junk_is_of_the_original_protocol_and_needs_no_boxes(revisit: Path) -> None:
    save_gnd(revisit, [{"ok": [0, 1], "junk": [2]}, {"ok": np.array([3]), "junk": []}])
    benchmark = load("revisited", revisit)
    assert (benchmark.protocol, benchmark.queries[0].box) == ("original", None)
    assert benchmark.queries[0].truths == {"all": Truth(frozenset({"i0.jpg", "i1.jpg"}), frozenset({"i2.jpg"}))}
    with pytest.raises(EvaluationError, match="easy of i4 is no list"):
        revisited("tiny", revisit, (4, 2))
    plain = {"easy": [0], "hard": [1], "junk": []}
    save_gnd(revisit, [plain, plain])
    assert load("revisited", revisit).queries[0].box is None
    with pytest.raises(EvaluationError, match="no bbx of i4, i5; tiny has one for every query"):
        revisited("tiny", revisit, (4, 2))


def test_a_vgg_ground_truth_says_what_the_revisited_protocol_needs(tmp_path: Path) -> None:
    root = angles_vgg(tmp_path, {"a0": 0.0, "a10": 10.0}, {"q": ("a0 0 0 32 24", "a10", "")})
    with pytest.raises(EvaluationError, match=r"vgg has all; .*gnd\*\.pkl beside images/.*evaluate revisited"):
        protocol_for(load("vgg", root), "revisited")


def test_a_query_without_a_junk_file_has_no_junk(tmp_path: Path) -> None:
    root = angles_vgg(tmp_path, {"a0": 0.0, "a10": 10.0}, {"q": ("a0 0 0 32 24", "a10", "a0")})
    assert load("vgg", root).queries[0].truths["all"].junk == {"a0.png"}
    (root / "groundtruth" / "q_junk.txt").unlink()
    assert load("vgg", root).queries[0].truths["all"] == Truth(frozenset({"a10.png"}))
    (root / "groundtruth" / "q_ok.txt").unlink()
    with pytest.raises(EvaluationError, match=r"q_ok\.txt: No such file"):
        load("vgg", root)


# Folders: leave one out.


def test_a_folder_is_a_class_and_every_image_is_a_query_for_the_others(tmp_path: Path) -> None:
    for name in ("cat/1", "cat/2", "cat/old/3", "dog/1", "loose"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / f"{name}.png")
    benchmark = load("folders", tmp_path)
    truths = {query.name: query for query in benchmark.queries}
    assert sorted(truths) == ["cat/1.png", "cat/2.png", "cat/old/3.png", "dog/1.png"]
    assert truths["cat/1.png"].truths["all"].positives == {"cat/2.png", "cat/old/3.png"}
    assert truths["cat/1.png"].hidden == {"cat/1.png"}
    assert benchmark.notes == (
        "in no class, so never right: loose.png",
        "without positives, so out of the mean: dog/1.png",
    )


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "loose.png")
    with pytest.raises(EvaluationError, match="put each class in a folder of its own"):
        load("folders", tmp_path)


# Pairs: a table.


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c", "d"):
        picture(ord(name)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "queries").mkdir()
    picture(9).save(tmp_path / "queries" / "q.png")
    return tmp_path


def test_pairs_of_a_csv_and_of_json_lines_are_the_same(gallery: Path) -> None:
    table = gallery / "pairs.csv"
    table.write_text('query,box,positives,junk\na.png,"1,2,30,40",b.png; c.png,d.png\nqueries/q.png,,a,\n')
    from_csv = load("pairs", gallery)
    table.unlink()
    lines = [
        {"query": "a.png", "box": [1, 2, 30, 40], "positives": ["b.png", "c.png"], "junk": ["d.png"]},
        {"query": "queries/q.png", "positives": ["a"]},
    ]
    (gallery / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert load("pairs", gallery) == from_csv
    first, second = from_csv.queries
    assert first.truths["all"] == Truth(frozenset({"b.png", "c.png"}), frozenset({"d.png"}))
    assert (first.box, first.hidden) == (Box(1, 2, 30, 40), frozenset({"a.png"}))
    assert (second.image, second.box, second.hidden) == (gallery / "queries" / "q.png", None, frozenset())


def test_a_query_beside_the_table_is_not_taken_for_an_image_of_that_name_in_the_gallery(gallery: Path) -> None:
    (gallery / "images" / "sub").mkdir()
    picture(7).save(gallery / "images" / "sub" / "front.png")
    picture(8).save(gallery / "front.png")
    (gallery / "pairs.csv").write_text("query,positives\nfront.png,a.png\nfront,a.png\nimages/b.png,a.png\n")
    beside, named, inside = load("pairs", gallery).queries
    assert (beside.image, beside.hidden) == (gallery / "front.png", frozenset())
    assert (named.image, named.hidden) == (gallery / "images" / "sub" / "front.png", frozenset({"sub/front.png"}))
    assert (inside.image, inside.hidden) == (gallery / "images" / "b.png", frozenset({"b.png"}))


def test_a_query_that_lists_itself_keeps_its_own_photo_and_one_listed_twice_has_two_names(gallery: Path) -> None:
    (gallery / "pairs.csv").write_text("query,positives\na.png,a.png;b.png\na.png,c.png\n")
    first, second = load("pairs", gallery).queries
    assert (first.name, first.hidden) == ("a.png", frozenset())
    assert (second.name, second.hidden) == ("a.png #2", frozenset({"a.png"}))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("pairs.csv", "query,positives\nlost.png,b.png", r"pairs\.csv line 2: the query image 'lost\.png' is missing"),
        ("pairs.csv", "query,positives\na.png,lost.png", r"lost\.png \(pairs\.csv line 2\)"),
        ("pairs.csv", "query,right\na.png,b.png", "unknown column 'right'"),
        ("pairs.csv", 'query,positives,box\na.png,b.png,"1,2,3"', "box is not four numbers"),
        ("pairs.csv", "query,positives\n,b.png", "no query"),
        ("pairs.csv", "query,positives\n", "no queries"),
        ("pairs.jsonl", "{", r"pairs\.jsonl line 1: not a JSON object"),
        ("pairs.jsonl", "[1]", "not a JSON object"),
        ("pairs.jsonl", '{"query": "a.png", "positives": "b.png"}', "positives is no list of names"),
        ("pairs.jsonl", '{"query": "a.png", "positives": ["b.png"], "box": {"left": 1}}', "box is not four numbers"),
        (
            "pairs.jsonl",
            f'{{"query": "a.png", "positives": [], "box": [{10**400}, 2, 3, 4]}}',
            "box is not four numbers",
        ),
        ("pairs.jsonl", '{"query": "a.png", "positives": []}', "no query has a positive"),
        ("other.csv", "", r"expected one of pairs\.jsonl"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_line(gallery: Path, name: str, text: str, reason: str) -> None:
    (gallery / name).write_text(text)
    with pytest.raises(EvaluationError, match=reason):
        load("pairs", gallery)


def test_a_table_that_is_not_utf8_is_refused(gallery: Path) -> None:
    (gallery / "pairs.csv").write_bytes(b"query,positives\n\xff\xfe,b")
    with pytest.raises(EvaluationError, match="not UTF-8 text"):
        load("pairs", gallery / "pairs.csv")


def test_a_long_list_of_names_is_cut() -> None:
    assert abridged("abcdefg") == "a, b, c, d, e and 2 more"
    assert abridged("ab") == "a, b"


# Whole published sets: their names, counts and files over empty images, since reading a benchmark decodes nothing.

OXFORD = (
    "all_souls ashmolean balliol bodleian christ_church cornmarket hertford keble magdalen pitt_rivers radcliffe_camera"
).split()
PARIS = "defense eiffel general invalides louvre moulinrouge museedorsay notredame pantheon pompidou sacrecoeur".split()


def numbered(name: str, numbers: range) -> list[str]:
    return [f"{name}_{number:06}" for number in numbers]


def write_official(folder: Path, landmarks: Sequence[str], prefix: str) -> None:
    """Five queries of each landmark, from 1 on, in the official files.

    A landmark's images are numbered from 0: those to 4 are its queries, and good; the next n are ok, n being 1 for the
    first landmark, 2 for the second, …; the next two are junk.
    """
    folder.mkdir()
    for count, landmark in enumerate(landmarks, 1):
        name = landmark.removeprefix("paris_")
        for query in range(1, 6):
            box = f"{query}.500000 {10 * query}.000000 {100 + query}.250000 {200 + count}.000000"
            texts = {
                "query": f"{prefix}{landmark}_{query - 1:06} {box}",
                "good": "\n".join(numbered(landmark, range(5))),
                "ok": "\n".join(numbered(landmark, range(5, 5 + count))),
                "junk": "\n".join(numbered(landmark, range(5 + count, 7 + count))),
            }
            for label, text in texts.items():
                (folder / f"{name}_{query}_{label}.txt").write_text(f"{text}\n")


def named(landmarks: Sequence[str]) -> list[str]:
    """The images that `write_official` names: 5 + n + 2 of the nth landmark, so 143 of eleven."""
    return [name for count, landmark in enumerate(landmarks, 1) for name in numbered(landmark, range(7 + count))]


def test_oxford5k_is_whole_with_its_5063_images_and_55_queries(tmp_path: Path) -> None:
    write_official(tmp_path / "gt", OXFORD, "oxc1_")
    (tmp_path / "jpg").mkdir()
    for name in (*named(OXFORD), *numbered("oxford", range(5063 - 143))):
        (tmp_path / "jpg" / f"{name}.jpg").touch()
    benchmark = load("oxford5k", tmp_path)
    assert (len(benchmark.queries), benchmark.notes, benchmark.unreadable) == (55, (), frozenset())
    assert [query.name for query in benchmark.queries[::5]] == [f"{name}_1" for name in OXFORD]
    last = benchmark.queries[-1]
    assert (last.name, last.image.name) == ("radcliffe_camera_5", "radcliffe_camera_000004.jpg")
    assert last.box == Box(5.5, 50, 105.25, 211)
    assert last.truths["all"].positives == {f"radcliffe_camera_{number:06}.jpg" for number in range(16)}
    assert last.truths["all"].junk == {"radcliffe_camera_000016.jpg", "radcliffe_camera_000017.jpg"}
    assert [len(query.truths["all"].positives) for query in benchmark.queries[::5]] == list(range(6, 17))
    (tmp_path / "jpg" / "surplus.jpg").touch()
    with pytest.raises(EvaluationError, match="holds 5,064 images and 55 queries, oxford5k has 5,063 and 55"):
        load("oxford5k", tmp_path)


def test_paris6k_is_whole_without_its_corrupt_images(tmp_path: Path) -> None:
    landmarks = [f"paris_{name}" for name in PARIS]
    write_official(tmp_path / "groundtruth", landmarks, "")
    (tmp_path / "groundtruth" / "defense_1_good.txt").write_text("")  # as it is in the official files
    fillers = numbered("paris_general", range(900_000, 900_000 + 6392 - 143))
    for name in (*named(landmarks), *fillers, *PARIS_CORRUPT):
        folder = tmp_path / "images" / name.split("_")[1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jpg").touch()
    benchmark = load("paris6k", tmp_path)
    assert (len(benchmark.queries), len(benchmark.unreadable)) == (55, 20)
    assert benchmark.notes[0].startswith("known corrupt images passed over: louvre/paris_louvre_000136.jpg")
    first, second = benchmark.queries[:2]
    assert (first.name, first.image) == ("defense_1", tmp_path / "images" / "defense" / "paris_defense_000000.jpg")
    assert first.box == Box(1.5, 10, 101.25, 201)
    assert first.truths["all"].positives == {"defense/paris_defense_000005.jpg"}
    assert len(second.truths["all"].positives) == 6
    assert second.truths["all"].junk == {"defense/paris_defense_000006.jpg", "defense/paris_defense_000007.jpg"}
    (tmp_path / "images" / "general" / "paris_general_900000.jpg").unlink()
    with pytest.raises(EvaluationError, match="holds 6,391 images and 55 queries, paris6k has 6,392 and 55"):
        load("paris6k", tmp_path)
