"""The commands that search a collection, and those that look at it as a whole."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.running import Run
from tests.support.pictures import picture


def test_words_and_an_image_can_be_asked_for_together(run: Run, worded: Path) -> None:
    assert run("search", worded, "--text", "red", "-k", 1, "--paths")[1] == f"{worded}/red.png\n"
    options = (worded / "07.jpg", "--exclude-self", "-k", 16, "--json")
    alone, both = (json.loads(run("search", worded, *options, *more)[1]) for more in ((), ("--text", "red")))
    places = [[result["key"] for result in answer["results"]].index("red.png") for answer in (alone, both)]
    assert both["text"] == "red"
    assert places[1] < places[0]
    document = json.loads(run("search", worded, "--text", "blue", "--json")[1])
    assert (document["query"], document["encoder"]) == (None, "colours")


def test_a_set_is_brought_into_step_alone_or_with_the_others(run: Run, worded: Path) -> None:
    (worded / "red.png").unlink()
    assert "1 removed" in run("index", worded, "--encoder", "colours")[1]
    assert "1 removed" in run("index", worded)[1]
    facts = json.loads(run("info", worded, "--json")[1])
    assert (facts["encoder"], facts["sets"], facts["images"]) == ("pixels", ["colours"], 15)


def test_words_without_an_encoder_that_reads_are_one_line(run: Run, indexed: Path) -> None:
    status, output, errors = run("search", indexed, "--text", "red")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert f"add them: lookalike index {indexed} --encoder siglip2-base" in errors


def test_another_encoder_is_added_beside_the_first_which_does_not_change(run: Run, indexed: Path) -> None:
    before = (indexed / ".lookalike" / "vectors.f32").read_bytes()
    assert run("index", indexed, "--encoder", "thumbnail")[0] == 0
    facts = json.loads(run("info", indexed, "--json")[1])
    assert (facts["encoder"], facts["sets"]) == ("pixels", ["thumbnail"])
    assert (indexed / ".lookalike" / "vectors.f32").read_bytes() == before
    assert run("search", indexed, "01.jpg", "--encoder", "thumbnail", "-k", 1, "--paths")[1] == f"{indexed}/01.jpg\n"
    status = run("index", indexed, "--encoder", "thumbnail", "--encoder", "rootsift")[0]
    assert (status, json.loads(run("info", indexed, "--json")[1])["sets"]) == (0, ["rootsift", "thumbnail"])


def test_the_same_encoder_spelled_otherwise_adds_nothing(run: Run, tmp_path: Path, photos: Path, tiny: Path) -> None:
    assert run("index", photos, "--encoder", tiny)[0] == 0
    assert "unchanged" in run("index", photos, "--encoder", f"{tiny}@squash-224")[1]
    assert json.loads(run("info", photos, "--json")[1])["sets"] == []


def test_columns_come_with_the_vectors_of_another_encoder(run: Run, indexed: Path, tmp_path: Path) -> None:
    table = tmp_path / "columns.csv"
    table.write_text("key,year\n01.jpg,2019\n", encoding="utf-8")
    assert run("index", indexed, "--encoder", "thumbnail", "--meta", table)[0] == 0
    search = ("search", indexed, "01.jpg", "--where", "year = 2019", "--paths")
    assert run(*search)[1] == run(*search, "--encoder", "thumbnail")[1] == f"{indexed}/01.jpg\n"


def test_a_column_called_image_names_the_images(run: Run, indexed: Path, tmp_path: Path) -> None:
    table = tmp_path / "columns.csv"
    table.write_text("image,label\n01.jpg,red\n", encoding="utf-8")
    assert "1 of 1 line name an image here" in run("index", indexed, "--meta", table)[2]
    assert run("search", indexed, "01.jpg", "--where", "label = red", "--paths")[1] == f"{indexed}/01.jpg\n"


def test_info_leaves_out_what_there_is_none_of(run: Run, indexed: Path) -> None:
    lines = run("info", indexed)[1].splitlines()
    assert [line for line in lines if line.startswith("sets")] == []
    assert all(len(line.split()) > 1 for line in lines)


def test_methods_are_named_on_the_command_line(run: Run, indexed: Path) -> None:
    plain = run("search", indexed, indexed / "01.jpg", "--rerank", "alpha-qe,k=2", "--rerank", "spatial,top=5")
    assert plain[0] == 0
    assert plain[1].splitlines()[0].endswith("01.jpg")
    status, _, errors = run("search", indexed, indexed / "01.jpg", "--rerank", "alpha-qe,q=2")
    assert (status, "write alpha-qe,k=10,alpha=3" in errors) == (1, True)


def test_an_excluded_key_is_searched_as_if_the_image_were_not_there(run: Run, indexed: Path) -> None:
    search = ("search", indexed, "01.jpg", "-k", 14, "--paths", "--rerank", "alpha-qe,k=3,alpha=0")
    whole = run(*search)[1].splitlines()
    second, third = (Path(path).relative_to(indexed).as_posix() for path in whole[1:3])
    excluded = run(*search, "--exclude", second, "--exclude", third)
    assert len(excluded[1].splitlines()) == 12
    run("remove", indexed, second, third)
    assert excluded == run(*search)
    assert excluded[1].splitlines() != whole[:1] + whole[3:]  # what was excluded had no part in the expansion
    told = "lookalike: --exclude no such key: no such image here\n"
    assert run(*search, "--exclude", "no such key") == (*excluded[:2], told)


def test_an_excluded_key_is_no_pattern_and_json_leaves_it_out_too(run: Run, indexed: Path) -> None:
    search = ("search", indexed, "01.jpg", "-k", 14, "--json")
    keys = [result["key"] for result in json.loads(run(*search)[1])["results"]]
    assert [result["key"] for result in json.loads(run(*search, "--exclude", "trip/*")[1])["results"]] == keys
    left = json.loads(run(*search, "--exclude", "01.jpg")[1])["results"]
    assert [result["key"] for result in left] == [key for key in keys if key != "01.jpg"]
    assert [result["rank"] for result in left] == list(range(1, 14))


def test_negatives_weights_and_copies_are_options(run: Run, indexed: Path) -> None:
    two = [indexed / "01.jpg", indexed / "02.jpg"]
    assert run("search", indexed, *two, "--weight", 2, "--weight", 1, "--negative", indexed / "05.jpg")[0] == 0
    assert run("search", indexed, two[0], "--invariant", "flip,rotate", "--combine", "max")[0] == 0
    assert run("search", indexed, two[0], "--invariant", "upside-down")[0] == 1
    pages = [run("search", indexed, two[0], "-k", 3, "--offset", offset)[1].splitlines() for offset in (0, 3)]
    assert pages[0] + pages[1] == run("search", indexed, two[0], "-k", 6)[1].splitlines()


def test_explain_says_what_matches_and_draws_it(run: Run, indexed: Path, tmp_path: Path) -> None:
    status, output, errors = run("explain", indexed, indexed / "01.jpg", "copy.png", "--out", tmp_path / "why.png")
    assert (status, errors) == (0, f"lookalike: wrote {tmp_path / 'why.png'}\n")
    assert output.strip()
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > drawn.height
    assert json.loads(run("explain", indexed, "01.jpg", "copy.png", "--json")[1])["matches"] is not None
    assert run("explain", indexed, "01.jpg", "gone.png")[0] == 1
    assert run("explain", indexed, "01.jpg", "copy.png", "--out", tmp_path / "why.unknown")[0] == 1


def test_whiten_changes_every_vector_and_search_goes_on(run: Run, indexed: Path) -> None:
    status, output, _ = run("whiten", indexed, "--dim", 5)
    assert (status, output) == (0, f"{indexed}/.lookalike: 14 vectors whitened, from 192 to 5 numbers each\n")
    assert run("search", indexed, indexed / "01.jpg", "-k", 1)[1].split()[1] == "1.0000"
    assert "is whitened already" in run("whiten", indexed)[2]
    assert "ask for fewer" in run("whiten", indexed.parent / "none")[2] or run("whiten", indexed.parent / "no")[0] == 1


def test_duplicates_are_groups_with_one_to_keep(run: Run, indexed: Path) -> None:
    status, output, errors = run("duplicates", indexed)
    assert status == 0
    assert output.splitlines()[0] == "group 1: 2 images"
    assert {line.split()[0] for line in output.splitlines()[1:]} == {"keep", "extra"}
    assert "1 group, 1 image could go" in errors
    document = json.loads(run("duplicates", indexed, "--threshold", 0.99, "--json")[1])
    names = sorted(sorted(member["key"] for member in group) for group in document["groups"])
    assert names == [["01.jpg", "copy.png"], ["02.jpg", "same.jpg"]]
    rows = list(csv.DictReader(io.StringIO(run("duplicates", indexed, "--csv")[1])))
    assert [row["suggestion"] for row in rows] == ["keep", "extra"]


def test_near_duplicates_are_found_whatever_the_encoder(run: Run, indexed: Path) -> None:
    status, output, _ = run("duplicates", indexed, "--level", "near", "--json")
    groups = json.loads(output)["groups"]
    names = sorted([member["key"] for member in group] for group in groups)
    assert (status, names) == (0, [["02.jpg", "same.jpg"], ["copy.png", "01.jpg"]])
    assert {member["reason"] for group in groups for member in group} == {"the shorter path", "lossless format"}


def test_extras_are_moved_only_when_told_twice(run: Run, indexed: Path, tmp_path: Path) -> None:
    (extra,) = run("duplicates", indexed, "--paths")[1].splitlines()
    _, _, errors = run("duplicates", indexed, "--move-to", tmp_path / "out")
    assert "would move" in errors
    assert Path(extra).exists()
    assert "1 moved, 0 stay" in run("duplicates", indexed, "--move-to", tmp_path / "out", "--yes")[2]
    assert not Path(extra).exists()
    assert (tmp_path / "out" / Path(extra).name).exists()
    assert run("duplicates", indexed, "--yes")[0] == 2


def test_moved_extras_are_put_back(run: Run, indexed: Path, tmp_path: Path) -> None:
    (extra,) = run("duplicates", indexed, "--paths")[1].splitlines()
    run("duplicates", indexed, "--move-to", tmp_path / "out", "--yes")
    assert not Path(extra).exists()
    assert "1 put back, 0 not" in run("duplicates", indexed, "--undo")[2]
    assert Path(extra).exists()


def test_two_images_are_told_apart_until_that_is_forgotten(run: Run, indexed: Path) -> None:
    assert run("duplicates", indexed, "--not", "02.jpg", "same.jpg")[0] == 0
    assert run("duplicates", indexed, "--paths")[1] == ""
    assert run("duplicates", indexed, "--not", indexed / "02.jpg", "same.jpg", "--forget")[0] == 0
    assert run("duplicates", indexed, "--paths")[1] == f"{indexed}/same.jpg\n"
    status, _, errors = run("duplicates", indexed, "--not", "02.jpg", "no such key")
    assert (status, "no such key" in errors, errors.count("\n")) == (1, True, 1)


def test_what_only_the_user_can_take_out_of_the_trash_is_one_line(
    run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import send2trash

    monkeypatch.setattr(send2trash, "send2trash", lambda path: path.rename(tmp_path / path.name))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    run("duplicates", indexed, "--trash", "--yes")
    monkeypatch.setattr(sys, "platform", "darwin")
    for _ in range(2):
        status, _, errors = run("duplicates", indexed, "--undo")
        assert (status, errors) == (
            0,
            "lookalike: 1 file is in the trash, which only you can look into on this system: put them back there; "
            f"{indexed}/.lookalike/moves.jsonl lists where they lay\nlookalike: 0 put back, 1 not\n",
        )


def test_what_could_not_be_looked_at_is_counted_in_one_line(run: Run, indexed: Path) -> None:
    (indexed / "01.jpg").unlink()
    status, output, errors = run("duplicates", indexed, "--level", "near", "--json")
    assert (status, json.loads(output)["unseen"]) == (0, 1)
    assert "1 image could not be looked at, as their files are away, changed or unreadable; nothing of them" in errors
    assert f"`lookalike sources {indexed}`" in errors
    assert errors.count("\n") == 1
    assert "could not be looked at" in run("duplicates", indexed, "--level", "similar", "--paths")[2]


def test_options_of_duplicates_that_need_each_other_are_refused_alone(run: Run, indexed: Path, tmp_path: Path) -> None:
    for options in (("--forget",), ("--yes",), ("--trash", "--move-to", tmp_path)):
        assert run("duplicates", indexed, *options)[0] == 2


def test_the_copy_to_keep_is_chosen_by_a_pattern_and_the_reason_is_printed(run: Run, indexed: Path) -> None:
    output = run("duplicates", indexed, "--keep", "same*")[1]
    assert output.splitlines()[1].endswith(f"{indexed}/same.jpg  (matches same*)")
    rows = list(csv.DictReader(io.StringIO(run("duplicates", indexed, "--keep", "same*", "--csv")[1])))
    assert [(row["key"], row["suggestion"], row["level"], row["reason"]) for row in rows] == [
        ("same.jpg", "keep", "exact", "matches same*"), ("02.jpg", "extra", "exact", "matches same*"),
    ]  # fmt: skip


def test_duplicates_between_two_collections(run: Run, indexed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "again.jpg").write_bytes((indexed / "01.jpg").read_bytes())
    picture(77).save(other / "else.png")
    run("index", other, "--encoder", "pixels")
    assert run("duplicates", indexed, other, "--paths")[1] == f"{other}/again.jpg\n"


def test_labels_are_written_for_every_image(run: Run, worded: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("red\nblue\n# not this\n")
    status, output, _ = run("label", worded, "--labels", words, "--template", "{}")
    rows = {row["key"]: row["label"] for row in csv.DictReader(io.StringIO(output))}
    assert (status, rows["red.png"], rows["blue.png"], len(rows)) == (0, "red", "blue", 16)
    run("label", worded, "--labels", words, "--template", "{}", "--json", "--out", tmp_path / "labels.jsonl")
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 16
    assert run("label", worded, "--labels", tmp_path / "none.txt")[0] == 1


def test_labels_serve_as_a_filter(run: Run, worded: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("red\nblue\n")
    run("label", worded, "--labels", words, "--template", "{}", "-k", 2, "--out", tmp_path / "labels.csv")
    assert run("index", worded, "--meta", tmp_path / "labels.csv")[0] == 0
    answers = {
        name: run("search", worded, "red.png", "--where", f"label = {name}", "-k", 16, "--paths")[1].splitlines()
        for name in ("red", "blue", "green")
    }
    assert f"{worded}/red.png" in answers["red"]
    assert f"{worded}/blue.png" in answers["blue"]
    assert len(answers["red"]) + len(answers["blue"]) == 16
    assert answers["green"] == []
    second = run("search", worded, "red.png", "--where", "label_2 = blue", "-k", 16, "--paths")[1]
    assert sorted(second.splitlines()) == sorted(answers["red"])


def test_the_map_is_one_page(run: Run, indexed: Path, tmp_path: Path) -> None:
    status, output, _ = run("map", indexed, "--out", tmp_path / "map.html", "--groups", 3)
    assert (status, output) == (0, f"{tmp_path / 'map.html'}: 14 images\n")
    assert "<title>photos</title>" in (tmp_path / "map.html").read_text()


def test_names_with_line_breaks_reach_xargs_whole(run: Run, photos: Path) -> None:
    (photos / "two\nlines.jpg").write_bytes((photos / "01.jpg").read_bytes())
    run("index", photos, "--encoder", "pixels")
    listed = run("duplicates", photos, "-0")[1]
    assert listed in (f"{photos}/two\nlines.jpg\0", f"{photos}/01.jpg\0")
    assert run("duplicates", photos, "-0", "--paths")[0] == 2
