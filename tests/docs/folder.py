"""The folder that the pages speak of: made-up photos below ~/Pictures, and files beside them."""

import json
from pathlib import Path

from PIL import Image, ImageEnhance

import lookalike
from tests.support.pictures import picture

SIZE = (320, 240)
PLACE = {1: "N", 2: (48.0, 51.0, 30.24), 3: "E", 4: (2.0, 17.0, 40.2)}
"""GPS as EXIF has it: 48.8584, 2.2945."""


def write(path: Path, image: Image.Image, taken: str = "", camera: str = "", quality: int = 90) -> None:
    """Save a photo, with what cameras write into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = image.getexif()
    if camera:
        exif[0x010F], exif[0x0110] = camera.split(" ", 1)
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
        exif.get_ifd(0x8825).update(PLACE)
    image.save(path, exif=exif, quality=quality)


def make(home: Path) -> None:
    """Everything that the pages name, indexed."""
    photos = home / "Pictures"
    write(photos / "2019/beach.jpg", picture(1, SIZE), "2019:07:14 12:30:05", "NIKON D90")
    write(photos / "2019/tower.jpg", picture(2, SIZE), "2019:08:02 09:10:00", "NIKON D90")
    write(photos / "2020/door.jpg", picture(3, SIZE), "2020:05:01 18:00:00", "Apple iPhone-12")
    (photos / "2020/door copy.jpg").write_bytes((photos / "2020/door.jpg").read_bytes())
    write(photos / "2020/door small.jpg", picture(3, SIZE).resize((160, 120)), quality=70)
    for number, name in enumerate(("rome/fountain", "rome/square", "oslo/harbour"), 4):
        write(photos / "trips" / f"{name}.jpg", picture(number, SIZE))
    write(photos / "garden.png", picture(7, SIZE))
    write(home / "holiday.jpg", picture(1, SIZE).crop((20, 20, 300, 220)), quality=60)
    write(home / "person.jpg", picture(9, SIZE))
    (home / "columns.csv").write_text(
        "key,label,year,note\n2019/beach.jpg,beach,2019,\n2019/tower.jpg,tower,2019,high\n"
        "2020/door.jpg,door,2020,\ngarden.png,garden,,\n"
    )
    shop(home / "shop")
    town(home)
    with lookalike.open(photos, encoder="efficientnet-lite0") as collection:
        collection.index()


def shop(folder: Path) -> None:
    """Three products with three photos each, in folders, and one photo that is of none."""
    for number, name in enumerate(("chair", "lamp", "mug"), 20):
        base = picture(number, SIZE)
        views = (base, base.crop((30, 20, 300, 220)), ImageEnhance.Brightness(base).enhance(0.7))
        for view, image in enumerate(views, 1):
            write(folder / name / f"{view}.jpg", image)
    write(folder / "other.jpg", picture(30, SIZE))


def town(home: Path) -> None:
    """A benchmark in each layout, of the same photos."""
    images = home / "places" / "images"
    for number, name in enumerate(("arch", "bridge"), 40):
        for view in range(1, 4):
            left = 10 * view
            write(images / f"{name}_{view}.jpg", picture(number, SIZE).crop((left, left, 300, 220)))
    for number in range(50, 54):
        write(images / f"other_{number}.jpg", picture(number, SIZE))
    (home / "labels.jsonl").write_text(json.dumps({"key": "2019/beach.jpg", "label": "beach"}) + "\n")
