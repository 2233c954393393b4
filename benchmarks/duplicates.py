"""How well `duplicates` finds planted copies, by the kind of change, and the thresholds that this gives an encoder.

    python benchmarks/duplicates.py PHOTOS [--encoder thumbnail --encoder rootsift] [--copies 500] [--photos 4577]

Photos are split in two by a hash of their names. Thresholds are chosen on one half and everything printed comes from
the other. For each kind of change the gallery is that half and one changed copy of each of `--copies` of its photos.
Recall: copies in one group with their original. Precision: pairs of images in one group that are copies of one photo.
(A folder with copies of its own would need them taken out first; they count as wrong.)
"""

import argparse
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from lookalike.encoders import load_encoder
from lookalike.encoders.pipeline import embed
from lookalike.images.decode import decode
from lookalike.images.sources import SourceEntry
from lookalike.index.self_join import stars
from lookalike.types import Encoder, Vectors

Change = Callable[[Image.Image], bytes]


def saved(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of the width and the height, half of it on either side."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


def watermarked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    draw = ImageDraw.Draw(marked, "RGBA")
    font = ImageFont.load_default(size=max(10, image.height // 10))
    box = (0.05 * image.width, 0.8 * image.height, 0.95 * image.width, 0.95 * image.height)
    draw.rectangle(box, fill=(255, 255, 255, 110))
    draw.text(box[:2], "(c) somebody, 2026", font=font, fill=(0, 0, 0, 200))
    return marked


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


CHANGES: dict[str, Change] = {
    "re-encoded, JPEG 30": lambda image: saved(image, quality=30),
    "re-encoded, WebP 50": lambda image: saved(image, "WEBP", 50),
    "resized to 1/2": lambda image: saved(scaled(image, 1 / 2)),
    "resized to 1/3": lambda image: saved(scaled(image, 1 / 3)),
    "enlarged twice": lambda image: saved(scaled(image, 2)),
    "brighter by 25 %": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.25)),
    "watermarked": lambda image: saved(watermarked(image)),
    "cropped 5 %": lambda image: saved(cropped(image, 0.05)),
    "cropped 10 %": lambda image: saved(cropped(image, 0.10)),
    "rotated 3 degrees": lambda image: saved(image.rotate(3, Image.Resampling.BICUBIC)),
    "rotated 90 degrees": lambda image: saved(image.transpose(Image.Transpose.ROTATE_90)),
    "mirrored": lambda image: saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}
SAME_PICTURE = [name for name in CHANGES if name.startswith(("re-encoded", "resized", "enlarged"))]


@dataclass(frozen=True)
class Half:
    """Vectors of a half's photos, and of the copies of its first photos by kind of change."""

    photos: Vectors
    copies: dict[str, Vectors]


@dataclass(frozen=True)
class Found:
    recall: float
    precision: float
    pairs: int


def vectors_of(encoder: Encoder, files: list[tuple[str, Callable[[], bytes]]]) -> Vectors:
    entries = (SourceEntry(name, -1, -1, read) for name, read in files)
    rows = [result.vector for result in embed(entries, encoder, lambda _: set())]
    assert all(row is not None for row in rows), "every photo can be read"
    return np.stack([row for row in rows if row is not None])


def halves(folder: Path, limit: int, copies: int, encoder: Encoder) -> list[Half]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    parts: list[list[Path]] = [[], []]
    for path in paths[:limit]:
        parts[hashlib.sha256(path.name.encode()).digest()[0] % 2].append(path)
    return [half(part, copies, encoder) for part in parts]


def half(paths: list[Path], copies: int, encoder: Encoder) -> Half:
    def changed(path: Path, change: Change) -> Callable[[], bytes]:
        return lambda: change(decode(path.read_bytes()).image)

    photos = vectors_of(encoder, [(path.name, path.read_bytes) for path in paths])
    planted = {
        name: vectors_of(encoder, [(path.name, changed(path, change)) for path in paths[:copies]])
        for name, change in CHANGES.items()
    }
    return Half(photos, planted)


def groups(vectors: Vectors, threshold: float) -> Iterator[list[int]]:
    for star in stars(lambda ids: vectors[ids], len(vectors), threshold):
        yield [star.centre, *star.members.tolist()]


def measure(half: Half, names: list[str], threshold: float) -> Found:
    """All kinds in `names` planted, one at a time, with the pairs of all runs taken together."""
    found = right = pairs = 0
    count = len(half.photos)
    for name in names:
        planted = half.copies[name]
        for group in groups(np.concatenate([half.photos, planted]), threshold):
            origins = [row if row < count else row - count for row in group]
            found += sum(1 for row in group if row >= count and row - count in group)
            for a, b in combinations(origins, 2):
                pairs += 1
                right += a == b
    total = sum(len(half.copies[name]) for name in names)
    return Found(found / total, right / pairs if pairs else 1.0, pairs)


def calibrate(half: Half) -> dict[str, float]:
    """near: the strictest with a recall of 99.5 % of the same pictures; similar: the loosest with 99 % precision."""
    steps = np.round(np.arange(0.99, 0.30, -0.01), 2).tolist()
    near = next((step for step in steps if measure(half, SAME_PICTURE, step).recall >= 0.995), steps[-1])
    similar = near
    for step in (step for step in steps if step < near):
        if measure(half, list(CHANGES), step).precision < 0.99:
            break
        similar = step
    return {"near": near, "similar": similar}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", action="append", default=[])
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--photos", type=int, default=1_000_000)
    options = parser.parse_args()
    for name in options.encoder or ["thumbnail", "rootsift"]:
        calibration, report = halves(options.folder, options.photos, options.copies, load_encoder(name))
        levels = calibrate(calibration)
        print(
            f"\n{name}: thresholds {levels} from {len(calibration.photos)} photos; below, {len(report.photos)} others"
        )
        print(f"{'':22}" + "".join(f"{f'{level} {value:.2f}':>22}" for level, value in levels.items()))
        print(f"{'':22}" + f"{'recall':>11}{'precision':>11}" * len(levels))
        for kind in CHANGES:
            results = [measure(report, [kind], value) for value in levels.values()]
            print(f"{kind:22}" + "".join(f"{result.recall:11.3f}{result.precision:11.3f}" for result in results))


if __name__ == "__main__":
    main()
