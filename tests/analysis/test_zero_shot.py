import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.analysis import zero_shot as labelling
from lookalike.analysis.zero_shot import Label, best_labels, label, label_vectors, read_labels
from lookalike.errors import QueryError
from lookalike.types import Picture, Vectors

ANGLES = {"cat": 0, "dog": 60, "car": 180}


class Compass:
    """Reads the word that a prompt ends in as a direction: cosines are worked out by hand."""

    name, dim, fingerprint, decode_size = "compass", 2, "0", None

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        self.read += texts
        tilt = [20 if text.startswith("a drawing") else 0 for text in texts]
        return directions(*(ANGLES[text.split()[-1]] + more for text, more in zip(texts, tilt, strict=True)))

    def prepare(self, image: Any, full_size: Any = None) -> NDArray[Any]:
        raise NotImplementedError

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        raise NotImplementedError

    def encode(self, images: Sequence[Picture]) -> Vectors:
        raise NotImplementedError


def directions(*degrees: float) -> Vectors:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_the_nearest_word_is_the_label() -> None:
    rows = list(label([directions(10, 50, 170)], list(ANGLES), Compass()))
    assert [[best.text for best in labels] for labels in rows] == [["cat"], ["dog"], ["car"]]
    # cos 10 degrees
    assert rows[0][0].score == pytest.approx(0.98481, abs=1e-5)


def test_several_labels_come_best_first() -> None:
    (labels,) = label([directions(20)], list(ANGLES), Compass(), k=9)
    # 20, 40 and 160 degrees away
    assert [(best.text, round(best.score, 4)) for best in labels] == [("cat", 0.9397), ("dog", 0.766), ("car", -0.9397)]


def test_a_label_of_exactly_the_score_is_kept() -> None:
    (labels,) = label([directions(20)], list(ANGLES), Compass(), k=3)
    (kept,) = label([directions(20)], list(ANGLES), Compass(), k=3, min_score=labels[1].score)
    assert kept == labels[:2]


def test_too_many_labels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "MOST_LABELS", 3)
    (tmp_path / "three.txt").write_text("a\nb\nc\nb\n")
    assert read_labels(tmp_path / "three.txt") == ["a", "b", "c"]
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(QueryError, match="has 4 labels, over the limit of 3"):
        read_labels(tmp_path / "four.txt")


def test_labels_below_the_score_are_left_out() -> None:
    (labels,) = label([directions(20)], list(ANGLES), Compass(), k=3, min_score=0.9)
    assert [best.text for best in labels] == ["cat"]


def test_the_template_is_what_the_encoder_reads() -> None:
    encoder = Compass()
    label_vectors(encoder, ["cat"], ["a photo of a {}"])
    assert encoder.read == ["a photo of a cat"]


def test_several_templates_are_averaged() -> None:
    (vector,) = label_vectors(Compass(), ["cat"], ["a photo of a {}", "a drawing of a {}"])
    # The mean of 0 and 20 degrees is 10 degrees.
    assert vector.tolist() == pytest.approx(directions(10)[0].tolist(), abs=1e-6)


@pytest.mark.parametrize("templates", [["a photo"], ["{} and {}"], []])
def test_a_template_without_one_place_for_the_label_is_refused(templates: list[str]) -> None:
    with pytest.raises(QueryError, match=r"needs one \{\}"):
        label_vectors(Compass(), ["cat"], templates)


def test_braces_in_labels_are_only_braces() -> None:
    encoder = Compass()
    label_vectors(encoder, ["{0.__class__} cat"])
    assert encoder.read == ["a photo of a {0.__class__} cat"]


def test_blocks_make_no_difference() -> None:
    images = directions(*range(0, 360, 7))
    whole = list(label([images], list(ANGLES), Compass(), k=2))
    assert list(label([images[:5], images[5:40], images[40:]], list(ANGLES), Compass(), k=2)) == whole


def test_words_of_another_space_are_refused() -> None:
    with pytest.raises(QueryError, match="3 dimensions cannot be labelled by words of 2"):
        best_labels(np.ones((1, 3), np.float32), directions(0))
    with pytest.raises(QueryError, match="k must be at least 1"):
        best_labels(directions(0), directions(0), 0)
    with pytest.raises(QueryError, match="no labels"):
        list(label([directions(0)], [], Compass()))


def test_labels_are_read_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffcat\r\n# animals\n\n  red door  \ncat\n赤い扉\n".encode())
    assert read_labels(file) == ["cat", "red door", "赤い扉"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00"])
def test_a_file_without_labels_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(content)
    with pytest.raises(QueryError, match=r"labels\.txt"):
        read_labels(file)
    with pytest.raises(QueryError, match="cannot be read"):
        read_labels(tmp_path / "absent.txt")


LABELLED = [[Label("cat", 0.5), Label("dog", 0.25)], []]


def test_csv_has_an_image_a_line() -> None:
    file = io.StringIO()
    labelling.write_csv(["a,b.jpg", "c.jpg"], LABELLED, file, k=2)
    assert file.getvalue() == 'key,label,score,label_2,score_2\n"a,b.jpg",cat,0.500000,dog,0.250000\nc.jpg,,,,\n'


def test_json_has_an_image_a_line() -> None:
    file = io.StringIO()
    labelling.write_json(["a", "c"], LABELLED, file)
    assert [json.loads(line) for line in file.getvalue().splitlines()] == [
        {"key": "a", "labels": [{"label": "cat", "score": 0.5}, {"label": "dog", "score": 0.25}]},
        {"key": "c", "labels": []},
    ]
