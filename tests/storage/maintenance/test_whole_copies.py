"""compact, merge, export and import: whole collections copied, some rows at a time."""

import csv
import hashlib
import json
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.reader import KEPT_OPEN
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, LookalikeError, SourceError
from lookalike.index import ann as approximate
from lookalike.index.library import library
from lookalike.storage import swap as exchange
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.transfer import Format, export, import_vectors
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.manifest import Header, read_header
from lookalike.storage.store import Store, create
from lookalike.types import Vectors
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import FINGERPRINT, clustered, compact, items, make, optimize

faiss = library()


def stored_vectors(path: Path) -> dict[str, bytes]:
    """Every live key, and its vector."""
    with closing(Store(path)) as store:
        return {item.key: store.vector(item.row).tobytes() for item in store.catalog.live_items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_compact_keeps_every_live_row_and_nothing_else(tmp_path: Path, dtype: str) -> None:
    with closing(make(tmp_path / "c", clustered(900), dtype)) as store:
        with store.writing():
            store.catalog.remove(range(0, 900, 2))
            store.catalog.dismiss([store.catalog.item(1)])
        first = store.catalog.item(1)
    optimize(tmp_path / "c", "IVF4,SQ8")
    before = stored_vectors(tmp_path / "c")
    report = compact(tmp_path / "c")
    assert report.removed == 451
    assert report.after < report.before
    assert stored_vectors(tmp_path / "c") == before
    with closing(Store(tmp_path / "c")) as store:
        assert store.catalog.count_rows() == 449
        assert store.catalog.is_dismissed(first.key, first.size, first.mtime_ns)  # it stays out
    assert not (tmp_path / "c" / "index").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert not verify(tmp_path / "c")


def test_compact_changes_how_vectors_are_kept(tmp_path: Path) -> None:
    vectors = clustered(50)
    make(tmp_path / "c", vectors).close()
    compact(tmp_path / "c", "int8")
    with closing(Store(tmp_path / "c")) as store:
        stored = store.vectors.block(0, 50)
        assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)
        assert np.einsum("ij,ij->i", stored, vectors).min() > 0.9999
        assert store.header.dtype == "int8"
    compact(tmp_path / "c", "int8")
    with closing(Store(tmp_path / "c")) as store:
        assert np.array_equal(store.vectors.block(0, 50), stored)


def test_a_damaged_row_stops_a_copy_and_changes_nothing(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(50))) as store, store.writing():
        store.catalog.database.execute("UPDATE items SET width = 4 WHERE row = 7")
    for copy in (lambda: compact(tmp_path / "c"), lambda: merge([tmp_path / "c"], tmp_path / "d")):
        with pytest.raises(CollectionError, match=r"row 7 \(7/000007.jpg\) is damaged; run .*--repair"):
            copy()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_reader_that_has_it_open_goes_over_to_the_compacted_one(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        keys = collection.keys()
        collection.remove(keys[:3])
        Collection(photos / ".lookalike", encoder).compact()
        assert collection.keys() == keys[3:]
        assert [hit.key for hit in collection.search(keys[5], k=1)] == [keys[5]]
        collection.index()  # and writes to it
        assert collection.info()["removed"] == 0


def test_its_length_is_asked_before_and_after_it_was_replaced(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(20))) as store, store.writing():
        store.catalog.remove([3, 4])
    with Collection(tmp_path / "c") as collection:
        assert len(collection) == 18
        compact(tmp_path / "c")
        assert len(collection) == 18
        assert collection.gallery.holds(17)
        assert not collection.gallery.holds(18)


