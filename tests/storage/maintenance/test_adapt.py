"""A collection adapted to labels on disk: mapped, searchable, never half made, and taken back without a trace."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.encoders import adaptation, whitening
from lookalike.encoders.adaptation import Method, fit
from lookalike.encoders.whitening import Whitening
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, QueryError
from lookalike.storage.maintenance import adapt as adapting
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.store import Store
from lookalike.storage.swap import FORMER, beside
from lookalike.storage.vectors import DTYPES
from tests.storage.maintenance.test_damage import forget_tables, lose_json
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import planted


@pytest.fixture
def indexed(photos: Path, encoder: PixelEncoder) -> Path:
    with open_collection(photos, encoder=encoder) as collection:
        collection.index()
    return photos / ".lookalike"


def collection_at(path: Path) -> Collection:
    return Collection(path, PixelEncoder())


def learned_on(path: Path) -> Whitening:
    """Twelve pictures in four groups: enough to learn a map from, if not to prove that it helps."""
    with collection_at(path) as collection:
        rows = collection.gallery.vectors(np.arange(12))
    return fit(rows, np.arange(12) // 3, Method("within", "labels", 0.5), rows.mean(axis=0, dtype=np.float64))


def adapt(path: Path, learned: Whitening | None = None) -> Whitening:
    """As another process would do it."""
    learned = learned or learned_on(path)
    with closing(Store(path)) as store:
        adapting.apply(store, learned, {"method": "within"})
    return learned


def picture_of(path: Path) -> bytes:
    """The same picture as other bytes, so that it has to be encoded."""
    data = io.BytesIO()
    with Image.open(path) as image:
        image.save(data, "BMP")
    return data.getvalue()


def test_every_row_is_mapped_as_numpy_maps_it_and_a_query_too(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as before:
        keys, rows = before.keys(), before.gallery.vectors(np.arange(12))
    learned = adapt(indexed)
    expected = (rows.astype(np.float64) - learned.mean) @ learned.projection
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    with collection_at(indexed) as after:
        assert after.keys() == keys
        assert np.abs(after.gallery.vectors(np.arange(12)) - expected).max() < 1e-6
        assert not after.verify().rows
        for key in keys:
            hits = after.search(picture_of(photos / key), k=12)
            assert hits[0].key == key
            query = PixelEncoder().encode([Image.open(io.BytesIO(picture_of(photos / key)))]).astype(np.float64)
            mapped = ((query - learned.mean) @ learned.projection)[0]
            cosines = expected @ mapped / np.linalg.norm(mapped)
            assert {hit.key: hit.score for hit in hits} == pytest.approx(
                dict(zip(keys, cosines, strict=True)), abs=1e-6
            )


def test_new_images_are_mapped_like_the_others(indexed: Path, photos: Path) -> None:
    learned = adapt(indexed)
    picture(99).save(photos / "new.png")
    with collection_at(indexed) as collection:
        assert collection.index().added == 1
        row = collection.row("new.png")
        assert row is not None
        expected = learned.apply(PixelEncoder().encode([photos / "new.png"]))
        assert np.allclose(collection.gallery.vectors(np.array([row])), expected, atol=1e-6)


def test_undoing_restores_vectors_fingerprint_and_files(indexed: Path, photos: Path) -> None:
    before = (indexed / "vectors.f32").read_bytes()
    names = {file.name for file in indexed.iterdir()}
    with collection_at(indexed) as collection:
        fingerprint = collection.store.header.fingerprint
    adapt(indexed)
    with collection_at(indexed) as collection:
        assert collection.info()["adapted"] == {"method": "within"}
        assert collection.store.header.fingerprint != fingerprint
        assert collection.undo_adapt() == 0
        assert collection.store.header.fingerprint == fingerprint
        assert "adapted" not in collection.info()
        assert collection.search(picture_of(photos / "01.jpg"), k=1)[0].key == "01.jpg"
        assert not collection.verify()
    assert (indexed / "vectors.f32").read_bytes() == before
    assert {file.name for file in indexed.iterdir()} == names


def test_what_happened_meanwhile_stays_and_images_that_were_added_are_embedded_again(
    indexed: Path, photos: Path
) -> None:
    adapt(indexed)
    picture(99).save(photos / "new.png")
    (photos / "01.jpg").rename(photos / "renamed.jpg")
    table = photos.parent / "labels.csv"
    table.write_text("key,label\nnew.png,fresh\nrenamed.jpg,moved\n")
    with collection_at(indexed) as collection:
        collection.index(meta=[table])
        collection.remove(["02.jpg"])
        assert collection.undo_adapt() == 1
        assert collection.search(photos / "renamed.jpg", k=1)[0].key == "renamed.jpg"
        assert collection.row("new.png") is None
        assert collection.index().added == 1
        plain = PixelEncoder().encode([photos / "new.png", photos / "renamed.jpg"])
        rows = np.array([collection.row("new.png"), collection.row("renamed.jpg")])
        assert np.abs(collection.gallery.vectors(rows) - plain).max() < 1e-6
        assert [hit.key for hit in collection.search(photos / "new.png", where="label = fresh")] == ["new.png"]
        assert [hit.key for hit in collection.search(photos / "new.png", where="label = moved")] == ["renamed.jpg"]
        assert "02.jpg" not in collection.keys()  # noqa: SIM118


def test_a_compacted_collection_can_be_undone(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as before:
        rows = before.gallery.vectors(np.arange(12))
    learned = adapt(indexed)
    with collection_at(indexed) as collection:
        collection.remove([collection.key(0)])
        collection.compact()
        assert whitening.load(indexed, adaptation.FILE) is not None
        assert collection.encoder.fingerprint == collection.store.header.fingerprint
        assert np.allclose(collection.gallery.vectors(np.arange(11)), learned.apply(rows)[1:], atol=1e-6)
        assert collection.undo_adapt() == 0
        assert (collection.gallery.vectors(np.arange(11)) == rows[1:]).all()


def test_a_rebuild_keeps_the_map_and_can_be_undone(indexed: Path) -> None:
    with collection_at(indexed) as before:
        rows, keys = before.gallery.vectors(np.arange(12)), before.keys()
    learned = adapt(indexed)
    with collection_at(indexed) as collection:
        fingerprint = collection.store.header.fingerprint
        collection.index(rebuild=True)
    with collection_at(indexed) as collection:
        assert collection.store.header.fingerprint == fingerprint == collection.encoder.fingerprint
        places = np.array([collection.row(key) for key in keys])
        assert np.allclose(collection.gallery.vectors(places), learned.apply(rows), atol=1e-6)
        assert collection.info()["adapted"] == {"method": "within"}
        assert not collection.verify()
        assert collection.undo_adapt() == 0
        assert (collection.gallery.vectors(places) == rows).all()


@pytest.mark.parametrize("damage", [forget_tables, lose_json])
def test_a_rebuild_of_what_cannot_be_opened_keeps_the_map(indexed: Path, damage: Callable[[Path], None]) -> None:
    with collection_at(indexed) as before:
        rows, keys = before.gallery.vectors(np.arange(12)), before.keys()
    learned = adapt(indexed)
    damage(indexed)
    with collection_at(indexed) as collection:
        collection.index(rebuild=True)
        places = np.array([collection.row(key) for key in keys])
        assert np.allclose(collection.gallery.vectors(places), learned.apply(rows), atol=1e-6)
        assert collection.info()["adapted"] == {"method": "within"}
        assert not collection.verify()
        assert collection.undo_adapt() == 0
        assert (collection.gallery.vectors(places) == rows).all()


def test_a_rebuild_with_other_vectors_drops_the_map_and_says_so(
    indexed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapt(indexed)
    other = PixelEncoder()
    other.fingerprint = "0" * 64
    with Collection(indexed, other) as collection:
        collection.index(rebuild=True)
        assert collection.store.header.fingerprint == other.fingerprint
    assert "`adapt` had learned is for vectors of another encoder" in caplog.text
    assert not (indexed / adaptation.FILE).exists()
    assert not (indexed / FORMER).exists()


def test_merged_collections_keep_the_map_they_share(indexed: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for number in range(50, 55):
        picture(number).save(others / f"{number}.png")
    with open_collection(others, encoder=PixelEncoder()) as collection:
        collection.index()
    learned = adapt(indexed)
    adapt(others / ".lookalike", learned)
    assert merge([indexed, others / ".lookalike"], tmp_path / "all").images == 17
    with collection_at(tmp_path / "all") as collection:
        assert collection.encoder.fingerprint == collection.store.header.fingerprint
        assert not collection.verify()
        assert collection.search(picture_of(others / "52.png"), k=1)[0].key.endswith("52.png")
        assert collection.undo_adapt() == 0
        assert collection.store.header.fingerprint == PixelEncoder.fingerprint
        row = next(number for number, key in enumerate(collection.keys()) if key.endswith("52.png"))
        assert np.allclose(
            collection.gallery.vectors(np.array([row])), PixelEncoder().encode([others / "52.png"]), atol=1e-6
        )


def test_exported_vectors_are_the_mapped_ones(indexed: Path, tmp_path: Path) -> None:
    adapt(indexed)
    with collection_at(indexed) as collection:
        collection.export(tmp_path / "out", "npy")
        assert (np.load(tmp_path / "out" / "vectors.npy") == collection.gallery.vectors(np.arange(12))).all()


def test_a_whitened_collection_is_adapted_on_top_of_that(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as collection:
        collection.whiten(dim=8, shrinkage=0.5)
        whitened = collection.store.header.fingerprint
    adapt(indexed)
    with collection_at(indexed) as collection:
        assert collection.encoder.fingerprint == collection.store.header.fingerprint
        assert collection.search(picture_of(photos / "01.jpg"), k=1)[0].key == "01.jpg"
        assert not collection.verify()
        with pytest.raises(CollectionError, match=r"is adapted to labels; `lookalike adapt .* --undo` first"):
            collection.whiten()
        collection.undo_adapt()
        assert collection.store.header.fingerprint == whitened == collection.encoder.fingerprint


def test_a_second_map_and_a_needless_undo_are_refused(indexed: Path) -> None:
    with collection_at(indexed) as collection, pytest.raises(CollectionError, match="is not adapted"):
        collection.undo_adapt()
    learned = adapt(indexed)
    with pytest.raises(CollectionError, match=r"is adapted already; `lookalike adapt .* --undo` first"):
        adapt(indexed, learned)
    with (
        closing(Store(indexed)) as store,
        store.locked(),
        pytest.raises(CollectionLocked),
        closing(Store(indexed)) as b,
    ):
        adapting.undo(b)


def test_vectors_in_an_engine_are_refused(indexed: Path) -> None:
    from dataclasses import replace

    with closing(Store(indexed)) as store:
        store.header = replace(store.header, engine="milvus://somewhere:19530/photos")
        with pytest.raises(CollectionError, match=r"keeps its vectors in milvus.*; `adapt` is for vectors in a file"):
            adapting.refuse(store)


def test_a_lost_or_damaged_map_is_restored_from_the_catalog(indexed: Path) -> None:
    adapt(indexed)
    content = (indexed / adaptation.FILE).read_bytes()
    (indexed / adaptation.FILE).write_bytes(b"damaged")
    with collection_at(indexed) as collection:
        assert collection.verify().faults[0].startswith(f"{adaptation.FILE}: ")
        collection.verify(repair=True)
        assert not collection.verify()
    assert (indexed / adaptation.FILE).read_bytes() == content


def test_a_damaged_former_vector_is_found_and_not_restored(indexed: Path) -> None:
    adapt(indexed)
    with (indexed / FORMER / "vectors.f32").open("r+b") as file:
        file.seek(3 * 4 * PixelEncoder.dim)
        file.write(np.full(2, 0.7, "<f4").tobytes())
    with collection_at(indexed) as collection:
        assert collection.verify().faults == (f"{FORMER}: 1 vector of before `adapt` is damaged",)
        assert collection.undo_adapt() == 1
        assert len(collection) == 11
        assert collection.index().added == 1


def test_without_former_vectors_undoing_says_what_to_do(indexed: Path) -> None:
    import shutil

    adapt(indexed)
    shutil.rmtree(indexed / FORMER)
    with collection_at(indexed) as collection, pytest.raises(CollectionError, match="has no former vectors; index"):
        collection.undo_adapt()


def test_a_header_in_the_former_folder_that_names_a_server_is_not_followed(indexed: Path) -> None:
    from dataclasses import replace

    from lookalike.storage.manifest import read_header, write_header

    adapt(indexed)
    header = read_header(indexed / FORMER)
    write_header(indexed / FORMER, replace(header, engine="milvus://127.0.0.1:1/x"))
    with collection_at(indexed) as collection, pytest.raises(CollectionError, match="has no former vectors"):
        collection.undo_adapt()


STOPPING = """
import sys
from pathlib import Path
import lookalike.storage.swap, lookalike.storage.catalog, lookalike.storage.copy_rows
import lookalike.storage.store, lookalike.storage.maintenance.adapt as adapting
from lookalike.encoders import whitening
moment, job, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def wait(*_, **__):
    print("there", flush=True)
    sys.stdin.read()

