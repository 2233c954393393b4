"""The command line over quick encoders, and collections that it has indexed."""

from pathlib import Path

import pytest
from PIL import Image

from lookalike.collection import reader
from lookalike.encoders import load_encoder
from tests.cli.running import Run, status_of
from tests.collection.test_sets import ColourEncoder
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in this process, with the quick encoder behind the name `pixels`."""
    monkeypatch.setattr(reader, "load_encoder", lambda name: encoder if name == "pixels" else load_encoder(name))

    def call(*arguments: object) -> tuple[int, str, str]:
        status = status_of(*arguments)
        output, errors = capfd.readouterr()
        assert "Traceback" not in errors
        return status, output, errors

    return call


@pytest.fixture
def indexed(run: Run, photos: Path) -> Path:
    """Fourteen pictures, among them a copy in another format and one of the same bytes."""
    picture(1).save(photos / "copy.png")
    (photos / "same.jpg").write_bytes((photos / "02.jpg").read_bytes())
    run("index", photos, "--encoder", "pixels")
    return photos


@pytest.fixture
def worded(run: Run, indexed: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a red and a blue picture, and with a second vector set, of an encoder that reads text."""
    encoders = {"pixels": encoder, "colours": ColourEncoder()}
    monkeypatch.setattr(reader, "load_encoder", lambda name: encoders[name])
    monkeypatch.setattr(reader, "reads_text", lambda name: name == "colours")
    for name, colour in {"red": (250, 5, 5), "blue": (5, 5, 250)}.items():
        Image.new("RGB", (40, 30), colour).save(indexed / f"{name}.png")
    status, output, _ = run("index", indexed, "--encoder", "pixels", "--encoder", "colours")
    assert (status, output.split(":")[1].split("(")[0].strip()) == (0, "16 images")
    return indexed
