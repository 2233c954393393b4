"""Regions of a collection: what finds a thing inside a picture, and stays in step with the pictures."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from lookalike.analysis import adapt
from lookalike.collection import reader
from lookalike.collection.collection import Collection
from lookalike.collection.united import open_many
from lookalike.encoders.adaptation import Method, fit
from lookalike.errors import CollectionError, EncoderError, EncoderMismatch, QueryError, SourceError
from lookalike.search.regions import BestPart, RegionView
from lookalike.storage import regions as stored
from lookalike.storage.maintenance.merge import merge
from lookalike.types import Box, Hit, Ids, Vectors
from tests.support.confident import measured
from tests.support.pictures import PixelEncoder, picture

THING = picture(99, (64, 48))
"""Lies in the lower right quarter of `thing.png`, which is one of the parts of a grid."""
QUARTER = Box(64, 48, 128, 96)
BACK = dict(zip(range(2, 9), (0, 3, 1, 5, 2, 6, 4), strict=True))
"""EXIF's orientations to the transpositions by which an upright picture becomes one that is turned so."""
MAIN = ("vectors.f32", "catalog.sqlite", "collection.json")


def write(folder: Path, count: int = 20) -> Path:
    folder.mkdir()
    for seed in range(count):
        picture(seed, (128, 96)).save(folder / f"{seed:02}.png")
    with_thing = picture(50, (128, 96))
    with_thing.paste(THING, (64, 48))
    with_thing.save(folder / "thing.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "photos")


@pytest.fixture
def photos(folder: Path, encoder: PixelEncoder) -> Iterator[Collection]:
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        collection.add_regions("grid")
        yield collection


def first(collection: Collection, **options: object) -> Hit:
    return collection.search(THING, k=1, **options)[0]  # type: ignore[arg-type]


def contents(collection: Collection) -> dict[str, bytes]:
    return {name: (collection.path / name).read_bytes() for name in MAIN}


def test_a_thing_inside_a_picture_is_found_with_its_place(photos: Collection) -> None:
    hit = first(photos)
    assert (hit.key, hit.box) == ("thing.png", QUARTER)
    assert hit.score == pytest.approx(1, abs=1e-5)


def test_without_regions_the_whole_picture_is_compared(photos: Collection) -> None:
    hit = first(photos, regions=False)
    assert hit.box is None
    assert hit.score < 0.5


def test_a_collection_gets_regions_without_its_own_vectors_changing(folder: Path, encoder: PixelEncoder) -> None:
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        before = contents(collection)
        cost = collection.region_cost("grid")
        report = collection.add_regions("grid")
        assert (report.images, report.regions) == (21, 21 * 5)
        assert contents(collection) == before
        assert (cost.images, cost.regions) == (21, 21 * 5)
        assert collection.region_cost("grid").images == 0
        facts = collection.info()["regions"]
    assert (facts["spec"], facts["images"], facts["regions"], facts["dtype"]) == ("grid", 21, 105, "float32")


def test_a_picture_that_is_the_query_comes_whole_and_first(photos: Collection, folder: Path) -> None:
    hits = photos.search(folder / "thing.png", k=2)
    assert (hits[0].key, hits[0].score, hits[0].box) == ("thing.png", 1.0, None)
    assert "thing.png" not in [hit.key for hit in photos.search(folder / "thing.png", k=21, exclude_self=True)]


def test_a_region_of_the_query_is_compared_with_regions(photos: Collection, folder: Path) -> None:
    hit = photos.search(folder / "thing.png", k=1, box=QUARTER)[0]
    assert (hit.key, hit.box) == ("thing.png", QUARTER)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_in_pixels_of_the_upright_picture(tmp_path: Path, encoder: PixelEncoder, orientation: int) -> None:
    folder = write(tmp_path / "photos", 6)
    upright = Image.open(folder / "thing.png").convert("RGB")
    (folder / "thing.png").unlink()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = upright if orientation == 1 else upright.transpose(Image.Transpose(BACK[orientation]))
    turned.save(folder / "turned.jpg", quality=95, exif=exif)
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        collection.add_regions("grid")
        hit = first(collection)
        item = collection.gallery.item(collection.row("turned.jpg") or 0)
    assert (hit.key, hit.box) == ("turned.jpg", QUARTER)
    assert (item.width, item.height) == (128, 96)


def test_a_picture_of_one_pixel_has_one_region_and_a_wide_one_stays_inside_itself(
    tmp_path: Path, encoder: PixelEncoder
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (1, 1), (200, 10, 10)).save(folder / "dot.png")
    picture(1, (9000, 3)).save(folder / "strip.png")
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        collection.add_regions("grid")
        parts = list(Collection(collection.path / "regions").store.catalog.live_items())
    boxes = {name: [stored.box_of(part.key) for part in parts if part.width == width] for name, width in SIZES}
    assert boxes["dot"] == [Box(0, 0, 1, 1)]
    assert all(box and 0 <= box.left < box.right <= 9000 and 0 <= box.top < box.bottom <= 3 for box in boxes["strip"])
    assert len(set(boxes["strip"])) == len(boxes["strip"])


SIZES = (("dot", 1), ("strip", 9000))


def test_a_large_picture_is_decoded_reduced_and_its_boxes_are_of_the_whole(
    tmp_path: Path, encoder: PixelEncoder
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    large = picture(50, (2560, 1920))
    large.paste(THING.resize((1280, 960)), (1280, 960))
    large.save(folder / "large.jpg", quality=95)
    for seed in range(6):
        picture(seed).save(folder / f"{seed}.png")
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        collection.add_regions("grid")
        hit = first(collection)
    assert (hit.key, hit.box) == ("large.jpg", Box(1280, 960, 2560, 1920))


def test_renamed_removed_and_restored_pictures_have_their_regions(
    photos: Collection, folder: Path, encoder: PixelEncoder
) -> None:
    encoded = encoder.encoded
    (folder / "thing.png").rename(folder / "again.png")
    photos.index()
    renamed = first(photos)
    photos.remove(["again.png"])
    without = first(photos)
    photos.restore(["again.png"])
    photos.index()
    assert (renamed.key, renamed.box) == ("again.png", QUARTER)
    assert without.key != "again.png"
    assert first(photos) == renamed
    assert encoder.encoded == encoded + 3, "the query alone was encoded"


def test_changed_and_new_pictures_get_theirs(photos: Collection, folder: Path) -> None:
    picture(60, (128, 96)).save(folder / "thing.png")
    photos.index()
    assert first(photos).score < 0.9
    new = picture(61, (128, 96))
    new.paste(THING, (0, 0))
    new.save(folder / "new.png")
    photos.refresh([folder / "new.png"])
    assert (first(photos).key, first(photos).box) == ("new.png", Box(0, 0, 64, 48))


def test_copies_share_their_regions_and_are_all_found(photos: Collection, folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "thing.png").read_bytes())
    photos.index()
    hits = photos.search(THING, k=3)
    assert {hit.key for hit in hits[:2]} == {"copy.png", "thing.png"}
    assert [hit.box for hit in hits[:2]] == [QUARTER, QUARTER]
    assert photos.info()["regions"]["regions"] == 21 * 5


def test_filters_exclusions_and_cut_offs_hold_for_regions(photos: Collection) -> None:
    assert first(photos, where="key:0*").key.startswith("0")
    assert first(photos, exclude=["thing.png"]).key != "thing.png"
    assert [hit.key for hit in photos.search(THING, k=21, min_score=0.9)] == ["thing.png"]
    assert first(photos, rerank=["alpha-qe,k=1"]).box == QUARTER


def test_regions_that_must_be_there_are_named_with_the_command_that_adds_them(
    folder: Path, encoder: PixelEncoder
) -> None:
    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        with pytest.raises(QueryError, match=r"has no regions; add them: lookalike index .*photos --regions"):
            collection.search(THING, regions=True)


def test_a_spec_that_is_none_is_an_error_and_changes_nothing(photos: Collection) -> None:
    with pytest.raises(EncoderError, match="cubes"):
        photos.add_regions("cubes")
    assert first(photos).box == QUARTER


def test_nothing_is_written_to_regions_behind_a_link(photos: Collection, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (photos.path / "regions").rename(elsewhere)
    (photos.path / "regions").symlink_to(elsewhere)
    before = {file.name: file.read_bytes() for file in elsewhere.iterdir()}
    with Collection(photos.path, PixelEncoder()) as linked:
        changes: list[Callable[[], object]] = [linked.drop_regions, linked.compact, linked.index]
        for change in changes:
            with pytest.raises(CollectionError, match="a symbolic link"):
                change()
        (elsewhere / "collection.json").unlink()  # so that there is something to add
        with pytest.raises(CollectionError, match="a symbolic link"):
            linked.add_regions("grid")
    del before["collection.json"]
    assert {file.name: file.read_bytes() for file in elsewhere.iterdir()} == before


def test_regions_can_be_deleted(photos: Collection) -> None:
    before = contents(photos)
    assert photos.drop_regions()
    assert not photos.drop_regions()
    assert first(photos).box is None
    assert contents(photos) == before
    assert not (photos.path / "regions").exists()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_compact_leaves_regions_of_gone_pictures_behind(photos: Collection, folder: Path, dtype: str) -> None:
    (folder / "00.png").unlink()
    photos.index()
    photos.compact(dtype)
    assert photos.info()["regions"]["regions"] == 20 * 5
    assert photos.info()["regions"]["dtype"] == dtype
    assert (first(photos).key, first(photos).box) == ("thing.png", QUARTER)


def test_whitened_vectors_have_whitened_regions(photos: Collection) -> None:
    photos.whiten(dim=16)
    assert (first(photos).key, first(photos).box) == ("thing.png", QUARTER)
    assert first(photos).score == pytest.approx(1, abs=1e-4)
    assert photos.verify().faults == ()


def test_what_labels_taught_maps_regions_too_and_is_taken_back(
    photos: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = photos.gallery.vectors(np.arange(21))
    learned = fit(rows, np.arange(21) // 3, Method("within", "labels", 0.5), rows.mean(axis=0, dtype=np.float64))
    monkeypatch.setattr(adapt, "learn", lambda *_: (adapt.Adaptation(applied=False, dim=learned.dim), learned))
    before = (photos.path / "regions" / "vectors.f32").read_bytes()
    photos.adapt(folders=True)
    assert (photos.path / "regions" / "vectors.f32").read_bytes() != before
    assert (first(photos).key, first(photos).box) == ("thing.png", QUARTER)
    assert first(photos).score == pytest.approx(1, abs=1e-4)
    new = picture(61, (128, 96))
    new.save(folder / "new.png")
    photos.index()
    assert photos.undo_adapt() == 1
    assert (photos.path / "regions" / "vectors.f32").read_bytes()[: len(before)] == before
    photos.index()
    assert photos.info()["regions"]["images"] == 22
    assert photos.search(new.crop((0, 0, 64, 48)), k=1)[0].box == Box(0, 0, 64, 48)


def test_regions_of_other_vectors_are_never_compared(photos: Collection, caplog: pytest.LogCaptureFixture) -> None:
    kept = photos.path.with_name("kept")
    (photos.path / "regions").rename(kept)
    photos.whiten(dim=16)
    photos.close()
    kept.rename(photos.path / "regions")
    with Collection(photos.path, PixelEncoder()) as again:
        assert first(again).box is None
        assert "are of other vectors" in caplog.text
        with pytest.raises(EncoderMismatch, match="of other vectors"):
            again.search(THING, regions=True)
        again.index()
        assert first(again).box == QUARTER


def test_a_rebuild_makes_regions_anew(photos: Collection, encoder: PixelEncoder) -> None:
    before = encoder.encoded
    photos.index(rebuild=True)
    assert encoder.encoded == before + 21 * 6
    assert first(photos).box == QUARTER


def test_an_interrupted_run_goes_on(folder: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_at_ten(done: int, _: int | None) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with Collection(folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        with pytest.raises(KeyboardInterrupt):
            collection.add_regions("grid", stop_at_ten)
        kept = collection.info()["regions"]["images"]
        assert 0 < kept <= 10
        assert collection.add_regions("grid").images == 21 - kept
        assert first(collection).box == QUARTER


def flip_bit(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0x40
    file.write_bytes(data)


def damaged_row(collection: Collection) -> int:
    parts = Collection(collection.path / "regions")
    with parts:
        return next(
            item.row
            for item in parts.store.catalog.live_items()
            if stored.box_of(item.key) == QUARTER
            and item.sha256 == collection.gallery.content(collection.row("thing.png") or 0)
        )


def test_a_damaged_region_is_left_out_and_embedded_again_after_a_repair(
    photos: Collection, encoder: PixelEncoder
) -> None:
    row = damaged_row(photos)
    photos.close()
    flip_bit(photos.path / "regions" / "vectors.f32", row * 192 * 4 + 3)
    assert first(photos).box != QUARTER
    damage = photos.verify()
    assert damage.rows == ()
    assert damage.faults == ("regions: 1 vector of a part of an image is damaged",)
    assert photos.verify(repair=True)
    before = encoder.encoded
    photos.index()
    assert encoder.encoded == before + 5, "all parts of that picture, and of no other"
    assert (first(photos).key, first(photos).box) == ("thing.png", QUARTER)
    assert not photos.verify()


def test_what_a_search_left_out_is_named_by_its_picture(photos: Collection) -> None:
    row = damaged_row(photos)
    photos.close()
    # The sign of the first number of a vector whose product still is the largest.
    flip_bit(photos.path / "regions" / "vectors.f32", row * 192 * 4)
    first(photos)
    assert photos.damaged == ["thing.png#xywh=64,48,64,48"]


def test_a_catalog_of_regions_that_is_damaged_is_salvaged(photos: Collection) -> None:
    photos.close()
    file = photos.path / "regions" / "catalog.sqlite"
    data = bytearray(file.read_bytes())
    data[8192:12288] = bytes(4096)
    file.write_bytes(data)
    assert any(fault.startswith("regions/catalog.sqlite") for fault in photos.verify().faults)
    photos.verify(repair=True)
    photos.index()
    assert first(photos).box == QUARTER


def test_merged_collections_have_the_regions_of_both(tmp_path: Path, encoder: PixelEncoder) -> None:
    paths = []
    for name, count in (("one", 3), ("two", 5)):
        folder = write(tmp_path / name, count)
        with Collection(folder / ".lookalike", encoder, [folder]) as collection:
            collection.index()
            collection.add_regions("grid")
        paths.append(collection.path)
    merge(paths, tmp_path / "both")
    with Collection(tmp_path / "both", encoder) as both:
        hits = both.search(THING, k=2)
        assert [(hit.key, hit.box) for hit in hits] == [("thing.png", QUARTER), ("two/thing.png", QUARTER)]
        # Pictures of both have their regions once.
        assert both.info()["regions"]["regions"] == 6 * 5
        assert not both.verify()


def test_several_collections_that_are_asked_as_one_count_with_their_regions(
    tmp_path: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "load_encoder", lambda _: encoder)
    for name, count in (("one", 3), ("two", 5)):
        folder = write(tmp_path / name, count)
        picture(70 + count, (128, 96)).save(folder / "thing.png") if name == "one" else None
        with Collection(folder / ".lookalike", encoder, [folder]) as collection:
            collection.index()
            collection.add_regions("grid")
    with open_many([tmp_path / "one", tmp_path / "two"]) as both:
        hit = both.search(THING, k=1)[0]
        assert (hit.key, hit.box) == ("two/thing.png", QUARTER)
        assert both.search(THING, k=1, regions=False)[0].box is None


def test_an_export_names_parts_by_their_pictures(photos: Collection, tmp_path: Path) -> None:
    paths = photos.export(tmp_path / "out", "npy")
    keys = [json.loads(line) for line in (tmp_path / "out" / "regions" / "keys.jsonl").read_text().splitlines()]
    assert tmp_path / "out" / "regions" / "vectors.npy" in paths
    assert "thing.png#xywh=64,48,64,48" in keys
    assert np.load(tmp_path / "out" / "regions" / "vectors.npy").shape == (21 * 5, 192)


def test_a_part_of_a_name_with_a_fragment_is_the_last_fragment() -> None:
    name = stored.part("a#xywh=1,2,3,4.png", Box(10, 20, 40, 60))
    assert name == "a#xywh=1,2,3,4.png#xywh=10,20,30,40"
    assert stored.box_of(name) == Box(10, 20, 40, 60)
    assert stored.box_of("a#xywh=1,2,3,4.png") is None


def test_explain_shows_the_part_that_is_nearest(photos: Collection) -> None:
    explanation = photos.explain(THING, "thing.png")
    assert explanation.part == QUARTER
    assert explanation.to_json()["box"] == [64, 48, 128, 96]
    assert explanation.text().endswith("Nearest is the part 64,48,128,96.")


def test_a_collection_that_is_another_ones_regions_cannot_be_indexed_by_itself(photos: Collection) -> None:
    with Collection(photos.path / "regions", PixelEncoder()) as parts, pytest.raises(SourceError, match="content://"):
        parts.index()


def test_the_best_part_of_each_image_is_worked_out_once_a_search(
    photos: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    looked_at: list[int] = []

    def best(view: RegionView, vectors: Vectors, rows: Ids) -> dict[int, BestPart]:
        looked_at.extend(rows.tolist())
        return look(view, vectors, rows)

    look = RegionView.best
    monkeypatch.setattr(RegionView, "best", best)
    assert first(photos).box == QUARTER
    assert looked_at == [photos.row("thing.png")]
