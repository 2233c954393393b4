"""Vectors of images and a list of words to the best words of each image, without training (zero-shot)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lookalike.errors import QueryError
from lookalike.types import Ids, Scores, TextEncoder, Vectors
from lookalike.utils.tables import csv_writer

# CLIP's own default (Radford et al., ICML 2021, section 3.1.4).
TEMPLATE = "a photo of a {}"
MOST_LABELS = 100_000
BLOCK = 4096


@dataclass(frozen=True)
class Label:
    """A label of an image; `score` is the cosine between the image and the label's prompt."""

    text: str
    score: float


def read_labels(path: str | Path) -> list[str]:
    """The lines of a file in order, without blank lines and lines that begin with `#`; raises QueryError."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise QueryError(f"{path}: labels cannot be read ({getattr(error, 'strerror', None) or error})") from error
    labels = list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")))
    if not labels:
        raise QueryError(f"{path} has no labels; write one a line")
    if len(labels) > MOST_LABELS:
        raise QueryError(f"{path} has {len(labels):,} labels, over the limit of {MOST_LABELS:,}")
    return labels


def label_vectors(encoder: TextEncoder, labels: Sequence[str], templates: Sequence[str] = (TEMPLATE,)) -> Vectors:
    """Labels to (n, dim) unit rows: the mean over all templates, in which `{}` stands for the label.

    Raises QueryError without labels and for a template without `{}`.
    """
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise QueryError(f"a template needs one {{}} for the label, as in {TEMPLATE!r}; {wrong or 'none'!r} was given")
    if not labels:
        raise QueryError("no labels were given")
    rows = [encoder.encode_text([template.replace("{}", label) for label in labels]) for template in templates]
    mean = np.mean(rows, axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)


def best_labels(images: Vectors, labels: Vectors, k: int = 1) -> tuple[Scores, Ids]:
    """Unit rows of images (n, dim) and labels (m, dim) to cosines and label numbers (n, min(k, m)), best first."""
    if k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    if images.shape[1] != labels.shape[1]:
        raise QueryError(f"images of {images.shape[1]} dimensions cannot be labelled by words of {labels.shape[1]}")
    k = min(k, len(labels))
    scores = images @ labels.T
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
    return np.take_along_axis(scores, ids, axis=1), ids


def label(
    blocks: Iterable[Vectors],
    labels: Sequence[str],
    encoder: TextEncoder,
    k: int = 1,
    templates: Sequence[str] = (TEMPLATE,),
    min_score: float = -1.0,
) -> Iterator[list[Label]]:
    """The best `k` labels of each image, best first, without those below `min_score`.

    `blocks` are vectors (n, dim) of this encoder, a few thousand rows each. The range of cosines depends on the
    encoder; CLIP's are between 0.15 and 0.35. Raises QueryError at the first item.
    """
    words = label_vectors(encoder, labels, templates)
    for images in blocks:
        scores, ids = best_labels(images, words, k)
        for row_scores, row_ids in zip(scores.tolist(), ids.tolist(), strict=True):
            best = zip(row_ids, row_scores, strict=True)
            yield [Label(labels[number], score) for number, score in best if score >= min_score]


def write_csv(keys: Iterable[str], labelled: Iterable[Sequence[Label]], file: IO[str], k: int = 1) -> None:
    """A line for each image: key, label, score, label_2, score_2 … up to `k`, as `index --meta` reads it."""
    writer = csv_writer(file)
    places = ["", *(f"_{number}" for number in range(2, k + 1))]
    writer.writerow(["key", *(name for place in places for name in (f"label{place}", f"score{place}"))])
    for key, labels in zip(keys, labelled, strict=True):
        values = [value for label in labels for value in (label.text, f"{label.score:.6f}")]
        writer.writerow([key, *values, *[""] * (2 * k - len(values))])


def write_json(keys: Iterable[str], labelled: Iterable[Sequence[Label]], file: IO[str]) -> None:
    """One JSON object a line, written as the labels arrive."""
    for key, labels in zip(keys, labelled, strict=True):
        values = [{"label": label.text, "score": round(label.score, 6)} for label in labels]
        file.write(json.dumps({"key": key, "labels": values}) + "\n")
