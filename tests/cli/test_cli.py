import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lookalike
from lookalike.collection import reader
from lookalike.collection.collection import Collection
from lookalike.evaluation.datasets.synthetic import render
from lookalike.index.library import library
from tests.cli.running import Run, status_of
from tests.support.pictures import PixelEncoder, picture

faiss = library()


def test_index_says_what_it_did(run: Run, photos: Path) -> None:
    status, output, errors = run("index", photos, "--encoder", "pixels")
    assert (status, errors) == (0, "")
    assert output.startswith(f"{photos}/.lookalike: 12 images (12 added) in ")
    assert "12 unchanged" in run("index", photos)[1]


def test_search_prints_rank_score_and_path(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    status, output, _ = run("search", photos, photos / "01.jpg", "-k", 3)
    first = output.splitlines()[0].split()
    assert (status, first) == (0, ["1", "1.0000", str(photos / "01.jpg")])
    assert len(output.splitlines()) == 3


def test_search_json_is_one_stable_document(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    document = json.loads(run("search", photos, photos / "01.jpg", "-k", 2, "--json")[1])
    assert list(document) == ["query", "encoder", "k", "took_ms", "found", "results", "damaged"]
    assert document["found"] is None  # no confidence was measured for this encoder
    assert (document["query"], document["encoder"], document["k"]) == (str(photos / "01.jpg"), "pixels", 2)
    assert list(document["results"][0]) == ["rank", "key", "path", "score", "confidence", "box"]
    first = {"rank": 1, "key": "01.jpg", "path": str(photos / "01.jpg"), "score": 1.0, "confidence": None, "box": None}
    assert document["results"][0] == first


def test_paths_are_printed_byte_for_byte(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "load_encoder", lambda _: encoder)
    name = b"new\nline \xe9.png"
    picture(1).save(tmp_path / "plain.png")
    os.rename(tmp_path / "plain.png", os.path.join(os.fsencode(tmp_path), name))  # noqa: PTH104, PTH118
    status_of("index", tmp_path, "--encoder", "pixels")
    capfdbinary.readouterr()
    key = name.decode("utf-8", "surrogateescape")
    assert status_of("search", tmp_path, key, "-0") == 0
    assert capfdbinary.readouterr().out == os.fsencode(tmp_path) + b"/" + name + b"\0"
    assert status_of("search", tmp_path, key) == 0
    assert capfdbinary.readouterr().out.endswith(b"/new\\nline \\udce9.png\n")
    assert status_of("search", tmp_path, key, "--json") == 0
    assert json.loads(capfdbinary.readouterr().out)["results"][0]["key"] == key


def test_exact_l2_shows_the_distance_beside_the_cosine(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    document = json.loads(run("search", photos, photos / "01.jpg", "--exact", "l2", "--json")[1])
    with Collection(photos / ".lookalike") as collection:
        store = collection.store
        reference = faiss.IndexFlatL2(store.header.dim)
        reference.add(store.vectors.block(0, 12))
        distances, rows = reference.search(store.vector(collection.row("01.jpg") or 0)[None], 10)
        assert [result["key"] for result in document["results"]] == [collection.key(row) for row in rows[0].tolist()]
    assert [result["distance"] for result in document["results"]] == pytest.approx(distances[0].tolist(), abs=1e-6)
    for result in document["results"]:
        assert result["distance"] == pytest.approx(2 - 2 * result["score"], abs=1e-5)


def test_min_score_and_exclude_self(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    query = photos / "01.jpg"
    assert run("search", photos, query, "--min-score", "0.999")[1].count("\n") == 1
    status, output, errors = run("search", photos, query, "--min-score", "0.999", "--exclude-self")
    assert (status, output, errors.count("\n")) == (0, "", 1)
    assert errors.startswith("lookalike: nothing here has a score of 0.999 or more; the best is ")


def test_info_counts_and_lists_what_was_skipped(run: Run, photos: Path) -> None:
    (photos / "bad\n.jpg").write_bytes(b"text")
    _, _, errors = run("index", photos, "--encoder", "pixels")
    assert errors == "lookalike: skipped bad\\n.jpg: not an image\n"
    assert "images       12" in run("info", photos)[1]
    assert run("info", photos, "--skipped")[1] == "bad\\n.jpg\tnot an image\n"
    assert json.loads(run("info", photos, "--skipped", "--json")[1])["skipped"] == [
        {"key": "bad\n.jpg", "reason": "not an image"}
    ]


def test_many_files_of_one_kind_are_a_count_in_text_and_all_in_json(run: Run, photos: Path) -> None:
    for number in range(40):
        (photos / f"clip {number:02d}.mp4").write_bytes(b"film")
    (photos / "zebra.psd").write_bytes(b"8BPS")
    _, _, errors = run("index", photos, "--encoder", "pixels")
    video = "a video is not read; save a frame of it as JPEG"
    layers = "a project of an image editor is not read; export it as PNG"
    assert errors.splitlines() == [
        f"lookalike: skipped zebra.psd: {layers}",
        f"lookalike: skipped 40, as clip 00.mp4: {video}",
        f"lookalike: 41 skipped in all; `lookalike info {photos / '.lookalike'} --skipped` lists them",
    ]
    lines = run("info", photos, "--skipped")[1].splitlines()
    assert lines[:2] == [f"zebra.psd\t{layers}", f"clip 00.mp4\t{video}"]
    assert lines[21:] == [f"and 20 more, 40 in all; --json has them\t{video}"]
    assert len(json.loads(run("info", photos, "--skipped", "--json")[1])["skipped"]) == 41


def test_index_passes_over_what_exclude_names_and_remembers_it(run: Run, photos: Path) -> None:
    (photos / "clip.mp4").write_bytes(b"film")
    status, output, errors = run("index", photos, "--encoder", "pixels", "--exclude", "trip/", "--exclude", "*.mp4")
    assert (status, errors) == (0, "")
    count = int(output.split(":")[1].split()[0])
    assert 0 < count < 12
    assert f"{count} images ({count} unchanged)" in run("index", photos)[1]
    assert json.loads(run("index", photos, "--json")[1])["images"] == count
    assert "ignore       trip/, *.mp4\n" in run("info", photos)[1]
    output, errors = run("index", photos, "--exclude", "")[1:]
    assert f"12 images ({12 - count} added, {count} unchanged, 1 skipped)" in output
    assert errors == "lookalike: skipped clip.mp4: a video is not read; save a frame of it as JPEG\n"


def test_a_wrong_pattern_is_named_in_a_line(run: Run, photos: Path) -> None:
    status, _, errors = run("index", photos, "--encoder", "pixels", "--exclude", "*a*b*c*d*")
    assert status == 1
    assert errors == ("lookalike: error: --exclude: '*a*b*c*d*' has more than 3 asterisks between slashes\n")


def test_strict_turns_skipped_files_into_status_three(run: Run, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"text")
    assert run("index", photos, "--encoder", "pixels", "--strict")[0] == 3
    assert run("index", photos)[0] == 0


def test_an_index_run_fails_where_everything_failed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    status, _, errors = run("index", tmp_path, "--encoder", "pixels")
    assert status == 1
    assert errors.splitlines()[-1] == f"lookalike: error: {tmp_path}: none of 1 image could be used"


def test_an_empty_folder_is_no_error_but_is_said(run: Run, tmp_path: Path) -> None:
    status, _, errors = run("index", tmp_path, "--encoder", "pixels")
    assert (status, errors) == (0, f"lookalike: {tmp_path} holds no images\n")


def test_several_folders_without_a_collection_get_one_each(run: Run, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture(80).save(other / "x.png")
    run("index", photos, other, "--encoder", "pixels")
    assert (photos / ".lookalike").is_dir()
    assert (other / ".lookalike").is_dir()
    _, output, _ = run("index", photos, other, "--encoder", "pixels", "--collection", tmp_path / "both")
    assert "13 images" in output


def test_remove_and_verify(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    assert run("remove", photos, "01.jpg")[1].endswith("1 removed, 11 images left\n")
    assert run("verify", photos)[1].endswith("11 images, all whole\n")
    vectors = photos / ".lookalike" / "vectors.f32"
    data = bytearray(vectors.read_bytes())
    data[3] ^= 1
    vectors.write_bytes(data)
    status, output, errors = run("verify", photos)
    assert status == 1
    assert output.startswith("row 0: ")
    assert "--repair" in errors
    assert run("verify", photos, "--repair")[0] == 0
    assert run("verify", photos)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["search", "{photos}", "x.jpg"], 1, "has not been indexed; run `lookalike index {photos}`"),
        (["search", "{photos}/nowhere", "x.jpg"], 1, "{photos}/nowhere: no such folder or collection"),
        (["index", "{photos}/nowhere"], 1, "{photos}/nowhere: no such folder or collection"),
        (["index", "{photos}/01.jpg", "--collection", "{photos}/c"], 1, "is one image; index the folder"),
        (["search", "{photos}", "x.jpg", "-k", "0"], 2, "'0' cannot be used; give 1 or more"),
        (["search", "{photos}", "x.jpg", "--box", "1,2,3"], 2, "four numbers are wanted"),
        (["search", "{photos}", "x.jpg", "--json", "-0"], 2, "exclude each other"),
        (["search", "{photos}", "x.jpg", "--colour"], 2, "No such option"),
        (["search", "{photos}/01.jpg", "x.jpg"], 1, "01.jpg is no folder and no collection; `lookalike index"),
        (["frobnicate"], 2, "No such command"),
        (["search", "{photos}"], 2, "name a QUERY"),
        (["search", "{photos}", "x.jpg", "--exact", "l2", "--text", "red"], 2, "--exact l2 goes with one query image"),
        (["remove", "{photos}"], 2, "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_its_status(
    run: Run, photos: Path, arguments: list[str], status: int, message: str
) -> None:
    ended, output, errors = run(*(argument.format(photos=photos) for argument in arguments))
    assert (ended, output) == (status, "")
    assert message.format(photos=photos) in errors
    if status == 1:
        assert len(errors.splitlines()) == 1


@pytest.mark.usefixtures("own_cache")
def test_a_place_that_cannot_be_written_to_is_one_line(run: Run, photos: Path) -> None:
    (photos / "class").mkdir()
    for number in (90, 91):
        picture(number).save(photos / "class" / f"{number}.png")
    out = photos / "01.jpg"
    status, _, errors = run("evaluate", "folders", "--root", photos, "--encoder", "thumbnail", "--out", out)
    assert (status, errors) == (1, f"lookalike: error: {out} is a file; name a folder for what is written\n")


@pytest.mark.usefixtures("own_cache")
def test_an_explanation_is_written_beside_the_three_reports(run: Run, tmp_path: Path) -> None:
    render(tmp_path / "town", buildings=2, views=3, distractors=0)
    out = tmp_path / "out"
    asked = ("evaluate", "vgg", "--root", tmp_path / "town", "--encoder", "thumbnail", "-k", "3")
    status, output, _ = run(*asked, "--explain", "--out", out)
    assert (status, "what each fault is worth" in output) == (0, True)
    names = {"explanation.json", "explanation.txt", "report.json", "report.md", "report.html"}
    assert {file.name for file in out.iterdir()} == names
    assert json.loads((out / "report.json").read_text())["map"] == json.loads(run(*asked, "--json")[1])["map"]


@pytest.mark.usefixtures("own_cache")
def test_a_run_is_written_and_scored_again(run: Run, tmp_path: Path) -> None:
    render(tmp_path / "town", buildings=2, views=3, distractors=0)
    files = [tmp_path / name for name in ("run", "qrels", "junk")]
    options = [word for file in files for word in (f"--{file.name}", file)]
    asked = ("evaluate", "vgg", "--root", tmp_path / "town", "--encoder", "thumbnail", "-k", "3", "--json")
    status, output, errors = run(*asked, *options)
    assert (status, all(f"wrote {file}" in errors for file in files)) == (0, True)
    judged = ("evaluate", "run", files[0], *options[2:], "-k", "3")
    assert json.loads(run(*judged, "--json")[1])["map"] == json.loads(output)["map"]
    assert run(*judged, "--out", tmp_path / "out")[0] == 0
    assert "<figure" not in (tmp_path / "out" / "report.html").read_text()
    assert (
        run(*judged, "--root", tmp_path)[0]
        == run("evaluate", "run", files[0])[0]
        == run(*asked, "--explain", *options)[0]
        == 2
    )
    assert run("evaluate", "vgg", files[0], "--root", tmp_path / "town")[0] == 2


@pytest.mark.usefixtures("own_cache")
def test_a_report_is_measured_again(run: Run, tmp_path: Path) -> None:
    render(tmp_path / "town", buildings=2, views=3, distractors=0)
    out = tmp_path / "out"
    assert run("evaluate", "vgg", "--root", tmp_path / "town", "--encoder", "thumbnail", "--out", out)[0] == 0
    status, output, _ = run("evaluate", "--again", out / "report.json", "--json", "--out", tmp_path / "again")
    assert (status, json.loads(output)["same"]) == (0, True)
    assert (tmp_path / "again" / "report.html").exists()
    assert "all figures of 4 queries are the same" in run("evaluate", "--again", out / "report.json")[1]
    for other in (["vgg"], ["--uncropped"], ["--calibration"], ["--junk", tmp_path / "junk"], ["--device", "cpu"]):
        assert run("evaluate", *other, "--again", out / "report.json")[0] == 2
    assert run("evaluate")[0] == 2


def commands() -> list[list[str]]:
    import typer

    from lookalike.cli import app

    names = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        names += [[name], *([name, inner] for inner in getattr(command, "commands", {}))]
    return names


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_help_ends_in_an_example(run: Run, command: list[str]) -> None:
    status, output, _ = run(*command, "--help")
    assert status == 0
    assert f"Example: lookalike {' '.join(command)}" in output.strip().splitlines()[-1]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_says_what_a_person_writes_not_the_types_of_python(run: Run, command: list[str]) -> None:
    placeholders = re.findall(r"<([^>]*)>", run(*command, "--help")[1])
    # What is left is a choice between words, which are what a person writes.
    assert [each for each in placeholders if "|" not in each] == []


def test_the_version_is_printed_without_a_command(run: Run) -> None:
    assert run("--version") == (0, f"lookalike {lookalike.__version__}\n", "")


@pytest.mark.parametrize("command", [["index", "--rebuild"], ["compact"]], ids=" ".join)
def test_what_costs_the_index_says_so(run: Run, tmp_path: Path, command: list[str]) -> None:
    for number in range(24):
        picture(number).save(tmp_path / f"{number}.png")
    run("index", tmp_path, "--encoder", "pixels")
    run("optimize", tmp_path, "--index", "Flat")
    assert (tmp_path / ".lookalike" / "index" / "index.json").is_file()
    assert "index went" not in run("index", tmp_path)[2]
    _, _, errors = run(command[0], tmp_path, *command[1:])
    assert errors == "lookalike: the index went with the old row numbers; run `lookalike optimize` again\n"


def test_debug_shows_the_traceback(photos: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "lookalike", "search", str(photos), "x", "--debug"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "Traceback" in run.stderr


def test_a_closed_pipe_is_no_error(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "pixels")
    command = f"{sys.executable} -m lookalike info {photos} | true"
    piped = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert piped.stderr == ""


@pytest.mark.parametrize("lines", [3, 100_000])
def test_a_reader_that_ends_early_never_changes_the_status(lines: int) -> None:
    """Whether a line fails to be written while the command runs, or only what is flushed at its end."""
    code = (
        "from lookalike.cli import app, main\n"
        "@app.command()\n"
        "def many() -> None:\n"
        f"    for number in range({lines}):\n"
        '        print("a line of some letters", number)\n'
        'main(["many"])'
    )
    command = 'trap "" PIPE; "$0" -c "$1" | true; echo ${PIPESTATUS[0]}'
    done = subprocess.run(["bash", "-c", command, sys.executable, code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_terminal_of_another_encoding_shows_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "Фото 日本"
    folder.mkdir()
    for number in range(3):
        picture(number).save(folder / f"{number} ★ é.png")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}

    def run(*words: object) -> tuple[int, bytes]:
        command = [sys.executable, "-m", "lookalike", *map(str, words)]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert b"Traceback" not in done.stderr
        return done.returncode, done.stdout

    query = folder / "1 ★ é.png"
    assert run("index", folder, "--encoder", "thumbnail")[0] == 0
    assert (run("info", folder)[0], rb"\u65e5\u672c" in run("info", folder)[1]) == (0, True)
    for words in (["search", folder, query], ["duplicates", folder], ["verify", folder]):
        assert run(*words)[0] == 0
    assert run("index", tmp_path / "Ш") == (1, b"")


@pytest.mark.parametrize("stated", [{"format": 1}, {"format": 0, "dim": "many"}])
def test_the_command_that_is_named_for_a_collection_of_an_older_release_works(
    run: Run, photos: Path, stated: dict[str, object]
) -> None:
    assert run("index", photos, "--encoder", "thumbnail")[0] == 0
    header = photos / ".lookalike" / "collection.json"
    values = json.loads(header.read_text())
    values.pop("checksum")
    header.write_text(json.dumps({**values, **stated}))
    for words in (["search", photos, photos / "01.jpg"], ["index", photos], ["info", photos], ["duplicates", photos]):
        status, _, errors = run(*words)
        assert (status, errors.count("\n")) == (1, 1)
    command = re.search("`lookalike (.*)`", errors)
    assert command
    assert command[1] == f"index {photos} --rebuild"
    status, output, _ = run(*command[1].split())
    assert (status, "12 added" in output) == (0, True)
    # Its own encoder, not the default one.
    assert json.loads(run("info", photos, "--json")[1])["encoder"] == "thumbnail"
