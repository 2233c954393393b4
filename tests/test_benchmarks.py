"""The benchmarks run, on little data and shrunken models; what they print is for people to read."""

import queue
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import evaluate_scale
import fake_weights
import pytest

from lookalike import evaluate
from lookalike.encoders import load_encoder
from lookalike.evaluation.answers import embed_gallery
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets import synthetic as scenes
from tests.encoders import checkpoints
from tests.support import ROOT
from tests.support.pictures import picture
from tests.support.vectors import planted

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_cache: Path) -> Run:
    """A benchmark's `main` with arguments, on models of three narrow blocks; what it printed."""
    shape = checkpoints.shrunken("dinov2-small")
    monkeypatch.setattr(fake_weights, "architecture", lambda _: shape)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for seed in range(9):
        picture(seed, (300, 240)).save(folder / f"{seed}.jpg")
    return folder


def test_the_gpu_benchmark_runs_on_a_processor(run: Run, jpegs: Path) -> None:
    options = ["--device", "cpu", "--models", "dinov2-small", "--batch", 4, "--seconds", 0.05]
    printed = run("encode_gpu", jpegs, *options)
    assert "a bf16 matrix product reaches" in printed
    name, *figures = printed.splitlines()[-1].split()
    assert name == "dinov2-small"
    assert len(figures) == 4


def test_the_encoding_benchmark_sets_the_reports_pipeline_beside_ours(run: Run, jpegs: Path, tmp_path: Path) -> None:
    """Its own code is not in the repository; this has its two functions."""
    report = tmp_path / "report_pipeline.py"
    report.write_text(
        "import numpy, torch\n"
        "from PIL import Image\n"
        "from transformers import Dinov2Model\n"
        "def load(model): return Dinov2Model.from_pretrained(model).eval()\n"
        "def pixels(path):\n"
        "    array = numpy.asarray(Image.open(path).resize((224, 224)), numpy.float32) / 255\n"
        "    return torch.from_numpy(array.transpose(2, 0, 1)[None])\n"
    )
    printed = run("encode", jpegs, "--report", report, "--images", 4, "--rounds", 1, "--model", "dinov2-small")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in printed.splitlines() if line.startswith("| ")][1:]
    pairs = [f"ours, {name}{tail}" for name in ("fp32", "int8", "torch bf16") for tail in (", bare", "")]
    assert rows == ["the report's pipeline", *pairs]
    assert "random weights (the same work, no meaning)" in printed


def test_the_table_of_operators_says_where_the_time_of_both_graphs_goes(run: Run, jpegs: Path) -> None:
    printed = run("encode", jpegs, "--operators", "--images", 4, "--rounds", 1, "--model", "dinov2-small")
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][1:]
    for precision, product in {"fp32": "Gemm", "int8": "DynamicQuantizeMatMul"}.items():
        kinds = {row[1]: row[2:] for row in rows if row[0] == precision}
        assert kinds["all"][1] == "100.0%"
        assert {product, "MultiHeadAttention", "others"} <= set(kinds)
        assert sum(int(row[0]) for kind, row in kinds.items() if kind != "all") == int(kinds["all"][0])


def event(
    kind: str, start: int, inputs: list[list[int]], output: list[int], microseconds: int = 4
) -> dict[str, object]:
    shapes = {"input_type_shape": [{"float": shape} for shape in inputs], "output_type_shape": [{"float": output}]}
    args = {"op_name": kind, **shapes}
    return {"name": f"{kind} a_kernel_time", "ts": start, "dur": microseconds, "args": args}


def test_operators_are_counted_in_the_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of 3 times 3 x 5 are 60 operations, 2 us at 30 a us; 2 tokens of 4 numbers that attend to 3 are 96."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import operators

    fast = [event("Gemm", 201, [[2, 3], [3, 5]], [2, 5]), event("Add", 207, [[2, 5], [5]], [2, 5], 1)]
    fast += [event("MultiHeadAttention", 209, [[1, 2, 4], [1, 3, 4], [1, 3, 4]], [1, 2, 4], 3)]
    runs = [{"name": "model_run", "ts": start, "dur": took} for start, took in ((100, 50), (200, 10))]
    found = operators.costs([event("Gemm", 101, [[2, 3], [3, 5]], [2, 5]), *fast, *runs])
    assert {kind: (cost.nodes, cost.operations) for kind, cost in found.items()} == {
        "Gemm": (1, 60),
        "MultiHeadAttention": (1, 96),
        "between": (0, 0),
        "Add": (1, 0),
    }
    assert [round(cost.seconds * 1e6) for cost in found.values()] == [4, 3, 2, 1]
    assert operators.rows("fp32", found, images=2, peak=0.03)[1] == [
        "fp32", "Gemm", "1", "40.0%", "0.00", "0.00", "0", "50%", "20.0%",
    ]  # fmt: skip


