from pathlib import Path

from lookalike.collection.collection import open as open_collection
from tests.cli.running import Run
from tests.support.pictures import picture


def indexed(folder: Path, *seeds: int) -> Path:
    folder.mkdir()
    for seed in seeds:
        picture(seed).save(folder / f"{seed}.png")
    with open_collection(folder, encoder="thumbnail") as collection:
        collection.index()
    return folder


def test_search_asks_other_collections_too_and_names_those_that_are_away(run: Run, tmp_path: Path) -> None:
    trips, home, gone = indexed(tmp_path / "trips", 1, 2, 3), indexed(tmp_path / "home", 3, 4), tmp_path / "gone"
    status, output, notes = run("search", trips, home / "4.png", "-k", 1, "--paths", "--also", home, "--also", gone)
    assert (status, output) == (0, f"{home / '4.png'}\n")
    assert f"left out: {gone}: no such folder or collection" in notes


def test_duplicates_and_explain_go_across_collections(run: Run, tmp_path: Path) -> None:
    trips, home = indexed(tmp_path / "trips", 1, 2, 3), indexed(tmp_path / "home", 3, 4)
    assert run("duplicates", trips, "--also", home, "--paths")[1] == f"{trips / '3.png'}\n"
    assert "agree" in run("explain", trips, "trips/3.png", "home/3.png", "--also", home)[1]


def test_what_needs_one_collection_refuses_others(run: Run, tmp_path: Path) -> None:
    trips, home = indexed(tmp_path / "trips", 1), indexed(tmp_path / "home", 3)
    assert run("search", trips, "1.png", "--exact", "l2", "--also", home)[0] == 2
    assert run("duplicates", trips, "--also", home, "--trash")[0] == 2
    assert (home / "3.png").exists()


def test_all_that_were_never_indexed_are_indexed_first_and_times_are_told(run: Run, tmp_path: Path) -> None:
    trips, new, gone = indexed(tmp_path / "trips", 1), tmp_path / "new", tmp_path / "gone"
    (trips / "part").mkdir()
    new.mkdir()
    picture(4).save(new / "4.png")
    places = ("--also", new, "--also", gone, "--also", trips / "part")
    words = ("search", trips, new / "4.png", "-k", 1, "--paths", *places, "--index", "--encoder", "thumbnail", "-v")
    status, output, notes = run(*words)
    assert (status, output) == (0, f"{new}/4.png\n")
    assert f"{new}/.lookalike: 1 image indexed, 0 skipped" in notes
    assert f"left out: {gone}: no such folder" in notes
    assert not (trips / "part" / ".lookalike").exists()
    assert "ms in all, among 2 images\n" in notes
