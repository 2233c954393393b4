"""`lookalike adapt` as a person uses it."""

import json
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from tests.cli.running import Run
from tests.support.pictures import picture
from tests.support.vectors import labelled, planted


@pytest.fixture
def things(tmp_path: Path) -> Path:
    planted(tmp_path / "things").close()
    return tmp_path / "things"


def test_it_measures_then_applies_and_is_taken_back(run: Run, things: Path) -> None:
    before = (things / "vectors.f32").read_bytes()
    status, output, _ = run("adapt", things, "--folders", "--dry-run")
    assert status == 0
    assert output.startswith("48 labelled images, 12 groups of two or more; measured on groups that were held out, 48")
    assert output.endswith("would be mapped; nothing changed (--dry-run)\n")
    assert (things / "vectors.f32").read_bytes() == before
    assert run("adapt", things, "--folders")[1].endswith("48 vectors mapped, to 16 numbers each\n")
    assert run("adapt", things, "--folders")[2].count("adapted already") == 1
    status, output, _ = run("adapt", things, "--undo")
    assert (status, output) == (0, f"{things}: 48 vectors are what they were before `adapt`\n")
    assert (things / "vectors.f32").read_bytes() == before


def test_without_a_gain_the_status_is_0_and_nothing_changed(run: Run, tmp_path: Path) -> None:
    planted(tmp_path / "noise", noise=True).close()
    status, output, _ = run("adapt", tmp_path / "noise", "--folders")
    assert (status, output.splitlines()[-1]) == (0, f"{tmp_path / 'noise'}: no gain; nothing changed")
    document = json.loads(run("adapt", tmp_path / "noise", "--folders", "--json")[1])
    assert (document["applied"], document["proven"]) == (False, False)


def test_its_json_has_the_figures_with_their_intervals(run: Run, things: Path) -> None:
    (things.parent / "labels.csv").write_text("key,label\ngone.jpg,x\n")
    with (things.parent / "labels.csv").open("a") as table:
        table.writelines(f"{number // 4}/{number}.jpg,{number // 4}\n" for number in range(48))
    document = json.loads(run("adapt", things, "--labels", things.parent / "labels.csv", "--json")[1])
    assert (document["applied"], document["method"], document["queries"]) == (True, "within", 48)
    assert document["labels"] == {"images": 48, "groups": 12, "unknown": 1, "contradicting": 0, "unusable": 0}
    change = document["map"]
    assert change["difference"] == pytest.approx(change["after"] - change["before"])
    assert 0 < change["interval"]["low"] < change["difference"] < change["interval"]["high"]