def test_searches_from_many_threads_go_on_while_it_is_replaced(photos: Path, encoder: PixelEncoder) -> None:
    path = photos / ".lookalike"
    stop = threading.Event()
    met: list[Exception] = []

    def search() -> None:
        try:
            while not stop.is_set():
                assert collection.search("01.jpg", k=1)[0].key == "01.jpg"
                assert len(collection) == 12
                assert collection.encoder.dim == 192
        except Exception as error:  # noqa: BLE001 - whatever a thread meets
            met.append(error)

    with Collection(path, encoder, [photos]) as collection:
        collection.index()
        threads = [threading.Thread(target=search) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            time.sleep(0.2)
            compact(path)
        stop.set()
        for thread in threads:
            thread.join()
        assert not met
        assert len(collection._reader._retired) <= KEPT_OPEN


def test_a_writer_of_the_old_files_is_told(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(20))) as old:
        compact(tmp_path / "c")
        with pytest.raises(CollectionError, match="replaced by another process; open it again"), old.writing():
            pass
    assert not verify(tmp_path / "c")


def test_an_interrupted_exchange_is_finished(tmp_path: Path) -> None:
    make(tmp_path / "c", clustered(20)).close()
    (tmp_path / "c").rename(exchange.beside(tmp_path / "c", "old"))
    with Collection(tmp_path / "c") as collection:
        assert len(collection) == 20


def test_merge_holds_what_all_hold_and_metadata_with_it(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        with closing(make(tmp_path / name / ".lookalike", clustered(30, seed=ord(name)))) as store, store.writing():
            store.catalog.put("columns", 1 if name == "a" else 2, "year", "any")
            store.catalog.put("meta", 3, 1 if name == "a" else 2, ord(name))
    report = merge([tmp_path / name / ".lookalike" for name in "ab"], tmp_path / "all")
    assert (report.images, report.shared) == (60, 0)
    merged = stored_vectors(tmp_path / "all")
    for prefix, name in (("", "a"), ("b/", "b")):
        for key, vector in stored_vectors(tmp_path / name / ".lookalike").items():
            assert merged[prefix + key] == vector
    with Collection(tmp_path / "all") as whole:
        assert len(whole.gallery.view("year > 0")) == 2
        assert whole.gallery.path(whole.row("b/3/000003.jpg") or 0) == tmp_path / "b" / "3/000003.jpg"
    assert not verify(tmp_path / "all")


def test_merging_two_collections_of_one_folder_takes_each_file_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name, clustered(30, seed=1)).close()
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").shared == 30
    assert stored_vectors(tmp_path / "all") == stored_vectors(tmp_path / "a")


