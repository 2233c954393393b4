"""A folder of everything that goes wrong: each file is an image, has one short reason, or is passed over."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.sources import Folder, SourceEntry
from tests.hostile import FILES, write, write_all
from tests.hostile.bad import BAD
from tests.hostile.craft import saved, scene
from tests.hostile.good import GOOD
from tests.hostile.places import Expected

WRITABLE = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "QOI", "PCX")
DAMAGES_PER_FORMAT = 60
# pytest shows every warning; that nothing reaches a user is tested in a process of its own.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Expected]]]:
    folder = tmp_path_factory.mktemp("zoo")
    yield folder, write(folder)
    (folder / "unreadable.jpg").chmod(0o600)


def outcome(entry: SourceEntry) -> str:
    """ "image", or the reason why not."""
    try:
        decoded = images.decode(entry.read(), size=32)
    except ImageError as error:
        return check_reason(str(error))
    assert decoded.image.mode == "RGB"
    assert min(decoded.image.size) >= 1
    return "image"


def check_reason(reason: str) -> str:
    assert 3 <= len(reason) <= 120, reason
    assert reason.isprintable(), reason
    assert "object at 0x" not in reason
    return reason


def test_there_are_enough_kinds_of_trouble(zoo: tuple[Path, dict[str, Expected]]) -> None:
    assert sum(expected == "reason" for expected in zoo[1].values()) >= 40
    assert sum(expected == "image" for expected in zoo[1].values()) >= 40


def test_every_file_of_the_folder_is_found_refused_or_passed_over_as_expected(
    zoo: tuple[Path, dict[str, Expected]],
) -> None:
    folder, expected = zoo
    outcomes = {entry.key: outcome(entry) for entry in Folder(folder).entries()}
    kinds = {key: "image" if reason == "image" else "reason" for key, reason in outcomes.items()}
    assert kinds == {key: kind for key, kind in expected.items() if kind != "ignored"}
    assert outcomes["empty.jpg"] == "empty file"
    assert outcomes["folder.jpg"] == "is a directory"
    assert outcomes["dangling.jpg"] == "no such file"
    assert outcomes["pipe.jpg"] == "not a regular file"
    assert outcomes["text.jpg"] == "not an image"
    assert outcomes["bomb.png"] == "over the limit of 178,956,970 pixels"
    assert outcomes["many scans.jpg"] == "JPEG with more than 500 scans"
    assert outcomes["sparse.jpg"] == "268,435,457 bytes, over the limit of 268,435,456"


def test_the_short_form_names_the_good_ones(tmp_path: Path) -> None:
    good = write_all(tmp_path)
    assert [good[name] for name in ("plain.jpg", "text.jpg", ".hidden.jpg")] == [True, False, False]
    (tmp_path / "unreadable.jpg").chmod(0o600)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_says_permission_denied(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ImageError, match=r"^permission denied$"):
        images.read(tmp_path / "unreadable.jpg")
    (tmp_path / "unreadable.jpg").chmod(0o600)


def test_nothing_is_printed_while_the_folder_is_read(zoo: tuple[Path, dict[str, Expected]]) -> None:
    script = """
import sys
from pathlib import Path
from lookalike.errors import ImageError
from lookalike.images import decode, sources
for entry in sources.Folder(Path(sys.argv[1])).entries():
    try:
        decode.decode(entry.read())
    except ImageError:
        pass
"""
    command = [sys.executable, "-W", "always", "-c", script, str(zoo[0])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_image_is_still_an_image(name: str) -> None:
    decoded = images.decode(GOOD[name]())
    upright = (decoded.width, decoded.height)
    assert decoded.image.size == upright


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_whatever_is_asked_of_it(name: str) -> None:
    data = BAD[name]()
    for size in (None, 16):
        with pytest.raises(ImageError) as refusal:
            images.decode(data, size=size)
        check_reason(str(refusal.value))


def test_ghostscript_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ImageError, match=r"^not an image$"):
        images.decode(BAD["postscript.jpg"]())


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, or the end cut off, or a stretch doubled or taken out."""
    body = bytearray(data)
    at = rng.randrange(len(body))
    match rng.randrange(5):
        case 0:
            del body[at:]
        case 1:
            del body[at : at + rng.randrange(1, 40)]
        case 2:
            body[at:at] = body[at : at + rng.randrange(1, 200)]
        case 3:
            body[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        case _:
            for _ in range(rng.randrange(1, 12)):
                # Headers are where harm is done: half of the changes go into the first hundred bytes.
                body[rng.randrange(min(100, len(body)) if rng.random() < 0.5 else len(body))] = rng.randrange(256)
    return bytes(body)


@pytest.mark.parametrize("kind", WRITABLE)
def test_damage_to_any_format_ends_in_an_image_or_a_reason(kind: str) -> None:
    rng = random.Random(f"damage {kind}")
    sound = saved(scene(1), kind)
    outcomes = []
    for _ in range(DAMAGES_PER_FORMAT):
        try:
            images.decode(damaged(sound, rng), size=rng.choice((None, 8)), limits=images.Limits(pixels=10_000_000))
        except ImageError as error:
            outcomes.append(check_reason(str(error)))
    assert outcomes


def test_metadata_of_random_bytes_never_stops_an_image() -> None:
    rng = random.Random(7)
    for _ in range(150):
        exif = (
            b"Exif\0\0" + rng.choice((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"")) + rng.randbytes(rng.randrange(120))
        )
        assert images.decode(saved(scene(2), "JPEG", exif=exif)).image.size in ((96, 64), (64, 96))


def test_eight_threads_decode_as_one_does() -> None:
    def decode(name: str) -> bytes | str:
        try:
            return images.decode(data[name], size=16).image.tobytes()
        except ImageError as error:
            return str(error)

    data = {name: make() for name, (make, _) in FILES.items()}
    alone = {name: decode(name) for name in data}
    names = [name for name in data for _ in range(4)]
    random.Random(0).shuffle(names)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode, names))
    assert together == [alone[name] for name in names]


def test_every_format_that_is_read_is_among_those_damaged() -> None:
    assert set(WRITABLE) == set(images.FORMATS) - {"HEIF"}