def test_openvino_is_named_where_it_is_missing(run: Run, jpegs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(SystemExit, match="openvino is not installed; `pip install openvino` does it"):
        run("encode", jpegs, "--openvino", "--images", 1, "--model", "dinov2-small")


@pytest.mark.parametrize(
    ("options", "name"), [(("--encoder", "thumbnail"), "thumbnail"), (("--stand-in", 0.1), "stand-in of 0.1 ms")]
)
def test_the_indexing_benchmark_sets_a_run_beside_the_bare_encoder(
    run: Run, jpegs: Path, options: tuple[object, ...], name: str
) -> None:
    printed = run("index", jpegs, *options, "--repeats", 1)
    bare, whole = printed.splitlines()[-2:]
    assert bare.startswith(f"| {name}, bare | 9 |")
    assert whole.startswith(f"| {name}, indexing | 9 |")
    assert whole.endswith("% |")


def test_the_indexing_benchmark_sets_a_run_without_facts_beside_it(run: Run, jpegs: Path) -> None:
    printed = run("index", jpegs, "--encoder", "thumbnail", "--repeats", 1, "--facts").splitlines()
    assert printed[0].endswith("; 0 of 9 files have EXIF.")
    assert printed[-3].startswith("| thumbnail, indexing without facts | 9 |")
    assert printed[-1].startswith("thumbnail: facts take ")


def test_the_benchmark_of_assistants_asks_every_tool(run: Run, jpegs: Path) -> None:
    rows = run("assistant", "--photos", jpegs, "--encoder", "thumbnail", "--calls", 2).splitlines()
    assert rows[0].startswith("9 images, thumbnail. Started in ")
    assert [row.split("|")[1].split()[0] for row in rows[4:]] == ["search"] * 3 + ["similar", "facts", "explain"]


def test_the_benchmark_of_evaluations_at_scale_evaluates_among_made_up_rows(tmp_path: Path, own_cache: Path) -> None:
    scenes.render(tmp_path / "town", buildings=2, views=3, seed=0, distractors=0)
    benchmark, encoder = load("vgg", tmp_path / "town"), load_encoder("thumbnail")
    with embed_gallery(benchmark, encoder, tmp_path / "cache").collection as collection:
        folder = collection.path
    evaluate_scale.grow(folder, 5000, encoder.dim)
    answer: queue.SimpleQueue[tuple[int, float, float]] = queue.SimpleQueue()
    evaluate_scale.measured(benchmark, tmp_path / "cache", answer)
    assert answer.get()[0] == 5006


def test_the_precision_benchmark_compares_random_and_trained_weights(run: Run, jpegs: Path, tmp_path: Path) -> None:
    folder = checkpoints.write(checkpoints.shrunken("dinov2-small"), tmp_path / "mine", seed=1)
    printed = run("precision", jpegs, "--rounds", 1, "--checkpoint", folder)
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [
        ["dinov2-small, random", "fp32"],
        ["dinov2-small, random", "int8"],
        ["mine", "fp32"],
        ["mine", "int8"],
    ]
    assert rows[0][2:6] == ["1.00000", "1.00000", "100.0%", "100.0%"]
    assert 0.99 < float(rows[1][2]) < 1


def test_the_precision_benchmark_takes_an_encoder_by_its_name(run: Run, jpegs: Path) -> None:
    printed = run("precision", jpegs, "--rounds", 1, "--encoder", "efficientnet-lite0@fit-64")
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [["efficientnet-lite0@fit-64", precision] for precision in ("fp32", "int8")]
    assert 0.9 < float(rows[1][2]) < 1


def test_an_encoder_joined_with_another_is_itself_where_that_has_no_weight(run: Run, six_buildings: Path) -> None:
    name = "efficientnet-lite0@fit-64"
    alone = f"{evaluate('vgg', six_buildings, name).map:.4f}"
    for first, share in (("thumbnail", 1), (name, 0.5)):
        printed = run("joined", six_buildings, "--encoders", first, name, "--shares", share)
        assert f"| {share} | {alone} |" in printed.splitlines()
        assert "photos/s alone" in printed


def test_the_search_benchmark_sets_ours_beside_faiss_and_keeps_what_it_built(run: Run, tmp_path: Path) -> None:
    options = ["--cache", tmp_path, "--rows", 2000, "--dim", 32, "--index", "IVF16,SQ8", "--alone"]
    assert run("search", *options, "--build") == ""
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "2000x32").iterdir() if file.is_file()}
    printed = run("search", *options, "--rounds", 2, "--singles", 3)
    assert (
        kept.items()
        <= {file.name: file.stat().st_mtime_ns for file in (tmp_path / "2000x32").iterdir() if file.is_file()}.items()
    )
    named = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ") and "---" not in line]
    assert {"ours, exact", "faiss, exact", "ours, IVF16,SQ8"} <= set(named)
    assert "of the matrix product's" in printed


def test_the_benchmark_of_options_has_a_row_for_each_and_keeps_its_collection(run: Run, tmp_path: Path) -> None:
    options = ["--cache", tmp_path, "--rows", 2000, "--dim", 16, "--index", "IVF8,Flat", "--rounds", 2, "--searches", 3]
    printed = run("options", *options)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == ["plain", "recall", "where", "both"]
    assert rows[1][2] == "1.00"
    assert all(float(row[1]) > 0 and float(row[2]) > 0 for row in rows[1:])
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    run("options", *options)
    assert kept == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}


