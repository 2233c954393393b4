"""Copies of made-up pictures are found at the level that they deserve; pictures of one layout are told apart."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from duplicate_pictures import DRAWN, LAYOUTS, framed, invoice, saved, scaled, screenshot, watermarked, white_art
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from lookalike.analysis.duplicates import Group, Level
from lookalike.analysis.local_candidates import Candidate, candidates
from lookalike.analysis.local_features import LocalFeatures
from lookalike.analysis.rendition import quality_of
from lookalike.collection.collection import Collection
from lookalike.encoders.thumb import Thumbnail
from lookalike.errors import QueryError
from lookalike.storage.maintenance.transfer import import_vectors
from lookalike.types import Progress
from tests.support.pictures import PixelEncoder


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with edges and texture at every scale, different for every seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size)
    for cell in (64, 24, 10):
        shape = (size[1] // cell + 1, size[0] // cell + 1, 3)
        layer = Image.fromarray(rng.integers(0, 256, shape, np.uint8)).resize(size, Image.Resampling.NEAREST)
        image = Image.blend(image, layer, 0.5)
    draw = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = int(rng.integers(size[0])), int(rng.integers(size[1]))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw.ellipse((x, y, x + int(rng.integers(8, 50)), y + int(rng.integers(8, 50))), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.7))


def groups_of(folder: Path, level: Level, encoder: object = None) -> list[Group]:
    with Collection(folder.parent / "c", encoder or Thumbnail(), [folder]) as collection:  # type: ignore[arg-type]
        collection.index()
        return collection.duplicates(level)


def levels_of(groups: list[Group]) -> dict[str, str | None]:
    return {member.item.key: member.level for group in groups for member in group.members}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twelve pictures that have nothing in common."""
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(12):
        scene(number).save(folder / f"{number:02}.png")
    return folder


SAFE: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: saved(image, quality=40),
    "webp": lambda image: saved(image, "WEBP", 60),
    "half": lambda image: saved(scaled(image, 0.5)),
    "twice": lambda image: saved(scaled(image, 2)),
}
TO_LOOK_AT: dict[str, Callable[[Image.Image], bytes]] = {
    "cropped": lambda image: saved(image.crop((48, 36, 272, 204))),
    "mirrored": lambda image: saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "turned": lambda image: saved(image.transpose(Image.Transpose.ROTATE_90)),
    "upside-down": lambda image: saved(image.transpose(Image.Transpose.ROTATE_180)),
    "tilted": lambda image: saved(image.rotate(5, Image.Resampling.BICUBIC)),
    "framed": lambda image: saved(framed(image)),
    "screenshot": lambda image: saved(screenshot(image)),
}


@pytest.mark.parametrize("encoder", [Thumbnail(), PixelEncoder()], ids=["thumbnail", "pixels"])
def test_re_encoded_and_resized_copies_are_near_in_a_collection_of_any_encoder(library: Path, encoder: object) -> None:
    for name, change in SAFE.items():
        (library / f"copy-{name}.img").write_bytes(change(scene(3)))
    (group,) = groups_of(library, "near", encoder)
    assert group.kept.item.key == "03.png"
    assert {member.item.key for member in group.extras} == {f"copy-{name}.img" for name in SAFE}
    assert {member.level for member in group.extras} == {"near"}
    assert group.reason == "lossless format"


@pytest.mark.parametrize("name", TO_LOOK_AT)
def test_cropped_turned_and_framed_copies_are_similar_and_never_spare(library: Path, name: str) -> None:
    (library / f"{name}.img").write_bytes(TO_LOOK_AT[name](scene(5)))
    assert groups_of(library, "near") == []
    (group,) = groups_of(library, "similar")
    assert sorted(member.item.key for member in group.members) == ["05.png", f"{name}.img"]
    assert group.members[1].level == "similar"
    assert group.extras == ()


def test_the_same_pixels_in_another_file_are_the_same_and_no_others(library: Path) -> None:
    scene(2).save(library / "again.bmp")
    (library / "again.jpg").write_bytes(saved(scene(2), quality=95))
    (group,) = groups_of(library, "same")
    assert levels_of([group]) == {"02.png": "exact", "again.bmp": "same"}


@pytest.mark.parametrize("kind", [*DRAWN, *LAYOUTS])
def test_different_pictures_of_one_layout_are_not_near(tmp_path: Path, kind: str) -> None:
    folder, rng = tmp_path / "alike", np.random.default_rng(1)
    folder.mkdir()
    for number in range(6):
        image = DRAWN[kind](rng) if kind in DRAWN else LAYOUTS[kind](scene(number, (300, 220)), number)
        image.save(folder / f"{number}.png")
    assert groups_of(folder, "near") == []


def test_one_changed_digit_of_an_invoice_makes_another_invoice(tmp_path: Path) -> None:
    folder = tmp_path / "invoices"
    folder.mkdir()
    page = invoice(np.random.default_rng(0))
    page.save(folder / "a.png")
    (folder / "a.jpg").write_bytes(saved(page, quality=60))
    last_digit = (522, 240, 531, 262)
    changed = page.copy()
    changed.paste((255, 255, 255), last_digit)
    ImageDraw.Draw(changed).text((523, 240), "4", font=ImageFont.load_default(15), fill=(20, 20, 30))
    assert changed.crop(last_digit).tobytes() != page.crop(last_digit).tobytes()
    changed.save(folder / "b.png")
    (group,) = groups_of(folder, "near")
    assert sorted(member.item.key for member in group.members) == ["a.jpg", "a.png"]


