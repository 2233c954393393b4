"""fp32, int8, or the one that a trial on the user's images chooses; the finding is stored with the collection."""

import json
from pathlib import Path

import pytest

import lookalike
from lookalike.cli import main
from lookalike.encoders import with_options
from lookalike.encoders.precision import PrecisionFinding, decide, sample
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


def run(*arguments: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def finds(monkeypatch: pytest.MonkeyPatch, finding: PrecisionFinding) -> list[int]:
    """Make every trial end in `finding`; returns the number of images of each trial."""
    counts: list[int] = []

    def choose(exact: object, rounded: object, images: list[object], progress: object) -> PrecisionFinding:
        counts.append(len(images))
        return finding

    monkeypatch.setattr("lookalike.encoders.precision.choose_precision", choose)
    return counts


def test_auto_tries_both_on_the_images_at_hand_and_info_shows_it(
    thirty: Path, tiny: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("index", str(thirty), "--encoder", str(tiny), "--precision", "auto", "--device", "onnx") == 0
    capfd.readouterr()
    assert run("info", str(thirty), "--json") == 0
    facts = json.loads(capfd.readouterr().out)
    finding = facts["precision"]
    assert finding["images"] == 30
    assert 0.99 < finding["smallest_cosine"] <= 1.00001
    assert finding["chosen"] in ("fp32", "int8")
    assert facts["encoder"] == f"{tiny}@precision={finding['chosen']}"
    assert run("info", str(thirty)) == 0
    assert f"precision    chosen {finding['chosen']}, smallest cosine " in capfd.readouterr().out


@pytest.mark.parametrize("finding", [GOOD, BAD], ids=["good", "bad"])
def test_a_trial_decides_once_and_is_not_repeated(
    thirty: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, finding: PrecisionFinding
) -> None:
    counts = finds(monkeypatch, finding)
    with lookalike.open(thirty, encoder=str(tiny)) as collection:
        assert collection.index(precision="auto").added == 30
        assert collection.encoder.name.endswith("@precision=int8") == (finding is GOOD)
    with lookalike.open(thirty, encoder=f"{tiny}@precision=auto") as again:
        assert again.index(precision="auto").unchanged == 30
        assert again.info()["precision"]["smallest_cosine"] == finding.smallest_cosine
        again.search(picture(99))
    with lookalike.open(thirty) as plain:
        plain.search(picture(99))
    assert counts == [30]


def test_the_other_precision_is_another_encoder(thirty: Path, tiny: Path) -> None:
    with lookalike.open(thirty, encoder=str(tiny)) as collection:
        collection.index(precision="int8")
        assert "precision" not in collection.info(), "nothing was tried"
    with lookalike.open(thirty, encoder=str(tiny)) as collection, pytest.raises(EncoderMismatch, match="--rebuild"):
        collection.index(precision="fp32")


def test_a_rebuild_with_auto_tries_again(thirty: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, BAD)
    with lookalike.open(thirty, encoder=str(tiny)) as collection:
        collection.index()
        collection.index(rebuild=True, precision="auto")
        assert collection.info()["precision"]["chosen"] == "fp32"
        finds(monkeypatch, GOOD)
        assert collection.index(rebuild=True, precision="auto").added == 30
        assert collection.info()["precision"]["chosen"] == "int8"
        assert collection.info()["encoder"].endswith("@precision=int8")


def test_an_encoder_without_precisions_is_one_line(thirty: Path, encoder: PixelEncoder) -> None:
    with pytest.raises(EncoderError, match="rootsift does not take the options precision"):
        lookalike.open(thirty, encoder="rootsift").index(precision="auto")
    with pytest.raises(CollectionError, match="goes with the name of an encoder"):
        lookalike.open(thirty, encoder=encoder).index(precision="int8")
    assert not (thirty / ".lookalike").exists()


def test_where_pytorch_computes_nothing_is_tried(thirty: Path, tiny: Path) -> None:
    assert decide(f"{tiny}@precision=auto", [Folder(thirty)], "cpu") == (f"{tiny}@precision=fp32", None)


def test_the_device_is_not_part_of_what_a_collection_was_made_with(thirty: Path, tiny: Path) -> None:
    with lookalike.open(thirty, encoder=f"{tiny}@pad-98,device=cpu") as collection:
        collection.index()
        assert collection.store.header.encoder == f"{tiny}@pad-98"


def test_options_are_put_in_and_taken_out_of_a_name() -> None:
    assert with_options("dinov2-base", precision="int8") == "dinov2-base@precision=int8"
    assert with_options("dinov2-base@pad-518,pool=gem,precision=int8", precision=None) == "dinov2-base@pad-518,pool=gem"


def test_the_sample_is_spread_over_the_folder_and_skips_broken_files(tmp_path: Path) -> None:
    for number in range(40):
        picture(number).save(tmp_path / f"{number:02}.png")
    (tmp_path / "08.png").write_bytes(b"broken")
    images = sample([Folder(tmp_path)], 10, None)
    assert [image.tobytes() for image in images] == [
        picture(4 * number).tobytes() for number in range(10) if number != 2
    ]


def test_the_sample_holds_no_large_pictures(tmp_path: Path) -> None:
    picture(1, (3000, 2000)).save(tmp_path / "large.png")
    picture(2, (300, 500)).save(tmp_path / "small.png")
    large, small = sample([Folder(tmp_path)], 10, 224)
    assert large.size == (750, 500)
    assert small.size == (300, 500)
