"""How well `duplicates` finds planted copies, by the kind of change, and whether it keeps look-alikes apart.

    python benchmarks/duplicates.py PHOTOS [--copies 500] [--photos 4577] [--alike 60] [--peers PYTHON]

One folder holds the photos, one changed copy of each kind of some of them, and different pictures of one layout (on one
page, in one frame, on one screen, invoices, chats, nearly blank pages, white art on a transparent ground). Ours and
other tools group all of it. Recall: copies in one group with their original. Wrong: images beside a kept one, or beside
the first of a peer's group, that show something else. (Copies among the photos themselves would count as wrong.)
`--peers` is a Python that has difPy and czkawka installed; they find what they call similar at their own settings.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from duplicate_pictures import CHANGES, negatives
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.encoders.thumb import Thumbnail

ALIKE = "alike"
DIFPY = """
import sys, json, difPy
built = difPy.build(sys.argv[1], recursive=True, show_progress=False)
found = difPy.search(built, similarity="similar", rotate=True, show_progress=False).result
groups = [[first, *(match[0] for match in matches)] for first, matches in found.items()]
json.dump(groups, sys.stdout)
"""
CZKAWKA = """
import sys, json, pathlib, czkawka
finder = czkawka.ImageSimilarity()
finder.set_directories([pathlib.Path(sys.argv[1])])
finder.set_similarity(10)
json.dump([[str(path) for path in group] for group in finder.find_similar()], sys.stdout)
"""


@dataclass(frozen=True)
class Outcome:
    """Recall by kind of change, and how many images are in a group of another picture, by where they come from."""

    recall: dict[str, float]
    wrong: Counter[str]
    right: int
    seconds: float

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + sum(self.wrong.values()))


def plant(photos: Sequence[Path], copies: int, alike: int, folder: Path) -> int:
    """Fill the folder; how many photos have copies."""
    shown = photos[:: max(1, len(photos) // copies)][:copies] if copies else []
    rest = [path for path in photos if path not in set(shown)]
    layouts = rest[:: max(1, len(rest) // alike)][:alike] if alike else []
    for path in photos:
        # A photo that is shown on a screen must not be found beside itself.
        if path not in set(layouts):
            (folder / path.name).write_bytes(path.read_bytes())
    for kind, change in CHANGES.items():
        (folder / named(kind)).mkdir()
        suffix = ".webp" if "WebP" in kind else ".jpg"
        for path in shown:
            (folder / named(kind) / f"{path.stem}.img{suffix}").write_bytes(change(opened(path)))
    for kind, number, data in negatives([opened(path) for path in layouts], np.random.default_rng(0)):
        place = folder / ALIKE / named(kind)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(data)
    return len(shown)


def named(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in kind)


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def judged(groups: Iterable[Sequence[str]], copies: int, seconds: float) -> Outcome:
    """The groups, as paths below the folder with the kept one first, against what was planted."""
    found: dict[str, set[str]] = {named(kind): set() for kind in CHANGES}
    wrong: Counter[str] = Counter()
    right = 0
    for group in groups:
        origins = [_origin(key) for key in group]
        for key, origin in zip(group[1:], origins[1:], strict=True):
            if origin == origins[0]:
                right += 1
            else:
                wrong[" ".join(key.split("/")[:-1]) or "photos"] += 1
        whole = {origin for key, origin in zip(group, origins, strict=True) if "/" not in key}
        for key, origin in zip(group, origins, strict=True):
            if (kind := key.partition("/")[0]) in found and origin in whole:
                found[kind].add(origin)
    return Outcome({kind: len(found[named(kind)]) / max(1, copies) for kind in CHANGES}, wrong, right, seconds)


def _origin(key: str) -> str:
    return key if key.startswith(ALIKE) else key.rpartition("/")[2].partition(".")[0]


def ours(folder: Path, copies: int) -> dict[str, Outcome]:
    outcomes = {}
    with Collection(folder.parent / "collection", Thumbnail(), [folder]) as collection:
        began = time.perf_counter()
        collection.index()
        print(f"{len(collection):,} images, indexed in {time.perf_counter() - began:.0f} s")
        for level in ("near", "similar"):
            began = time.perf_counter()
            groups = collection.duplicates(level)
            took = time.perf_counter() - began
            outcomes[level] = judged([[member.item.key for member in group.members] for group in groups], copies, took)
    return outcomes


def peers(python: Path, folder: Path, copies: int) -> dict[str, Outcome]:
    outcomes = {}
    for name, program in {"czkawka": CZKAWKA, "difPy": DIFPY}.items():
        began = time.perf_counter()
        run = subprocess.run([python, "-c", program, folder], stdout=subprocess.PIPE, text=True, check=False)
        took = time.perf_counter() - began
        if run.returncode:
            print(f"{name}: ended with {run.returncode}")
            continue
        groups = json.loads(run.stdout[run.stdout.index("[") :])
        keys = [[Path(path).relative_to(folder).as_posix() for path in group] for group in groups]
        outcomes[name] = judged(keys, copies, took)
    return outcomes


def table(outcomes: dict[str, Outcome]) -> None:
    print(f"\n| recall | {' | '.join(outcomes)} |\n|---|{'---|' * len(outcomes)}")
    for kind in CHANGES:
        print(f"| {kind} | " + " | ".join(f"{outcome.recall[kind]:.3f}" for outcome in outcomes.values()) + " |")
    print("| precision | " + " | ".join(f"{outcome.precision:.4f}" for outcome in outcomes.values()) + " |")
    print("| seconds | " + " | ".join(f"{outcome.seconds:.0f}" for outcome in outcomes.values()) + " |\n")
    for name, outcome in outcomes.items():
        wrong = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.wrong.items())) or "none"
        print(f"{name}: {outcome.right:,} right; wrong: {wrong}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--alike", type=int, default=60)
    parser.add_argument("--peers", type=Path)
    options = parser.parse_args()
    suffixes = (".jpg", ".jpeg", ".png")
    photos = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in suffixes)[: options.photos]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "library"
        folder.mkdir()
        copies = plant(photos, options.copies, options.alike, folder)
        outcomes = ours(folder, copies)
        if options.peers:
            outcomes |= peers(options.peers, folder, copies)
    table(outcomes)


if __name__ == "__main__":
    main()