def test_blank_pages_are_copies_only_where_every_pixel_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, shade in {"a.png": 255, "b.bmp": 255, "c.png": 254, "d.png": 250}.items():
        Image.new("RGB", (200, 300), (shade,) * 3).save(folder / name)
    (group,) = groups_of(folder, "near")
    assert levels_of([group]) == {"a.png": "exact", "b.bmp": "same"}


def test_white_shapes_on_transparency_are_seen(tmp_path: Path) -> None:
    folder, rng = tmp_path / "art", np.random.default_rng(2)
    folder.mkdir()
    first = white_art(rng)
    first.save(folder / "a.png")
    first.save(folder / "a.webp", lossless=True, exact=True)
    white_art(rng).save(folder / "b.png")
    Image.new("RGB", (256, 256), "white").save(folder / "blank.png")
    (group,) = groups_of(folder, "near")
    assert levels_of([group]) == {"a.png": "exact", "a.webp": "same"}


def test_a_small_picture_that_was_blown_up_is_not_the_better_copy(tmp_path: Path) -> None:
    folder = tmp_path / "sizes"
    folder.mkdir()
    (folder / "small.jpg").write_bytes(saved(scene(1), quality=90))
    (folder / "huge.jpg").write_bytes(saved(scaled(scene(1), 6), quality=90))
    (group,) = groups_of(folder, "near")
    assert (group.kept.item.key, group.reason) == ("small.jpg", "not enlarged, as the copy of 1920 x 1440 is")
    fine = scene(4, (1280, 960))
    (folder / "fine.jpg").write_bytes(saved(fine, quality=90))
    (folder / "less.jpg").write_bytes(saved(scaled(fine, 0.25), quality=95))
    kept = {group.kept.item.key for group in groups_of(folder, "near")}
    assert kept == {"small.jpg", "fine.jpg"}


def test_a_threshold_is_the_limit_of_candidates(library: Path) -> None:
    (library / "copy.jpg").write_bytes(saved(scene(3), quality=40))
    with Collection(library.parent / "c", Thumbnail(), [library]) as collection:
        collection.index()
        assert len(collection.duplicates("near", 0.5)) == 1, "pictures decide, however low the threshold is"
        assert collection.duplicates("near", 1.0) == []
        with pytest.raises(QueryError, match="a threshold is a cosine"):
            collection.duplicates("near", 2.0)


def test_pictures_that_cannot_be_read_are_said_to_be_so(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1, 0], [1, 0.01]]))
    (tmp_path / "names").write_text("a\nb\n")
    import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")
    with Collection(tmp_path / "c") as collection, pytest.raises(QueryError, match="none of the pictures can be read"):
        collection.duplicates("near")


def test_what_was_computed_once_is_read_from_the_cache(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lookalike.analysis import described

    (library / "copy.jpg").write_bytes(saved(scene(3), quality=40))
    first = groups_of(library, "similar", PixelEncoder())
    monkeypatch.setattr(described, "_made", lambda *_: pytest.fail("computed again"))
    assert levels_of(groups_of(library, "similar", PixelEncoder())) == levels_of(first) != {}


def test_orientation_in_exif_makes_no_other_picture(library: Path) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    scene(7).transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    (library / "lying.png").write_bytes(buffer.getvalue())
    (group,) = groups_of(library, "same")
    assert levels_of([group]) == {"07.png": "exact", "lying.png": "same"}


@pytest.mark.parametrize("last", ["the mirrored one", "the plain one"])
def test_of_two_maps_between_a_pair_the_surer_one_counts(
    library: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """A pair may fit a mirrored map by chance, too; it took the place of the right one, and a framed copy was lost."""
    (library / "framed.jpg").write_bytes(saved(framed(scene(3))))

    def twice(features: Sequence[LocalFeatures], progress: Progress | None = None) -> Iterator[Candidate]:
        for candidate in candidates(features, progress):
            chance = replace(candidate, matrix=candidate.matrix[:, ::-1].copy(), inliers=8)
            yield from (candidate, chance) if last == "the mirrored one" else (chance, candidate)

    monkeypatch.setattr("lookalike.analysis.group_copies.candidates", twice)
    assert levels_of(groups_of(library, "similar")).keys() == {"03.png", "framed.jpg"}


def test_a_photo_joins_its_frame_and_its_screenshot_that_show_too_little_of_each_other(library: Path) -> None:
    """Screenshots have bars in common with all others, so one of them is looked at first."""
    for number in (3, 4, 5):
        (library / f"{number:02}-framed.jpg").write_bytes(saved(framed(scene(number), (120, 70, 30))))
        (library / f"{number:02}-screen.jpg").write_bytes(saved(screenshot(scene(number))))
    groups = groups_of(library, "similar")
    assert [sorted(member.item.key for member in group.members) for group in groups] == [
        [f"{number:02}-framed.jpg", f"{number:02}-screen.jpg", f"{number:02}.png"] for number in (3, 4, 5)
    ]


def brightened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.25)


@pytest.mark.parametrize("change", [brightened, watermarked])
def test_small_pictures_brightened_to_white_or_written_across_are_similar(
    library: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    light = Image.blend(scene(6, (227, 227)), Image.new("RGB", (227, 227), "white"), 0.5)
    light.save(library / "light.png")
    (library / "changed.jpg").write_bytes(saved(change(light)))
    assert levels_of(groups_of(library, "similar")).keys() == {"light.png", "changed.jpg"}


@pytest.mark.parametrize("quality", [30, 50, 60, 75, 90, 95])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "JPEG", quality=quality)
    assert quality_of(file.getvalue()) == pytest.approx(quality, abs=1)
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    assert quality_of(plain.getvalue()) is None