def test_only_collections_of_one_encoder_are_merged(tmp_path: Path) -> None:
    from dataclasses import replace

    with closing(make(tmp_path / "a", clustered(3))) as store:
        create(tmp_path / "b", replace(store.header, fingerprint="0" * 64)).close()
    with pytest.raises(EncoderMismatch, match="only vectors of one encoder can be merged"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    with pytest.raises(CollectionError, match="is there already"):
        merge([tmp_path / "a"], tmp_path / "b")


def read_back(out: Path, kind: str) -> tuple[list[str], Vectors]:
    if kind == "csv":
        with (out / "vectors.csv").open(newline="") as file:
            lines = list(csv.reader(file))[1:]
        return [line[0] for line in lines], np.array([line[4:] for line in lines], np.float32)
    if kind == "parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(out / "vectors.parquet")
        return table["key"].to_pylist(), np.array(table["vector"].to_pylist(), np.float32)
    keys = [json.loads(line) for line in (out / "keys.jsonl").read_text().splitlines()]
    if kind == "npy":
        return keys, np.load(out / "vectors.npy")
    index = faiss.read_index(str(out / "vectors.faiss"))
    return keys, index.reconstruct_n(0, index.ntotal)


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv", "faiss"])
def test_what_is_exported_is_what_is_held(tmp_path: Path, kind: Format) -> None:
    vectors = clustered(5000, 8)
    with closing(make(tmp_path / "c", vectors)) as store:
        with store.writing():
            store.catalog.remove([0, 4999])
        export(store, tmp_path / "out", kind)
        keys, exported = read_back(tmp_path / "out", kind)
        assert keys == [item.key for item in store.catalog.live_items()]
        assert np.allclose(exported, vectors[1:4999], atol=1e-7)
        with pytest.raises(CollectionError, match="is there already"):
            export(store, tmp_path / "out", kind)


def test_a_damaged_row_stops_an_export_which_leaves_nothing(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(10))) as store:
        with (tmp_path / "c" / "vectors.f32").open("r+b") as file:
            file.seek(7 * 4 * 32 + 2)
            file.write(b"!")
        with pytest.raises(CollectionError, match=r"row 7 \(7/000007.jpg\) is damaged; run `lookalike verify"):
            export(store, tmp_path / "out", "npy")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_is_exported_can_be_imported(tmp_path: Path) -> None:
    keys = ["plain.jpg", "line\nbreak.jpg", "caf\udce9.jpg"]
    with closing(make(tmp_path / "c", clustered(3), keys=keys)) as store:
        export(store, tmp_path / "out", "npy")
    report = import_vectors(tmp_path / "out" / "vectors.npy", tmp_path / "d", tmp_path / "out" / "keys.jsonl")
    assert (report.added, report.unusable) == (3, 0)
    assert not verify(tmp_path / "d")
    with Collection(tmp_path / "d") as imported:
        assert imported.keys() == keys
        assert np.allclose(imported.gallery.vectors(np.arange(3)), clustered(3), atol=1e-7)
        assert [hit.key for hit in imported.search(clustered(3)[1], k=1)] == ["line\nbreak.jpg"]
        assert imported.search("plain.jpg", k=1)[0].score == 1


def test_the_same_vectors_from_two_places_can_be_merged(tmp_path: Path) -> None:
    vectors = clip_retrieval(tmp_path / "one")
    (tmp_path / "two").mkdir()
    np.save(tmp_path / "two" / "v.npy", np.asfortranarray(vectors.astype(np.float16).astype(np.float64)))
    (tmp_path / "two" / "names").write_text("".join(f"{row}.jpg\n" for row in range(25)))
    import_vectors(tmp_path / "one", tmp_path / "a", images=tmp_path / "one" / "images")
    import_vectors(tmp_path / "two" / "v.npy", tmp_path / "b", tmp_path / "two" / "names", dtype="float16")
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c").images == 50
    for path in (tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        assert not verify(path)
    with Collection(tmp_path / "c") as collection:
        assert [hit.key for hit in collection.search("two/7.jpg", k=2)] == ["two/7.jpg", "7.jpg"]


@pytest.mark.parametrize("change", ["a number", "their order", "their shape"])
def test_other_vectors_have_another_fingerprint_even_from_the_same_place(tmp_path: Path, change: str) -> None:
    vectors = clustered(6, 4)
    changed = {"a number": vectors.copy(), "their order": vectors[::-1], "their shape": vectors.reshape(4, 6)}[change]
    changed[-1, -1] += 0.5 if change == "a number" else 0
    for name, array in (("a", vectors), ("b", changed)):
        np.save(tmp_path / "v.npy", array)
        (tmp_path / "names").write_text("".join(f"{name}{row}\n" for row in range(len(array))))
        import_vectors(tmp_path / "v.npy", tmp_path / name, tmp_path / "names")
    assert read_header(tmp_path / "a").fingerprint != read_header(tmp_path / "b").fingerprint


def test_a_fingerprint_is_the_sha256_of_the_rows_and_their_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[3, 4], [0, 0], [1, 0]], ">f8"))
    (tmp_path / "names").write_text("a\nb\nc\n")
    import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")
    expected = hashlib.sha256(np.array([3, 4, 0, 0, 1, 0], "<f4").tobytes() + b"3 x 2").hexdigest()
    assert read_header(tmp_path / "c").fingerprint == expected


