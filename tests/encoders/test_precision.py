"""fp32, int8, or whichever does on the user's own images; what was found stays with the collection."""

import json
from pathlib import Path

import pytest

import lookalike.collection.collection as collections
from lookalike.cli import _run
from lookalike.encoders import precision as precisions
from lookalike.encoders import with_options
from lookalike.encoders.precision import PrecisionFinding
from lookalike.errors import CollectionError, EncoderError, EncoderMismatch
from lookalike.images.sources import Folder
from tests.support.pictures import PixelEncoder, picture

pytestmark = pytest.mark.usefixtures("own_cache")
GOOD = PrecisionFinding("int8", 0.998, 0.97, 64)
BAD = PrecisionFinding("fp32", 0.91, 0.97, 64)


@pytest.fixture
def thirty(tmp_path: Path) -> Path:
    folder = tmp_path / "thirty"
    folder.mkdir()
    for number in range(30):
        picture(number).save(folder / f"{number:02}.png")
    return folder


def finds(monkeypatch: pytest.MonkeyPatch, finding: PrecisionFinding) -> list[int]:
    """Let the trial come out as told; how many images each was made on."""
    made: list[int] = []

    def choose(exact: object, rounded: object, images: list[object], progress: object) -> PrecisionFinding:
        made.append(len(images))
        return finding

    monkeypatch.setattr(precisions, "choose_precision", choose)
    return made


def test_auto_tries_both_on_the_images_at_hand_and_info_shows_it(
    thirty: Path, tiny: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["index", str(thirty), "--encoder", str(tiny), "--precision", "auto", "--device", "onnx"], False) == 0
    capfd.readouterr()
    assert _run(["info", str(thirty), "--json"], False) == 0
    facts = json.loads(capfd.readouterr().out)
    found = facts["precision"]
    assert found["images"] == 30
    assert 0.99 < found["smallest_cosine"] <= 1.00001
    assert found["chosen"] in ("fp32", "int8")
    assert facts["encoder"] == f"{tiny}@precision={found['chosen']}"
    assert _run(["info", str(thirty)], False) == 0
    assert f"precision    chosen {found['chosen']}, smallest cosine " in capfd.readouterr().out


@pytest.mark.parametrize("finding", [GOOD, BAD], ids=["good", "bad"])
def test_what_was_found_decides_once_and_is_not_asked_again(
    thirty: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, finding: PrecisionFinding
) -> None:
    made = finds(monkeypatch, finding)
    with collections.open(thirty, encoder=str(tiny)) as opened:
        assert opened.index(precision="auto").added == 30
        assert opened.encoder.name.endswith("@precision=int8") == (finding is GOOD)
    with collections.open(thirty, encoder=f"{tiny}@precision=auto") as again:
        assert again.index(precision="auto").unchanged == 30
        assert again.info()["precision"]["smallest_cosine"] == finding.smallest_cosine
        again.search(picture(99))
    with collections.open(thirty) as plain:
        plain.search(picture(99))
    assert made == [30]


def test_the_other_precision_is_another_encoder(thirty: Path, tiny: Path) -> None:
    with collections.open(thirty, encoder=str(tiny)) as opened:
        opened.index(precision="int8")
        assert "precision" not in opened.info(), "nothing was tried"
    with collections.open(thirty, encoder=str(tiny)) as opened, pytest.raises(EncoderMismatch, match="--rebuild"):
        opened.index(precision="fp32")


def test_a_rebuild_with_auto_tries_again(thirty: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, BAD)
    with collections.open(thirty, encoder=str(tiny)) as opened:
        opened.index()
        opened.index(rebuild=True, precision="auto")
        assert opened.info()["precision"]["chosen"] == "fp32"
        finds(monkeypatch, GOOD)
        assert opened.index(rebuild=True, precision="auto").added == 30
        assert opened.info()["precision"]["chosen"] == "int8"
        assert opened.info()["encoder"].endswith("@precision=int8")


def test_an_encoder_without_precisions_is_one_line(thirty: Path, encoder: PixelEncoder) -> None:
    with pytest.raises(EncoderError, match="rootsift does not take the options precision"):
        collections.open(thirty, encoder="rootsift").index(precision="auto")
    with pytest.raises(CollectionError, match="goes with the name of an encoder"):
        collections.open(thirty, encoder=encoder).index(precision="int8")
    assert not (thirty / ".lookalike").exists()


def test_where_pytorch_computes_nothing_is_tried(thirty: Path, tiny: Path) -> None:
    assert precisions.decide(f"{tiny}@precision=auto", [Folder(thirty)], "cpu") == (f"{tiny}@precision=fp32", None)


def test_the_device_is_not_part_of_what_a_collection_was_made_with(thirty: Path, tiny: Path) -> None:
    with collections.open(thirty, encoder=f"{tiny}@pad-98,device=cpu") as opened:
        opened.index()
        assert opened.store.header.encoder == f"{tiny}@pad-98"


def test_options_are_put_in_and_taken_out_of_a_name() -> None:
    assert with_options("dinov2-base", precision="int8") == "dinov2-base@precision=int8"
    assert with_options("dinov2-base@pad-518,pool=gem,precision=int8", precision=None) == "dinov2-base@pad-518,pool=gem"


def test_the_sample_is_spread_over_the_folder_and_passes_over_what_is_broken(tmp_path: Path) -> None:
    for number in range(40):
        picture(number).save(tmp_path / f"{number:02}.png")
    (tmp_path / "08.png").write_bytes(b"broken")
    found = precisions.sample([Folder(tmp_path)], 10, None)
    assert [image.tobytes() for image in found] == [
        picture(4 * number).tobytes() for number in range(10) if number != 2
    ]


def test_the_sample_holds_no_large_pictures(tmp_path: Path) -> None:
    picture(1, (3000, 2000)).save(tmp_path / "large.png")
    picture(2, (300, 500)).save(tmp_path / "small.png")
    large, small = precisions.sample([Folder(tmp_path)], 10, 224)
    assert large.size == (750, 500)
    assert small.size == (300, 500)
