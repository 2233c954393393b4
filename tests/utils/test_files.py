"""Files that are written whole or not at all, and digests that are remembered as long as the file stays the same."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike.utils import files
from lookalike.utils.files import known_sha256, reason, replacing, sha256_of, sync_folder, write_whole

pytestmark = pytest.mark.usefixtures("own_cache")
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_has_the_old_content_until_it_has_all_of_the_new(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path, durable) as file:
        file.write(b"half ")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_keeps_reading_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    with path.open("rb") as reader:
        assert reader.read(3) == b"old"
        write_whole(path, "new")
        assert reader.read() == b" content"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("previous", [b"old", None])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_of_the_new(
    previous: bytes | None, error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if previous is not None:
        path.write_bytes(previous)

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", previous)] * bool(previous)


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.parametrize(("durable", "count"), [(True, 1), (False, 0)])
def test_only_a_durable_file_is_flushed_to_the_disk(
    durable: bool, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    write_whole(tmp_path / "file", b"all of it", durable)
    assert sizes == [len(b"all of it")] * count, "with all its content"


@pytest.mark.parametrize("plant", [Path.symlink_to, lambda draft, _: draft.touch()], ids=["link", "file"])
def test_a_draft_is_never_written_through_what_lies_there_already(
    plant: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, draft = tmp_path / "secret", tmp_path / ".file.00000000.new"
    secret.write_bytes(b"secret")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "00" * count)
    plant(draft, secret)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "file", b"new")
    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "file").exists()
    assert draft.is_symlink() or draft.read_bytes() == b"", "what others left is not removed"


def test_a_link_is_replaced_and_its_target_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"old"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_that_open_gives(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "whole", b"")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("whole", "plain")]
    assert modes == [mode, mode]


def test_text_is_written_as_utf_8_with_the_bytes_of_names_that_are_none(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "né\udce9\n")
    assert (tmp_path / "file").read_bytes() == b"n\xc3\xa9\xe9\n"


def test_a_folder_that_is_missing_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "absent" / "file", b"")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "absent")


def test_a_folder_is_synced_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inodes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: inodes.append(os.fstat(handle).st_ino))
    sync_folder(tmp_path)
    assert inodes == [tmp_path.stat().st_ino]


def test_the_reason_of_an_error_ends_a_sentence() -> None:
    assert reason(OSError(28, "No space left on device")) == "no space left on device"
    assert reason(OSError("Read timed out")) == "read timed out"


# Digests


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read through."""
    paths: list[Path] = []

    def counted(path: Path) -> str:
        paths.append(path)
        return sha256_of(path)

    monkeypatch.setattr(files, "sha256_of", counted)
    return paths


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return path


def test_sha_256_is_of_the_bytes(abc: Path) -> None:
    assert sha256_of(abc) == SHA256_OF_ABC


def test_a_file_is_read_through_once(abc: Path, read: list[Path]) -> None:
    assert known_sha256(abc) == known_sha256(abc) == SHA256_OF_ABC
    assert read == [abc]


def test_a_link_is_known_by_its_target(abc: Path, tmp_path: Path, read: list[Path]) -> None:
    (tmp_path / "link").symlink_to("abc")
    assert known_sha256(abc) == known_sha256(tmp_path / "link") == SHA256_OF_ABC
    assert read == [abc]


def overwrite(path: Path) -> None:
    path.write_bytes(b"abd")


def overwrite_and_put_the_time_back(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another_file(path: Path) -> None:
    write_whole(path, b"abd")


@pytest.mark.parametrize("change", [overwrite, overwrite_and_put_the_time_back, replace_by_another_file])
def test_a_file_that_changes_is_read_again_though_its_size_stays(change: Callable[[Path], None], abc: Path) -> None:
    assert known_sha256(abc) == SHA256_OF_ABC
    time.sleep(0.02)  # the clock of a file system may go in steps of 10 ms
    change(abc)
    assert known_sha256(abc) == hashlib.sha256(b"abd").hexdigest()


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 64, b"\0" * 64], ids=["empty", "short", "binary", "zeros"]
)
def test_a_damaged_note_costs_only_time(content: bytes, abc: Path, own_cache: Path, read: list[Path]) -> None:
    """A power cut can leave a file of the right length that holds zeros."""
    known_sha256(abc)
    for note in (own_cache / "checksums").iterdir():
        note.write_bytes(content)
    assert known_sha256(abc) == known_sha256(abc) == SHA256_OF_ABC
    assert read == [abc, abc], "and is written anew"


def test_a_cache_that_cannot_be_written_costs_only_time(
    abc: Path, tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "no folder"))
    assert known_sha256(abc) == known_sha256(abc) == SHA256_OF_ABC
    assert read == [abc, abc]


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        known_sha256(tmp_path / "absent")