def test_what_an_earlier_version_imported_opens_and_grows_and_refuses_a_second_import(tmp_path: Path) -> None:
    """Its fingerprint is of the path."""
    old = hashlib.sha256(f"{tmp_path}/v.npy 32".encode()).hexdigest()
    vectors = clustered(40)
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "names").write_text("".join(f"{row}\n" for row in range(40)))
    with closing(create(tmp_path / "c", Header("imported-32", old, 32))) as new, new.writing():
        new.catalog.add_source(str(tmp_path), "")
        new.add_many(items([str(row) for row in range(40)]), vectors)
    with pytest.raises(CollectionError, match="is there already; name a new folder"):
        import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")
    with Collection(tmp_path / "c") as collection:
        assert collection.search("7", k=1)[0].score == 1
        collection.remove(["8"])
        collection.compact()
        assert collection.store.header.fingerprint == old
        assert len(collection) == 39


def test_rows_without_direction_and_keys_met_twice_are_counted_and_left_out(tmp_path: Path) -> None:
    array = np.array([[3, 4], [0, 0], [np.nan, 1], [1, 0]], np.float64)
    np.save(tmp_path / "v.npy", array)
    (tmp_path / "names.txt").write_text("a\nb\nc\na\n")
    report = import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names.txt")
    assert (report.added, report.unusable) == (1, 3)
    with closing(Store(tmp_path / "c")) as store:
        assert np.allclose(store.vector(0), [0.6, 0.8])


def clip_retrieval(folder: Path) -> Vectors:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = clustered(25, 8)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for number, (start, stop) in enumerate([(0, 10), (10, 25)]):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors[start:stop].astype(np.float16))
        paths = [str(folder / "images" / f"{row}.jpg") for row in range(start, stop)]
        table = pa.table({"image_path": paths, "caption": [f"number {row}" for row in range(start, stop)]})
        pq.write_table(table, folder / "metadata" / f"metadata_{number}.parquet")
    return vectors


def test_a_folder_of_clip_retrieval_is_imported_with_its_captions(tmp_path: Path) -> None:
    vectors = clip_retrieval(tmp_path / "clip")
    import_vectors(tmp_path / "clip", tmp_path / "c", images=tmp_path / "clip" / "images", dtype="float16")
    with Collection(tmp_path / "c") as collection:
        assert collection.keys() == [f"{row}.jpg" for row in range(25)]
        assert collection.gallery.path(3) == tmp_path / "clip" / "images" / "3.jpg"
        hits = collection.search(vectors[7], k=2, where='caption:"number 1*"')
        assert {hit.key for hit in hits} <= {f"{row}.jpg" for row in (1, *range(10, 20))}


@pytest.mark.parametrize(
    ("names", "message"),
    [("a\n", "has 1 name for 2 vectors"), ("a\nb\nc\n", r"more names than .* vectors \(2\)"), (None, "--names FILE")],
)
def test_names_that_do_not_fit_make_nothing(tmp_path: Path, names: str | None, message: str) -> None:
    np.save(tmp_path / "v.npy", np.eye(2))
    if names:
        (tmp_path / "names").write_text(names)
    with pytest.raises(SourceError, match=message):
        import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names" if names else None)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_name_that_is_no_text_makes_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(2))
    (tmp_path / "names").write_text('"\\ud800.jpg"\nb\n')
    with pytest.raises(SourceError, match=r"'\\ud800.jpg' is no name of an image: it holds half of a surrogate pair"):
        import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_columns_of_clip_retrieval_that_sqlite_has_not_are_imported(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    clip_retrieval(tmp_path / "clip")
    for number, rows in enumerate((10, 15)):
        table = pa.table(
            {"image_path": [f"{number}/{row}" for row in range(rows)], "": [float("nan"), *range(1, rows)]}
        )
        table = table.append_column("hash", pa.array([2**64 - 1] * rows, pa.uint64()))
        table = table.append_column("flags", pa.array([[1, 2]] * rows))
        pq.write_table(table, tmp_path / "clip" / "metadata" / f"metadata_{number}.parquet")
    assert import_vectors(tmp_path / "clip", tmp_path / "c").added == 25
    assert not verify(tmp_path / "c")
    with Collection(tmp_path / "c") as collection:
        assert len(collection.gallery.view(f"hash = {2**64 - 1} and flags = '[1, 2]'")) == 25
        assert collection.keys()[:2] == ["0/0", "0/1"]


def test_a_pickled_array_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "names").write_text("a\n")
    with pytest.raises(SourceError, match=r"v\.npy: cannot be read as an array \(no \.npy file of numbers\)$"):
        import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")


