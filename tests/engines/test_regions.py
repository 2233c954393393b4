"""Regions, which lie in a file, beside vectors in every place."""

from collections.abc import Callable
from pathlib import Path

from lookalike.collection.collection import Collection
from lookalike.types import Box
from tests.support.pictures import picture


def test_images_in_every_place_count_with_regions_that_are_in_a_file(
    indexed: Collection, opened: Callable[[], Collection], photos: Path
) -> None:
    thing, whole = picture(99, (64, 48)), picture(50, (128, 96))
    whole.paste(thing, (64, 48))
    whole.save(photos / "thing.png")
    indexed.index()
    indexed.add_regions("grid")
    with opened() as collection:
        hits = collection.search(thing, k=3, where="key:*.png")
        assert (hits[0].key, hits[0].box) == ("thing.png", Box(64, 48, 128, 96))
        assert len({hit.key for hit in hits}) == 3
        assert list((collection.path / "regions").glob("vectors.*"))