def after(function):
    def both(*args, **kwargs):
        result = function(*args, **kwargs)
        wait()
        return result
    return both

if moment == "vectors half written":
    lookalike.storage.catalog.BLOCK, lookalike.storage.copy_rows.COMMIT_EVERY = 5, 1
    lookalike.storage.copy_rows.copy_block = after(lookalike.storage.copy_rows.copy_block)
elif moment == "before the exchange":
    lookalike.storage.swap.exchange = wait
elif moment == "between the renames":
    rename = Path.rename
    def stop(self, target):
        rename(self, target)
        if str(target).endswith(".old"):
            wait()
    Path.rename = stop
store = lookalike.storage.store.Store(path)
if job == "undo":
    adapting.undo(store)
else:
    adapting.apply(store, whitening.load(Path(job)), {})
"""


@pytest.mark.parametrize("moment", ["vectors half written", "before the exchange", "between the renames"])
@pytest.mark.parametrize("job", ["adapt", "undo"])
def test_killed_at_any_moment_the_collection_is_as_it_was(
    moment: str, job: str, indexed: Path, photos: Path, tmp_path: Path
) -> None:
    learned = learned_on(indexed)
    learned.save(tmp_path)
    if job == "undo":
        adapt(indexed, learned)
    vectors = (indexed / "vectors.f32").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, moment, job if job == "undo" else str(tmp_path), str(indexed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    reached = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reached == b"there\n"
    with collection_at(indexed) as collection:
        assert collection.search(picture_of(photos / "01.jpg"), k=1)[0].key == "01.jpg"
        assert not collection.verify()
        assert (indexed / "vectors.f32").read_bytes() == vectors
    if job == "undo":
        with collection_at(indexed) as collection:
            assert collection.undo_adapt() == 0
    else:
        adapt(indexed, learned)
    with collection_at(indexed) as collection:
        assert collection.search(picture_of(photos / "01.jpg"), k=1)[0].key == "01.jpg"
        assert not collection.verify()
    assert not [place for place in ("adapted", "restored", "old") if beside(indexed, place).exists()]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_undoing_restores_every_bit_of_every_dtype(tmp_path: Path, dtype: str) -> None:
    planted(tmp_path / "a", dtype=dtype).close()
    file = tmp_path / "a" / DTYPES[dtype][0]
    before = file.read_bytes()
    with Collection(tmp_path / "a") as collection:
        assert collection.adapt(folders=True).applied
        assert file.read_bytes() != before
        collection.undo_adapt()
    assert file.read_bytes() == before


def test_a_further_set_stays_as_it_is(indexed: Path) -> None:
    other = PixelEncoder()
    other.name, other.fingerprint = "other", "0" * 64
    with collection_at(indexed) as collection:
        collection.add_set(other)
    adapt(indexed)
    with collection_at(indexed) as collection:
        assert collection.sets["other"].store.header.fingerprint == other.fingerprint
        collection.undo_adapt()
        assert collection.sets["other"].store.header.fingerprint == other.fingerprint


def test_a_gain_is_applied_and_none_changes_nothing(tmp_path: Path) -> None:
    for name, noise in (("planted", False), ("noise", True)):
        planted(tmp_path / name, noise).close()
        before = (tmp_path / name / "vectors.f32").read_bytes()
        with Collection(tmp_path / name) as collection:
            trial = collection.adapt(folders=True, dry_run=True)
            assert (trial.applied, trial.gain is not None and trial.gain.is_proven) == (False, not noise)
            assert (tmp_path / name / "vectors.f32").read_bytes() == before
            finding = collection.adapt(folders=True)
            assert finding.applied is not noise
            assert finding.gain == trial.gain
            assert (finding.images, finding.groups) == (48, 12)
        assert ((tmp_path / name / "vectors.f32").read_bytes() == before) is noise


def test_another_collection_takes_the_map_for_vectors_of_its_encoder(tmp_path: Path) -> None:
    planted(tmp_path / "a").close()
    planted(tmp_path / "b").close()
    with Collection(tmp_path / "a") as teacher, Collection(tmp_path / "b") as pupil:
        with pytest.raises(CollectionError, match="a is not adapted; there is no map to take from it"):
            pupil.adapt(source=tmp_path / "a")
        teacher.adapt(folders=True)
        finding = pupil.adapt(source=tmp_path / "a")
        assert (finding.applied, finding.gain) == (True, None)
        assert pupil.store.header.fingerprint == teacher.store.header.fingerprint
    with closing(planted(tmp_path / "c")) as other:
        from dataclasses import replace

        other.header = replace(other.header, fingerprint="0" * 64)
        with pytest.raises(EncoderMismatch, match="a map fits one encoder"):
            adapting.taken_from(tmp_path / "a", other)


def test_the_index_is_of_the_same_kind_before_and_after(tmp_path: Path) -> None:
    planted(tmp_path / "a").close()
    with Collection(tmp_path / "a") as collection:
        collection.optimize("Flat")
        collection.adapt(folders=True)
        assert collection.info()["index"]["spec"] == "Flat"
        collection.undo_adapt()
        assert collection.info()["index"]["spec"] == "Flat"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0/0.jpg,x", "0/1.jpg,x"], "1 group of two or more"),
        ([f"{number // 4}/{number}.jpg,{number}" for number in range(48)], "0 groups of two or more"),
        (["gone.jpg,x"] * 3, "0 groups .*3 names are of no image here"),
        (["0/0.jpg,x", "0/0.jpg,y"], "1 image has contradicting labels"),
    ],
    ids=["one group", "one image a group", "unknown keys", "contradictions"],
)
def test_labels_that_cannot_prove_anything_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    planted(tmp_path / "a").close()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["key,label", *lines]) + "\n")
    with Collection(tmp_path / "a") as collection, pytest.raises(QueryError, match=message):
        collection.adapt(labels=table)


def test_vectors_that_are_not_finite_are_left_out_and_counted(tmp_path: Path) -> None:
    with closing(planted(tmp_path / "a")) as store, store.writing():
        item = store.catalog.item(5)
        store.add(item, np.full(16, np.nan, np.float32))
    with Collection(tmp_path / "a") as collection:
        finding = collection.adapt(folders=True)
        assert (finding.unusable, finding.images, finding.applied) == (1, 47, True)


def test_exactly_one_kind_of_labels_is_given(tmp_path: Path) -> None:
    planted(tmp_path / "a").close()
    with Collection(tmp_path / "a") as collection:
        with pytest.raises(QueryError, match="give one of labels"):
            collection.adapt()
        with pytest.raises(QueryError, match="give one of labels"):
            collection.adapt(folders=True, labels="labels.csv")
