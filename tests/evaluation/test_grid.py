"""Combinations are measured once, resumed, sorted, and marked where no other is as good and as cheap."""

import json
from pathlib import Path

import pytest

import lookalike.search.rerank
from lookalike.errors import EncoderError
from lookalike.evaluation import grid as grids
from lookalike.evaluation.datasets import load
from lookalike.evaluation.grid import Cell, Combinations, Grid, GridRow, Setting, grid, mark_pareto, sizes
from lookalike.types import Gallery, Probe, Ranking
from tests.evaluation.angles import AngleEncoder, paint, vgg

TEN = {f"a{degrees}": float(degrees) for degrees in range(0, 100, 10)}


class Backwards:
    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        return Ranking(ranking.ids[::-1], ranking.scores[::-1])

    def __str__(self) -> str:
        return "backwards"


class Loader:
    """Stands for load_encoder: encoders that take options, and "lost", which does not exist."""

    def __init__(self) -> None:
        self.encoders: dict[str, AngleEncoder] = {}

    def __call__(self, name: str, **options: str) -> AngleEncoder:
        if name == "lost":
            raise EncoderError(f"no encoder {name!r}")
        encoder = AngleEncoder()
        encoder.fingerprint = f"angles {options}"
        return self.encoders.setdefault(str(options), encoder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return vgg(tmp_path / "set", TEN, {"q": ("a0 0 0 32 24", "a0;a10", "")})


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    loader = Loader()
    monkeypatch.setattr(grids, "load_encoder", loader)
    monkeypatch.setattr(lookalike.search.rerank, "parse", lambda spec: {"turn": Backwards()}[spec], raising=False)
    return loader


def measured(root: Path, out: Path, names: list[str]) -> Grid:
    return grid(
        load("vgg", root),
        Combinations(["angles", "lost"], {"pooling": ["cls", "gem"], "preprocess": []}, ["none", "turn"]),
        Setting(k=(5,)),
        out=out,
        cache=out / "cache",
        tell=names.append,
    )


def test_every_combination_is_a_row_sorted_by_map_with_its_cost(root: Path, tmp_path: Path, loader: Loader) -> None:
    names: list[str] = []
    table = measured(root, tmp_path / "out", names)
    assert [(row.cell.name, row.cell.rerank) for row in table.rows[:4]] == [
        ("angles[pooling=cls]", "none"),
        ("angles[pooling=gem]", "none"),
        ("angles[pooling=cls]", "turn"),
        ("angles[pooling=gem]", "turn"),
    ]
    assert table.rows[0].map == 1
    # Turned round, the two positives are at ranks 9 and 10.
    assert table.rows[2].map == pytest.approx((1 / 9 / 2 + (1 / 9 + 2 / 10) / 2) / 2)
    assert table.rows[0].bytes_a_vector == 8
    assert table.rows[0].ms_an_image > 0
    assert [row.refused for row in table.rows[4:]] == ["no encoder 'lost'"] * 4
    assert len(names) == 8
    text = table.text()
    assert "★" in text
    assert "no encoder 'lost'" in text
    assert "| angles[pooling=cls] | none | 1.0000 |" in table.markdown()
    assert json.loads(json.dumps(table.to_json(), allow_nan=False))["rows"][0]["options"] == {"pooling": "cls"}


def test_rerankings_share_their_embeddings(root: Path, tmp_path: Path, loader: Loader) -> None:
    measured(root, tmp_path / "out", [])
    # Ten images and a query, and the timing: one to warm up, then all ten.
    assert [encoder.encoded for encoder in loader.encoders.values()] == [10 + 1 + 1 + 10] * 2


def test_a_grid_goes_on_where_it_stopped(root: Path, tmp_path: Path, loader: Loader) -> None:
    before = measured(root, tmp_path / "out", [])
    reports = sorted((tmp_path / "out").glob("angles-*.json"))
    assert len(reports) == 4
    reports[0].unlink()
    reports[1].write_text("{ cut off")
    names: list[str] = []
    after = measured(root, tmp_path / "out", names)
    assert [name for name in names if name.startswith("angles")] == [
        "angles[pooling=cls] · none",
        "angles[pooling=cls] · turn",
    ]
    assert [(row.cell, row.map) for row in after.rows] == [(row.cell, row.map) for row in before.rows]


def test_another_setting_or_other_distractors_are_another_measurement(
    root: Path, tmp_path: Path, loader: Loader
) -> None:
    out = tmp_path / "out"
    for setting, distractors in (
        (Setting(k=(5,)), []),
        (Setting(k=(5,), uncropped=True), []),
        (Setting(k=(5,)), [root]),
    ):
        grid(load("vgg", root, distractors), Combinations(["angles"]), setting, out=out, cache=out)
    assert len(list(out.glob("*.json"))) == 3


def test_another_ground_truth_or_other_images_or_weights_are_measured_again(
    root: Path, tmp_path: Path, loader: Loader
) -> None:
    out, truth = tmp_path / "out", root / "groundtruth" / "q_good.txt"
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"1")

    def files(encoder: str = "angles") -> int:
        grid(load("vgg", root), Combinations([encoder]), Setting(k=(5,)), out=out, cache=out / "cache")
        return len(list(out.glob("*.json")))

    assert files() == files() == 1
    truth.write_text("a0\na20")
    assert files() == 2
    paint(root / "images" / "a95.png", 95)
    assert files() == 3
    assert files(f"{weights}@pool=gem") == files(f"{weights}@pool=gem") == 4
    weights.write_bytes(b"12")
    assert files(f"{weights}@pool=gem") == 5
    assert files() == 5


