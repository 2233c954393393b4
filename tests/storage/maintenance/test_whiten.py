"""A collection whitened on disk: the same rows in the same places, searchable, and never half made."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.encoders import whitening
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, QueryError
from lookalike.storage.store import Store
from lookalike.storage.swap import beside
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import whiten


@pytest.fixture
def indexed(photos: Path, encoder: PixelEncoder) -> Path:
    with open_collection(photos, encoder=encoder) as collection:
        collection.index()
    return photos / ".lookalike"


def collection_at(path: Path) -> Collection:
    return Collection(path, PixelEncoder())


def test_every_row_is_whitened_where_it_was(indexed: Path) -> None:
    with collection_at(indexed) as before:
        keys, rows = before.keys(), before.gallery.vectors(np.arange(12))
    learned = whiten(indexed, dim=6)
    with collection_at(indexed) as after:
        assert after.keys() == keys
        assert np.allclose(after.gallery.vectors(np.arange(12)), learned.apply(rows), atol=1e-6)
        assert not after.verify().rows
        assert after.store.header.dim == 6


def test_searching_goes_on_with_stored_and_with_new_pictures(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as collection:
        collection.whiten()
        for key in list(collection.keys()):
            assert collection.search(photos / key, k=1)[0].key == key
            assert collection.search(picture_of(photos / key), k=1)[0].key == key, "encoded and whitened anew"


def picture_of(path: Path) -> bytes:
    """The same picture as other bytes, so that it has to be encoded."""
    import io

    from PIL import Image

    data = io.BytesIO()
    with Image.open(path) as image:
        image.save(data, "BMP")
    return data.getvalue()


def test_new_images_are_whitened_like_the_others(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as collection:
        learned = collection.whiten(dim=6)
        picture(99).save(photos / "new.png")
        assert collection.index().added == 1
        row = collection.row("new.png")
        assert row is not None
        expected = learned.apply(PixelEncoder().encode([photos / "new.png"]))
        assert np.allclose(collection.gallery.vectors(np.array([row])), expected, atol=1e-6)


def test_the_whitening_is_part_of_the_fingerprint(indexed: Path) -> None:
    with collection_at(indexed) as before:
        plain = before.store.header.fingerprint
    whiten(indexed, power=0.5)
    with collection_at(indexed) as collection:
        assert collection.store.header.fingerprint not in (plain, PixelEncoder.fingerprint)
        assert collection.encoder.fingerprint == collection.store.header.fingerprint
    (indexed / whitening.FILE).unlink()
    with collection_at(indexed) as collection, pytest.raises(EncoderMismatch):
        collection.encoder  # noqa: B018


def test_a_damaged_whitening_is_one_line(indexed: Path, photos: Path) -> None:
    whiten(indexed)
    (indexed / whitening.FILE).write_bytes(b"damaged")
    with collection_at(indexed) as collection, pytest.raises(CollectionError, match=r"is damaged .*--rebuild"):
        collection.search(picture_of(photos / "01.jpg"))


def test_a_rebuild_begins_from_plain_vectors(indexed: Path) -> None:
    whiten(indexed, dim=4)
    with collection_at(indexed) as collection:
        collection.index(rebuild=True)
    with collection_at(indexed) as collection:
        assert collection.store.header.dim == PixelEncoder.dim
        assert collection.store.header.fingerprint == PixelEncoder.fingerprint
        assert whitening.load(indexed) is None


def test_another_collection_may_teach_it(indexed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    for number in range(50, 80):
        picture(number).save(folder / f"{number}.png")
    with open_collection(folder, encoder=PixelEncoder()) as teacher:
        teacher.index()
        rows = teacher.gallery.vectors(np.arange(30))
    learned = whiten(indexed, dim=8, source=folder / ".lookalike")
    assert learned.fingerprint == whitening.fit(rows, dim=8).fingerprint
    with pytest.raises(CollectionError, match="is whitened already"):
        whiten(folder / ".lookalike", source=indexed)


def test_another_encoders_collection_may_not(indexed: Path, tmp_path: Path) -> None:
    other = PixelEncoder()
    other.fingerprint = "0" * 64
    (tmp_path / "others").mkdir()
    picture(1).save(tmp_path / "others" / "1.png")
    with open_collection(tmp_path / "others", encoder=other) as teacher:
        teacher.index()
    with pytest.raises(EncoderMismatch, match="a whitening fits one encoder"):
        whiten(indexed, source=tmp_path / "others" / ".lookalike")


def test_removed_rows_teach_nothing_and_stay_removed(indexed: Path) -> None:
    with collection_at(indexed) as collection:
        collection.remove(["01.jpg", "02.jpg"])
        live = [item.row for item in collection.store.catalog.live_items()]
        expected = whitening.fit(collection.gallery.vectors(np.array(live)), dim=4)
    assert whiten(indexed, dim=4).fingerprint == expected.fingerprint
    with collection_at(indexed) as collection:
        assert len(collection) == 10
        assert "01.jpg" not in collection.keys()  # noqa: SIM118


def test_a_damaged_row_is_named_and_nothing_is_changed(indexed: Path) -> None:
    """A whitened copy would give it a checksum that is right."""
    size = 4 * PixelEncoder.dim
    with (indexed / "vectors.f32").open("r+b") as file:
        file.seek(3 * size)
        file.write(np.full(2, 0.7, "<f4").tobytes())
    with pytest.raises(CollectionError, match=r"row 3 .* is damaged.*--repair"):
        whiten(indexed)
    assert not beside(indexed, "whitened").exists()
    with collection_at(indexed) as collection:
        assert [row for row, _ in collection.verify(repair=True).rows] == [3]
    whiten(indexed)
    with collection_at(indexed) as collection:
        assert len(collection) == 11


def test_a_second_time_is_refused(indexed: Path) -> None:
    whiten(indexed)
    with pytest.raises(CollectionError, match="is whitened already; index again with --rebuild"):
        whiten(indexed)


def test_too_few_images_leave_everything_as_it_was(indexed: Path) -> None:
    before = (indexed / "vectors.f32").read_bytes()
    with pytest.raises(QueryError, match="dim = 100, but 12 vectors vary in 11 directions"):
        whiten(indexed, dim=100)
    assert (indexed / "vectors.f32").read_bytes() == before
    assert not beside(indexed, "whitened").exists()


def test_while_another_process_writes_it_waits_for_nobody(indexed: Path) -> None:
    store = Store(indexed)
    with store.writing(), pytest.raises(CollectionLocked):
        whiten(indexed)
    store.close()
    assert whitening.load(indexed) is None


def test_whoever_has_it_open_keeps_reading_the_old_one(indexed: Path, photos: Path) -> None:
    with collection_at(indexed) as reader:
        gallery = reader.gallery
        rows = gallery.vectors(np.arange(12))
        whiten(indexed)
        assert (gallery.vectors(np.arange(12)) == rows).all()


STOPPING = """
import sys
from pathlib import Path
import lookalike.storage.swap, lookalike.storage.catalog, lookalike.storage.copy_rows
import lookalike.storage.store, lookalike.storage.maintenance.whiten
moment, path = sys.argv[1], Path(sys.argv[2])

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
lookalike.storage.maintenance.whiten.whiten(lookalike.storage.store.Store(path))
"""


@pytest.mark.parametrize("moment", ["vectors half written", "before the exchange", "between the renames"])
def test_killed_at_any_moment_the_old_collection_is_still_there(moment: str, indexed: Path, photos: Path) -> None:
    vectors = (indexed / "vectors.f32").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, moment, str(indexed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    reached = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reached == b"there\n"
    with collection_at(indexed) as collection:
        assert collection.search(photos / "01.jpg", k=1)[0].key == "01.jpg"
        assert not collection.verify().rows
        assert (indexed / "vectors.f32").read_bytes() == vectors
        collection.whiten()
        assert collection.search(photos / "01.jpg", k=1)[0].key == "01.jpg"
    assert not beside(indexed, "whitened").exists()
    assert not beside(indexed, "old").exists()


def test_what_was_computed_of_the_images_outlives_a_whitening(indexed: Path) -> None:
    (indexed / "cache").mkdir()
    (indexed / "cache" / "features.sqlite").write_bytes(b"kept")
    whiten(indexed)
    assert (indexed / "cache" / "features.sqlite").read_bytes() == b"kept"


def test_what_auto_precision_found_outlives_a_whitening(indexed: Path) -> None:
    (indexed / "precision.json").write_text("found")
    whiten(indexed)
    assert (indexed / "precision.json").read_text() == "found"


def test_a_second_one_leaves_the_draft_of_the_running_one_alone(indexed: Path) -> None:
    draft = beside(indexed, "whitened")
    draft.mkdir()
    with closing(Store(indexed)) as store, store.locked(), pytest.raises(CollectionLocked):
        whiten(indexed)
    assert draft.exists()
