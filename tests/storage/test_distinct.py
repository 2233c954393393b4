from contextlib import closing
from pathlib import Path

from lookalike.collection.collection import Collection
from lookalike.storage import distinct
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.store import Store
from tests.support.pictures import PixelEncoder, picture


def two_collections(place: Path) -> list[Path]:
    paths = []
    for name, seeds in {"first": (1, 2), "second": (3, 4)}.items():
        folder = place / name
        folder.mkdir()
        for seed in seeds:
            picture(seed).save(folder / f"{seed}.png")
        with Collection(place / f"{name}-c", PixelEncoder(), [folder]) as collection:
            collection.index()
            collection.not_duplicates(f"{seeds[0]}.png", f"{seeds[1]}.png")
        paths.append(place / f"{name}-c")
    return paths


def test_pairs_that_were_told_apart_outlive_merge_compact_and_verify(tmp_path: Path) -> None:
    paths = two_collections(tmp_path)
    merge(paths, tmp_path / "both")
    told = []
    for path in paths:
        with closing(Store(path)) as store:
            told.append(distinct.pairs(store))
    with Collection(tmp_path / "both", PixelEncoder()) as both:
        assert distinct.pairs(both.store) == told[0] | told[1]
        assert len(told[0] | told[1]) == 2
        both.compact()
    with closing(Store(tmp_path / "both")) as store:
        assert distinct.pairs(store) == told[0] | told[1]
    assert not verify(tmp_path / "both")


def test_pairs_have_no_order() -> None:
    assert distinct.pair("b", "a") == distinct.pair("a", "b") == ("a", "b")