def measurement(name: str, map_: float, ms: float, size: int, query: float = 1.0) -> GridRow:
    return GridRow(Cell(name), map_, ms, size, query)


def test_the_pareto_set_is_what_nothing_beats_at_its_cost() -> None:
    rows = mark_pareto(
        [
            measurement("best", 0.9, 100, 3000),
            measurement("cheap", 0.7, 10, 3000),
            measurement("small", 0.6, 100, 100),
            measurement("beaten", 0.65, 20, 3000),
            measurement("as cheap within a tenth", 0.7, 10.5, 3000),
            GridRow(Cell("refused"), refused="no"),
        ]
    )
    assert [row.cell.encoder for row in rows if row.pareto] == ["best", "cheap", "small", "as cheap within a tenth"]


def with_ap(name: str, precisions: list[float], ms: float) -> GridRow:
    mean = sum(precisions) / len(precisions)
    return GridRow(Cell(name), mean, ms, 3000, 1.0, ap={f"q{at}": value for at, value in enumerate(precisions)})


def test_a_star_needs_more_than_noise_over_what_is_cheaper() -> None:
    """`lucky` gains .3 on one query of ten and nothing on the others; `better` gains .1 on all ten."""
    cheap = with_ap("cheap", [0.5] * 10, 10)
    lucky = with_ap("lucky", [0.8] + [0.5] * 9, 50)
    better = with_ap("better", [0.6] * 10, 100)
    assert [row.cell.encoder for row in mark_pareto([cheap, lucky, better]) if row.pareto] == ["cheap", "better"]


def test_of_rows_that_cost_the_same_the_best_has_the_star_and_there_is_always_one() -> None:
    """Each of these is within a tenth of the next in time, and the first is cheaper than the last."""
    rows = [with_ap("a", [0.50, 0.5], 10.0), with_ap("b", [0.51, 0.5], 10.9), with_ap("c", [0.52, 0.5], 11.9)]
    assert [row.cell.encoder for row in mark_pareto(rows[:2]) if row.pareto] == ["b"]
    assert [row.cell.encoder for row in mark_pareto(rows) if row.pareto]


def test_the_table_says_what_cost_is(root: Path, tmp_path: Path, loader: Loader) -> None:
    table = measured(root, tmp_path / "out", [])
    for text in (table.text(), table.markdown(), str(table.to_json()["notes"])):
        assert "bytes/vector in float32" in text
        assert "paired bootstrap" in text


def test_no_file_of_a_grid_has_a_name_that_looks_like_an_option(
    root: Path, tmp_path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    grid(load("vgg", root), Combinations(["/weights/a.onnx", "./@"]), Setting(k=(5,)), out=out, cache=out / "cache")
    names = sorted(file.name.rpartition("-")[0] for file in out.glob("*.json"))
    assert names == ["none", "weights-a-onnx-none"]


def test_several_sizes_are_as_many_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes("dinov2-base@squash-224,336,448") == [f"dinov2-base@squash-{size}" for size in (224, 336, 448)]
    assert sizes("model.onnx@pad-224x112,320,pool=gem") == [
        "model.onnx@pad-224x112,pool=gem",
        "model.onnx@pad-320,pool=gem",
    ]
    for single in (
        "dinov2-base",
        "dinov2-base@squash-224",
        "dinov2-base@squash-224,pool=gem",
        "rootsift",
        "a,3@pool=gem",
    ):
        assert sizes(single) == [single]
    assert sizes("squash-224,336") == ["squash-224", "squash-336"]
    monkeypatch.chdir(tmp_path)
    Path("my@squash-1,2").write_bytes(b"")
    assert sizes("my@squash-1,2") == ["my@squash-1,2"], "a file of that name is a file"


def test_a_sweep_of_sizes_is_a_row_for_each_with_its_cost(root: Path, tmp_path: Path) -> None:
    combinations = Combinations(["efficientnet-lite0@squash-64,128"])
    table = grid(load("vgg", root), combinations, Setting(k=(5,)), out=tmp_path / "out", cache=tmp_path / "cache")
    assert {row.cell.encoder for row in table.rows} == {
        "efficientnet-lite0@squash-64",
        "efficientnet-lite0@squash-128",
    }
    assert all(row.refused is None for row in table.rows)
    assert all(row.ms_an_image > 0 for row in table.rows)
    both = Combinations(["a"], {"preprocess": ["squash-64,128", "crop-64"]})
    assert [dict(cell.options)["preprocess"] for cell in both.cells()] == ["squash-64", "squash-128", "crop-64"]
