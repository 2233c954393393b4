"""The benchmark of regions runs: a part of a wall is pasted into a photo, and found by another view of it."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import ROOT
from tests.support.pictures import picture


def test_the_benchmark_of_regions_finds_a_pasted_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(9):
        picture(seed, (300, 240)).save(photos / f"{seed}.jpg")
    images, truth = tmp_path / "views" / "images", tmp_path / "views" / "groundtruth"
    images.mkdir(parents=True)
    truth.mkdir()
    for seed, town in enumerate(("hall", "tower")):
        wall = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8))
        for number, side in enumerate((300, 360)):
            wall.resize((side, side), Image.Resampling.NEAREST).save(images / f"{town}_{number}.jpg", quality=95)
        (truth / f"{town}_query.txt").write_text(f"{town}_0 20 20 280 280")
        (truth / f"{town}_good.txt").write_text(f"{town}_1")
        (truth / f"{town}_ok.txt").write_text("")
    names = ["grid", "whole pictures, refined"]
    options = ["--views", tmp_path / "views", "--encoder", "thumbnail", "--objects", 1, "--side", 0]
    arguments = [photos, *options, "--cache", tmp_path / "kept", "--only", *names]
    monkeypatch.setattr(sys, "argv", ["regions", *map(str, arguments)])
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runpy.run_path(str(ROOT / "benchmarks" / "regions.py"), run_name="__main__")
    printed = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert "1 things in 9 photos" in printed
    assert [row[0] for row in rows if row[0] in names] == ["whole pictures, refined", "grid"] * 2
    assert rows[1][1:4] == ["100", "100", "1.000"]
    truths = json.loads(next((tmp_path / "kept").glob("pasted-*/truth.json")).read_text(encoding="utf-8"))
    assert all(0.015 < each["share"] < 0.21 for each in truths)
