"""Draw docs/results.jpg: three of the demo's queries, each with its best results in frames.

They are the best query of each of three buildings: those with the highest average precision, the first by name where
two have the same. README.md says so, and gives the mean of all queries.

lookalike demo --out DIR && python scripts/readme_picture.py DIR
"""

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from lookalike.images import decode as images
from lookalike.types import Box

SIDE, GAP, RESULTS = 150, 8, 5
QUERIES = 3
FRAMES = {"positive": "#14823c", "negative": "#c62f2f", "junk": "#7d858d"}


def tile(picture: Image.Image, frame: str) -> Image.Image:
    """A square with the picture in its middle and a frame around it."""
    square = Image.new("RGB", (SIDE, SIDE), "#eef0f2")
    small = images.thumbnail(picture, SIDE)
    square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    ImageDraw.Draw(square).rectangle((0, 0, SIDE - 1, SIDE - 1), outline=frame, width=4)
    return square


def best(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queries with the highest average precision, one for each building."""
    ordered = sorted(queries, key=lambda query: (-float(query["ap"]), str(query["name"])))
    buildings: dict[str, dict[str, Any]] = {}
    for query in ordered:
        buildings.setdefault(str(query["name"]).rpartition("_")[0], query)
    return list(buildings.values())[:QUERIES]


def main() -> None:
    folder = Path(sys.argv[1])
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    town = folder / "town" / "images"
    asked = best(report["queries"])
    width = (RESULTS + 1) * (SIDE + GAP) + 2 * GAP
    sheet = Image.new("RGB", (width, len(asked) * (SIDE + GAP) + GAP), "white")
    for row, query in enumerate(asked):
        top = GAP + row * (SIDE + GAP)
        crop = images.load(town / query["image"], box=Box(*query["box"])).image
        sheet.paste(tile(crop, "#1c1e21"), (GAP, top))
        others = [found for found in query["results"] if found["key"] != query["image"]][:RESULTS]
        for column, found in enumerate(others):
            left = 2 * GAP + (column + 1) * (SIDE + GAP)
            sheet.paste(tile(images.load(town / found["key"]).image, FRAMES[found["verdict"]]), (left, top))
    sheet.save(Path(__file__).parents[1] / "docs" / "results.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