def test_groups_of_duplicates_that_a_person_accepted_are_labels(run: Run, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for number in range(8):
        picture(number, (400, 300)).save(album / f"{number}.png")
        picture(number, (400, 300)).save(album / f"{number} again.jpg", quality=60)
    run("index", album, "--encoder", "pixels")
    found = run("duplicates", album, "--level", "near", "--csv")[1].splitlines(keepends=True)
    accepted = [line for line in found if not line.startswith("1,")]
    assert (len(found), len(accepted)) == (17, 15)
    (tmp_path / "groups.csv").write_text("".join(accepted))
    _, output, errors = run("adapt", album, "--labels", tmp_path / "groups.csv", "--dry-run")
    assert output.startswith("14 labelled images, 7 groups of two or more"), errors


def test_pairs_and_the_map_of_another_collection(run: Run, things: Path) -> None:
    rows = [f"{n // 4}/{n}.jpg,{n // 4}/{n // 4 * 4}.jpg,1" for n in range(48) if n % 4]
    pairs = things.parent / "pairs.csv"
    pairs.write_text("\n".join(["a,b,same", *rows, "0/0.jpg,1/4.jpg,0"]) + "\n")
    planted(things.parent / "pupil").close()
    assert "48 vectors mapped" in run("adapt", things, "--pairs", pairs)[1]
    assert "48 vectors mapped" in run("adapt", things.parent / "pupil", "--from", things)[1]
    assert run("info", things, "--json")[1].count('"adapted"') == 1


def test_what_was_marked_teaches_as_pairs_do(run: Run, things: Path) -> None:
    status, output, errors = run("adapt", things, "--marks")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "0 groups of two or more labelled images" in errors
    with Collection(things) as collection:
        for number in range(48):
            if number % 4:
                collection.mark(f"{number // 4}/{number}.jpg", f"{number // 4}/{number // 4 * 4}.jpg", same=True)
        collection.mark("0/0.jpg", "1/4.jpg", same=False)
    assert run("adapt", things, "--marks")[1].endswith("48 vectors mapped, to 16 numbers each\n")
    assert run("info", things, "--json")[1].count('"groups": 12') == 1


def test_labels_give_a_confidence_without_a_gain_too(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "plain"
    labelled(place).close()
    assert json.loads(run("search", place, "0/0.jpg", "--json")[1])["found"] is None
    tried = json.loads(run("adapt", place, "--folders", "--dry-run", "--json")[1])
    assert (tried["applied"], tried["confidence"]["refitted"], tried["confidence"]["good_enough"]) == (
        False,
        False,
        True,
    )
    assert json.loads(run("search", place, "0/0.jpg", "--json")[1])["found"] is None
    said = run("adapt", place, "--folders", "--dry-run")[1]
    assert said.endswith(f"{place}: no gain; nothing changed\n{place}: would have the confidence of these labels\n")
    lines = run("adapt", place, "--folders")[1].splitlines()
    assert lines[-3].startswith("confidence      false found ")
    assert lines[-2:] == [
        f"{place}: no gain; vectors are as they were",
        f"{place}: its confidence is that of these labels",
    ]
    assert json.loads(run("info", place, "--json")[1])["confidence"]["queries"] == 144
    answer = json.loads(run("search", place, "0/0.jpg", "-k", "7", "--json")[1])
    assert answer["found"] is True
    assert [result["confidence"] > 0.5 for result in answer["results"]] == [True] * 6 + [False]
    assert run("adapt", place, "--undo")[0] == 0
    assert json.loads(run("search", place, "0/0.jpg", "--json")[1])["found"] is None


def test_why_there_is_no_confidence_is_said(run: Run, things: Path) -> None:
    output = run("adapt", things, "--folders")[1]
    assert "confidence      none: 48 labelled images to ask with, and 100 are needed\n" in output
    assert "48 vectors mapped" in output


@pytest.mark.parametrize("options", [(), ("--marks", "--folders"), ("--folders", "--undo"), ("--undo", "--dry-run")])
def test_contradicting_options_are_a_wrong_usage(run: Run, things: Path, options: tuple[str, ...]) -> None:
    assert run("adapt", things, *options)[0] == 2


def test_too_few_labels_are_one_line(run: Run, things: Path) -> None:
    (things.parent / "labels.csv").write_text("key,label\n0/0.jpg,x\n0/1.jpg,x\n")
    status, output, errors = run("adapt", things, "--labels", things.parent / "labels.csv")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "1 group of two or more labelled images, and a gain cannot be proven with fewer than 6" in errors


def test_several_sets_are_compared_on_the_labels(run: Run, things: Path) -> None:
    """The second set is noise, and of the same size: the first is better for its size."""
    planted(things / "sets" / "noise", noise=True, encoder="noise").close()
    lines = run("adapt", things, "--folders", "--dry-run")[1].splitlines()[-3:]
    assert lines[0].split("  ")[0] == "on your photos"
    assert (lines[1].split()[0], lines[1].split()[-1]) == ("thumb", "★")
    assert lines[2].startswith("noise ")
    assert "no gain" in lines[2]
    sets = json.loads(run("adapt", things, "--folders", "--dry-run", "--json")[1])["sets"]
    assert [(entry["encoder"], entry["bytes_a_vector"], entry["proven"]) for entry in sets] == [
        ("thumb", 64, True),
        ("noise", 64, False),
    ]
    assert sets[0]["adapted_map"] > sets[0]["map"] + 0.1
    assert sets[1]["adapted_map"] == sets[1]["map"]