def test_the_growth_benchmark_goes_on_where_it_stopped_and_draws_what_it_measured(run: Run, tmp_path: Path) -> None:
    options = ["--place", tmp_path, "--rows", 200, "--plot", tmp_path / "growth.svg"]
    first = run("growth", *options)
    assert [line.split("|")[1].strip() for line in first.splitlines() if line.startswith("| ")][1:] == ["200"]
    assert "![Seconds by number of rows, both axes logarithmic](growth.svg)" in first
    plot = ElementTree.parse(tmp_path / "growth.svg").getroot()
    assert len(plot.findall("{http://www.w3.org/2000/svg}polyline")) == 6
    assert run("growth", *options).splitlines()[:3] == first.splitlines()[:3]


def test_the_reranking_benchmark_has_a_row_a_chain(run: Run, tmp_path: Path) -> None:
    scenes.render(tmp_path / "town", buildings=2, views=3, distractors=2)
    chain = "spatial,top=5 + average-qe,k=2"
    options = ["--encoder", "thumbnail", "--cache", tmp_path / "cache", "--only", "alpha-qe,k=2", chain]
    rows = [line.split("|") for line in run("rerank", tmp_path / "town", *options).splitlines()[-3:]]
    assert [row[1].strip() for row in rows] == ["none", "alpha-qe,k=2", chain]
    assert all(0 < float(row[2]) <= 1 for row in rows)
    assert all("…" in row[4] for row in rows[1:])


def test_the_speed_of_every_reranker_is_a_row(run: Run, jpegs: Path) -> None:
    printed = run("rerank_speed", jpegs, "--vectors", 3000, "--dim", 16, "--top", 5, "--rounds", 1)
    assert "spatial, 5 candidates with cached keypoints" in printed
    assert len([line for line in printed.splitlines() if line.startswith("| ") and "median" not in line]) == 9


def test_a_cold_search_loads_neither_torch_nor_what_it_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cold_search

    for name in ("HF_HOME", "HF_HUB_OFFLINE", "LOOKALIKE_CACHE"):
        monkeypatch.setenv(name, "")  # `prepare` sets them for good
    place = cold_search.prepare(tmp_path, "dinov2-base", 300, checkpoints.shrunken("dinov2-base"))
    _, milliseconds = cold_search.search(place)
    assert milliseconds > 0
    assert set(cold_search.loaded(place)) == {"typer", "onnxruntime"}


def test_what_is_recorded_names_the_machine_and_the_command_and_no_path_of_it() -> None:
    import record

    text = record.section("Speed", ["benchmarks/index.py", "/home/me/photos", "--images", "9"], "| a |\n")
    assert "$ python benchmarks/index.py photos --images 9\n" in text
    assert "/home/me" not in text
    assert "cores, " in text.splitlines()[2]
    page = record.replaced("# Page\n\n## Other\n\nkept\n", "Speed", text)
    assert page == f"# Page\n\n## Other\n\nkept\n\n{text}"
    again = record.replaced(page, "Other", "## Other\n\nnew\n")
    assert again.index("new") < again.index("## Speed")
    assert "kept" not in again


def test_the_serving_benchmark_has_a_row_for_each_number_of_clients(run: Run, jpegs: Path) -> None:
    printed = run("serve", "--encoder", "thumbnail", "--photos", jpegs, "--seconds", 0.5, "--clients", "1,4")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()[-6:]]
    assert [row[:2] for row in rows] == [[kind, clients] for kind in ("photo", "id", "vector") for clients in "14"]
    assert all(float(row[2]) > 0 for row in rows)
    assert all(row[7:9] == ["0", "0"] for row in rows)


def test_the_adaptation_benchmark_measures_held_out_groups(run: Run, tmp_path: Path) -> None:
    planted(tmp_path / "things").close()
    labels = tmp_path / "labels.csv"
    labels.write_text("key,label\n" + "".join(f"{number // 4}/{number}.jpg,{number // 4}\n" for number in range(48)))
    printed = run("adapt", tmp_path / "things", "--labels", labels).splitlines()
    assert printed[0] == "thumb: 48 labelled images of 12 groups, 0 unlabelled"
    for line, held_out, queries in zip(
        printed[-2:], ("held out in turn", "two groups in turn"), (48, 528), strict=True
    ):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:3] == ["the other groups", held_out, str(queries)]
        assert float(cells[4]) > float(cells[3]) + 0.1


def test_the_calibration_benchmark_measures_an_encoder_and_what_its_confidence_costs(
    run: Run, jpegs: Path, three_buildings: Path
) -> None:
    options = ["--encoder", "thumbnail", "--time", jpegs / "0.jpg", jpegs / "1.jpg", "--rounds", 1]
    printed = run("calibration", three_buildings, "--distractors", jpegs, *options)
    assert printed.startswith("## thumbnail\n\ncalibration: ")
    assert "9 distractors as queries" in printed
    names = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert {"search by a photo", "its confidence, a photo", "search by a key", "verification"} <= set(names)
