"""Draw docs/results.jpg: two of the demo's queries with their best results, and changed copies that `duplicates` finds.

The queries are the best of each of two buildings: those with the highest average precision, the first by name where two
have the same. README.md says so, and gives the mean of all queries. The copies are of the first query's photo, in the
whole town.

lookalike demo --out DIR && python scripts/readme_picture.py DIR
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

import lookalike
from lookalike.images import decode as images
from lookalike.types import Box

SIDE, GAP, RESULTS = 150, 8, 5
CAPTION, LABEL = 30, 18
QUERIES = 2
INK, GROUND, MUTED = "#1c1e21", "#eef0f2", "#5b636b"
FRAMES = {"positive": "#14823c", "negative": "#c62f2f", "junk": "#7d858d"}
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "turned": lambda picture: picture.rotate(90, expand=True),
    "cropped": lambda picture: picture.crop(inner(picture, 0.15)),
    "framed": lambda picture: ImageOps.expand(picture, picture.width // 8, "#f7f3ea"),
    "smaller": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
}


def inner(picture: Image.Image, share: float) -> tuple[int, int, int, int]:
    """The box that leaves out a share of each side."""
    left, top = round(picture.width * share), round(picture.height * share)
    return left, top, picture.width - left, picture.height - top


def tile(picture: Image.Image, frame: str) -> Image.Image:
    """A square with the picture in its middle and a frame around it."""
    square = Image.new("RGB", (SIDE, SIDE), GROUND)
    small = images.thumbnail(picture, SIDE)
    square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    ImageDraw.Draw(square).rectangle((0, 0, SIDE - 1, SIDE - 1), outline=frame, width=4)
    return square


def row(sheet: Image.Image, top: int, caption: str, tiles: list[tuple[Image.Image, str]]) -> None:
    """A caption, and below it tiles with a label each; the first stands apart."""
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, top + 6), caption, INK, ImageFont.load_default(15))
    for column, (picture, label) in enumerate(tiles):
        left = GAP + column * (SIDE + GAP) + (GAP if column else 0)
        sheet.paste(picture, (left, top + CAPTION))
        draw.text((left + 2, top + CAPTION + SIDE + 2), label, MUTED, ImageFont.load_default(12))


def best(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queries with the highest average precision, one for each building."""
    ordered = sorted(queries, key=lambda query: (-float(query["ap"]), str(query["name"])))
    buildings: dict[str, dict[str, Any]] = {}
    for query in ordered:
        buildings.setdefault(str(query["name"]).rpartition("_")[0], query)
    return list(buildings.values())[:QUERIES]


def results(town: Path, query: dict[str, Any]) -> list[tuple[Image.Image, str]]:
    """The region that was searched with, and the best results but its own photo."""
    crop = images.load(town / query["image"], box=Box(*query["box"])).image
    others = [hit for hit in query["results"] if hit["key"] != query["image"]][:RESULTS]
    tiles = [(tile(crop, INK), "the query")]
    for hit in others:
        score = f"{hit['score']:.3f}" if "score" in hit else ""
        tiles.append((tile(images.load(town / hit["key"]).image, FRAMES[hit["verdict"]]), score))
    return tiles


def copies(town: Path, key: str) -> list[tuple[Image.Image, str]]:
    """A photo, and changed copies of it with what `duplicates --level similar` says of each, in the whole town."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        shutil.copytree(town, folder, ignore=shutil.ignore_patterns(".lookalike"))
        photo = images.load(folder / key).image
        for name, change in CHANGES.items():
            change(photo).save(folder / f"{name}.jpg", quality=70)
        with lookalike.open(folder, encoder="thumbnail") as collection:
            collection.index()
            groups = collection.duplicates("similar")
        (group,) = [group for group in groups if any(member.item.key == key for member in group.members)]
        levels = {member.item.key: member.level for member in group.members}
        tiles = [(tile(photo, INK), "the photo")]
        for name in CHANGES:
            is_found = f"{name}.jpg" in levels
            level = (
                "kept"
                if group.kept and group.kept.item.key == f"{name}.jpg"
                else levels.get(f"{name}.jpg", "not found")
            )
            picture = images.load(folder / f"{name}.jpg").image
            tiles.append((tile(picture, FRAMES["positive" if is_found else "negative"]), f"{name}: {level}"))
        return tiles


def main() -> None:
    folder = Path(sys.argv[1])
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    town = folder / "town" / "images"
    chosen = best(report["queries"])
    height = CAPTION + SIDE + LABEL + GAP
    sheet = Image.new("RGB", ((RESULTS + 1) * (SIDE + GAP) + 2 * GAP, (len(chosen) + 1) * height + GAP), "white")
    for number, query in enumerate(chosen):
        caption = (
            f"lookalike search town/images {query['image']} --box {','.join(str(round(side)) for side in query['box'])}"
        )
        row(sheet, number * height, caption, results(town, query))
    caption = "lookalike duplicates town/images --level similar"
    row(sheet, len(chosen) * height, caption, copies(town, chosen[0]["image"]))
    sheet.save(Path(__file__).parents[1] / "docs" / "results.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