@pytest.mark.parametrize("data", [b"", b"garbage\n", b"\x93NUMPY\x01\x00\x14\x00{'descr': '|O',    \n"])
def test_what_is_no_array_is_told_in_our_words(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(data)
    (tmp_path / "names").write_text("a\n")
    with pytest.raises(SourceError, match=r"v\.npy: cannot be read as an array \(no \.npy file of numbers\)$"):
        import_vectors(tmp_path / "v.npy", tmp_path / "c", tmp_path / "names")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with (
        closing(make(tmp_path / "c", clustered(3))) as store,
        pytest.raises(LookalikeError, match=r'pip install "lookalike\[parquet\]"'),
    ):
        export(store, tmp_path / "out", "parquet")


def test_compact_waits_for_nobody(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(3))) as store, store.writing():
        store.add(items(["x"])[0], clustered(1)[0])
        with pytest.raises(CollectionError, match="being written to by another process"):
            compact(tmp_path / "c")
    assert approximate.read(tmp_path / "c") is None


def pictured(folder: Path, encoder: PixelEncoder, names: dict[str, int], path: Path | None = None) -> Path:
    """The collection of a folder of pictures, each of its own seed; in the folder where no `path` is named."""
    for name, seed in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(folder / name)
    with Collection(path or folder / ".lookalike", encoder, [folder]) as collection:
        collection.index()
        return collection.path


def test_a_subfolder_and_another_folder_of_its_name_are_kept_apart(tmp_path: Path, encoder: PixelEncoder) -> None:
    first = pictured(tmp_path / "a", encoder, {"1.png": 1, "2.png": 2, "trip/1.png": 3, "trip/2.png": 4})
    second = pictured(tmp_path / "trip", encoder, {"1.png": 5, "2.png": 6, "3.png": 7, "4.png": 8})
    report = merge([first, second], tmp_path / "all")
    assert (report.images, report.shared) == (8, 0)
    merged, there = stored_vectors(tmp_path / "all"), stored_vectors(second)
    assert {key: merged[f"trip-2/{key}"] for key in there} == there
    with Collection(tmp_path / "all", encoder) as collection:
        assert collection.gallery.path(collection.row("trip-2/1.png") or 0) == tmp_path / "trip" / "1.png"
        assert collection.index().unchanged == 8


