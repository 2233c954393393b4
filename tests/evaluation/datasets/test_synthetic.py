"""The made-up town: its layout on disk, that it stays the same, and that it measures what it says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.oxford import read_groundtruth
from lookalike.evaluation.datasets.synthetic import render
from lookalike.evaluation.datasets.synthetic.buildings import Building, build
from lookalike.evaluation.datasets.synthetic.landscapes import LANDSCAPES, landscape
from lookalike.evaluation.datasets.synthetic.paint import WALLS, Canvas
from lookalike.evaluation.datasets.synthetic.roofs import ROOFS
from lookalike.evaluation.datasets.synthetic.styles import RECIPES, draw_style
from lookalike.evaluation.datasets.synthetic.surroundings import GROUNDS, LIGHTS
from lookalike.evaluation.datasets.synthetic.views import Shot, camera_for, photograph


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    render(folder, buildings=4, views=6, seed=0, distractors=7)
    return folder


@pytest.fixture(scope="module")
def mill() -> Building:
    rng = np.random.default_rng(3)
    return build(draw_style(RECIPES["mill"], rng), rng)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(town: Path, part: str) -> list[str]:
    return (town / "groundtruth" / f"{part}.txt").read_text().split()


def test_every_building_has_its_views_and_every_kind_of_scenery_one_picture(town: Path) -> None:
    pictures = sorted(path.name for path in (town / "images").iterdir())
    assert [name for name in pictures if name.startswith("tower")] == [f"tower_{n:06d}.jpg" for n in range(1, 7)]
    assert len(pictures) == 4 * 6 + 7
    assert {f"{kind}_000001.jpg" for kind in LANDSCAPES} <= set(pictures)


def test_pictures_are_colourful_and_of_a_photographs_size(town: Path) -> None:
    for path in (town / "images").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.format) == ("RGB", "JPEG")
            assert 450 <= max(image.size) <= 640
            assert np.asarray(image).std() > 4


def test_ground_truth_reads_as_the_vgg_layout(town: Path) -> None:
    queries = read_groundtruth(town / "groundtruth")
    assert [query.name for query in queries] == [
        f"{n}_{q}" for n in ("bakery", "church", "tower", "townhall") for q in (1, 2)
    ]
    for query in queries:
        assert (town / "images" / f"{query.image}.jpg").is_file()
        with Image.open(town / "images" / f"{query.image}.jpg") as image:
            assert 0 <= query.box.left < query.box.right <= image.width
            assert 0 <= query.box.top < query.box.bottom <= image.height


def test_each_view_has_exactly_one_grade_and_the_query_is_a_good_one(town: Path) -> None:
    for name in ("tower", "church", "townhall", "bakery"):
        graded = [photo for grade in ("good", "ok", "junk") for photo in names(town, f"{name}_1_{grade}")]
        assert sorted(graded) == [f"{name}_{n:06d}" for n in range(1, 7)]
        for query in (1, 2):
            assert names(town, f"{name}_{query}_query")[0] in names(town, f"{name}_{query}_good")


def test_the_view_behind_obstacles_is_junk(town: Path) -> None:
    assert all(f"{name}_000006" in names(town, f"{name}_1_junk") for name in ("tower", "church", "townhall", "bakery"))


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        render(tmp_path / folder, buildings=1, views=2, seed=seed, distractors=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["images/tower_000001.jpg"] != contents(tmp_path / "c")["images/tower_000001.jpg"]


def test_a_larger_town_keeps_the_pictures_of_a_smaller_one(town: Path, tmp_path: Path) -> None:
    render(tmp_path, buildings=2, views=2, seed=0, distractors=2)
    larger = contents(town)
    assert all(larger[name] == data for name, data in contents(tmp_path).items() if name.startswith("images"))


def test_rendering_again_leaves_unchanged_files_alone(tmp_path: Path) -> None:
    render(tmp_path, buildings=1, views=2, distractors=0)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    (tmp_path / "images" / "tower_000002.jpg").write_bytes(b"cut short")
    render(tmp_path, buildings=1, views=2, distractors=0)
    changed = [path.name for path, mtime in before.items() if path.stat().st_mtime_ns != mtime]
    assert changed == ["tower_000002.jpg"]


def test_a_folder_with_other_files_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").touch()
    with pytest.raises(EvaluationError, match=r"holds other files \('holiday.jpg'\)"):
        render(tmp_path, buildings=1, views=1, distractors=0)


def test_a_town_without_buildings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="0 buildings"):
        render(tmp_path, buildings=0)


def test_names_go_round_when_every_kind_has_been_built(tmp_path: Path) -> None:
    render(tmp_path, buildings=len(RECIPES) + 1, views=1, distractors=0)
    assert (tmp_path / "groundtruth" / "tower2_1_query.txt").is_file()
    assert not (tmp_path / "groundtruth" / "tower2_2_query.txt").exists()


def test_a_clear_view_shows_all_of_the_front_and_the_box_holds_it(mill: Building) -> None:
    view = photograph(mill, "paving", Shot(yaw=0.0, fill=0.8), np.random.default_rng(0))
    height, width = view.rgb.shape[:2]
    assert view.visible == pytest.approx(1.0, abs=0.01)
    assert max((view.box.right - view.box.left) / width, (view.box.bottom - view.box.top) / height) == pytest.approx(
        0.8, abs=0.15
    )


def test_a_close_view_shows_a_part_and_its_box_ends_at_the_frame(mill: Building) -> None:
    view = photograph(mill, "paving", Shot(yaw=0.0, fill=2.0), np.random.default_rng(0))
    assert view.visible == pytest.approx(1 / 4, abs=0.12)  # twice as large as the frame both ways
    assert (view.box.left, view.box.right) == (0, view.rgb.shape[1])


def test_obstacles_are_added_until_enough_is_hidden(mill: Building) -> None:
    view = photograph(mill, "grass", Shot(yaw=0.2, fill=0.8, hidden=0.75), np.random.default_rng(1))
    assert view.visible <= 0.25


def test_a_camera_projects_the_front_where_its_homography_puts_it(mill: Building) -> None:
    camera = camera_for(mill, Shot(yaw=0.4, fill=0.7, roll=0.05), (640, 480))
    plane = camera.plane(np.array([-4.0, 9.0, 0.0]), np.array([1.0, 0, 0]), np.array([0, -1.0, 0]))
    x, y, w = plane @ np.array([64.0, 96.0, 1.0])  # 2 metres to the right, 3 down
    assert camera.project((-2.0, 6.0, 0.0))[:2] == pytest.approx((x / w, y / w))
    assert camera.rays()[240, 320] == pytest.approx(camera.axes[2])


@pytest.mark.parametrize("roof", ROOFS)
def test_every_roof_rises_above_the_wall(roof: str) -> None:
    rng = np.random.default_rng(0)
    style = draw_style(RECIPES["villa"], rng)
    building = build(type(style)(**{**vars(style), "roof": roof}), rng)
    assert building.height > building.body + 20
    assert building.front.cover[0].any()


@pytest.mark.parametrize("kind", RECIPES)
def test_two_buildings_of_a_kind_differ(kind: str) -> None:
    first, second = (draw_style(RECIPES[kind], np.random.default_rng(seed)) for seed in (0, 1))
    assert first != second
    assert first.roof in ROOFS
    assert first.wall in WALLS


@pytest.mark.parametrize("light", LIGHTS)
def test_windows_shine_only_where_it_is_dark(light: str, mill: Building) -> None:
    front = photograph(mill, "paving", Shot(0.0, 0.9, light=light), np.random.default_rng(0))
    dark = photograph(unlit(mill), "paving", Shot(0.0, 0.9, light=light), np.random.default_rng(0))
    assert (front.rgb.mean() > dark.rgb.mean() + 0.1) == (LIGHTS[light].lamps > 0.05)


def unlit(building: Building) -> Building:
    front = Canvas(building.front.rgb)
    front.cover = building.front.cover
    return Building(front, building.side, building.tiles, building.slope, building.width, building.body)


@pytest.mark.parametrize("kind", LANDSCAPES)
def test_landscapes_repeat_with_the_chance_they_are_given(kind: str) -> None:
    first, again, other = (landscape(kind, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_every_ground_can_be_stood_on(mill: Building) -> None:
    floors = [photograph(mill, ground, Shot(0.0, 0.6), np.random.default_rng(2)).rgb[-40:] for ground in GROUNDS]
    assert len({floor.tobytes() for floor in floors}) == len(GROUNDS)