def test_two_images_of_one_name_are_refused_with_the_order_that_keeps_them_apart(
    tmp_path: Path, encoder: PixelEncoder
) -> None:
    early = pictured(tmp_path / "a", encoder, {"1.png": 1}, tmp_path / "early")
    trip = pictured(tmp_path / "trip", encoder, {"1.png": 2, "same.png": 3})
    late = pictured(tmp_path / "a", encoder, {"trip/1.png": 4, "trip/same.png": 3})
    with pytest.raises(CollectionError, match=r"trip/1.png is the name of two images; name .*a/.lookalike before the"):
        merge([early, trip, late], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    assert merge([late, early, trip], tmp_path / "all").images == 5


def test_what_was_taken_out_by_hand_stays_out_of_a_merged_collection(tmp_path: Path, encoder: PixelEncoder) -> None:
    paths = [
        pictured(tmp_path / name, encoder, {"1.png": seed, "2.png": seed + 1}) for name, seed in (("x", 1), ("y", 3))
    ]
    with Collection(paths[1], encoder) as collection:
        collection.remove(["1.png"])
    merge(paths, tmp_path / "all")
    with Collection(tmp_path / "all", encoder) as collection:
        assert collection.index().added == 0
        assert collection.keys() == ["1.png", "2.png", "y/2.png"]


def test_pictures_of_a_remote_source_are_found_after_a_merge(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    picture(1).save(bucket / "far.png")
    for name, place in (("far", bucket.as_uri()), ("further", "s3://other/p?region=here")):
        header = Header("thumb", FINGERPRINT, 32)
        with closing(create(tmp_path / name, header)) as new, new.writing():
            new.add_many(items(["far.png"], new.catalog.add_source(place, "")), clustered(1), new_keys=True)
    assert merge([tmp_path / "far", tmp_path / "further"], tmp_path / "all").images == 2
    with Collection(tmp_path / "all") as collection:
        assert collection.info()["sources"] == [bucket.as_uri(), "s3://other/p?region=here"]
        assert collection.keys() == ["far.png", "p/far.png"]
        assert collection.gallery.image(0).size == (64, 48)


def test_a_source_that_is_not_read_from_here_is_told_as_such(tmp_path: Path) -> None:
    encoder = PixelEncoder()
    header = Header(encoder.name, encoder.fingerprint, encoder.dim)
    with closing(create(tmp_path / "far", header)) as new, new.writing():
        new.add_many(items(["a.png"], new.catalog.add_source("s3://b/p", "")), clustered(1, encoder.dim), new_keys=True)
    with Collection(tmp_path / "far", encoder) as collection:
        for rebuild in (False, True):
            with pytest.raises(SourceError, match=r"s3://b/p: its images are brought .* index --from RESULT"):
                collection.index(rebuild=rebuild)
        assert collection.keys() == ["a.png"]


def add_one(path: Path, key: str) -> None:
    with closing(Store(path)) as store, store.writing():
        store.add(items([key])[0], clustered(1, store.header.dim)[0])


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv", "faiss"])
def test_a_writer_goes_on_while_a_collection_is_exported(tmp_path: Path, kind: Format) -> None:
    vectors = clustered(5000, 8)
    with closing(make(tmp_path / "c", vectors)) as store:
        before = [item.key for item in store.catalog.live_items()]
        # A file that changes has a new row from then on; what is written is the old one, live when it began.
        export(store, tmp_path / "out", kind, lambda done, _: add_one(tmp_path / "c", before[4999]))
        assert store.catalog.count_rows() == 5002
    keys, exported = read_back(tmp_path / "out", kind)
    assert keys == before
    assert np.allclose(exported, vectors, atol=1e-7)


def test_a_writer_is_told_at_once_while_its_collection_is_merged(tmp_path: Path) -> None:
    for name in "ab":
        make(tmp_path / name, clustered(20, seed=ord(name))).close()

    def write(done: int, total: int | None) -> None:
        with pytest.raises(CollectionLocked, match="a is being written to by another process"):
            add_one(tmp_path / "a", "x")

    merge([tmp_path / "a", tmp_path / "b", tmp_path / "a"], tmp_path / "all", write)
    add_one(tmp_path / "a", "x")
    with (
        closing(Store(tmp_path / "a")) as store,
        store.writing(),
        pytest.raises(CollectionLocked, match="a is being"),
    ):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_a_collection_that_nobody_can_write_to_is_merged(tmp_path: Path) -> None:
    for name in "ab":
        make(tmp_path / name, clustered(20, seed=ord(name))).close()
    (tmp_path / "b" / "writer.lock").unlink(missing_ok=True)
    (tmp_path / "b" / "writer.lock").mkdir()
    with pytest.raises(CollectionError, match="b cannot be written to"):
        add_one(tmp_path / "b", "x")
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").shared == 20
