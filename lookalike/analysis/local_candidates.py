"""Local features of many pictures to the pairs that may show one scene: hashed, voted for, then fitted to a map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.analysis.local_features import LocalFeatures
from lookalike.types import Progress

TABLES, BITS = 6, 32
"""Hash tables, each of so many of the 256 bits: of two descriptors with 15 bits apart, 63 % share a bucket."""
REACH = 8
"""Neighbours in a bucket that a feature is compared with; a letter of a text is in a bucket with a thousand others."""
APART = 60
"""Bits by which the descriptors of a match differ at most."""
VOTES, INLIERS = 3, 8
"""Matches that agree on turn and scale before a pair is looked at, and those that must fit one map."""
PIXELS = 4.0 / 320
"""How far from the map a match may lie, as a share of the longest side."""


@dataclass(frozen=True)
class Candidate:
    """Two pictures `a` < `b`; `matrix` (2, 3) maps shares of the longest side of `b` to those of `a`."""

    a: int
    b: int
    matrix: NDArray[np.float64]
    inliers: int


def candidates(features: Sequence[LocalFeatures], progress: Progress | None = None) -> Iterator[Candidate]:
    """Pairs of pictures whose features fit one map of turn, scale, shift and, perhaps, mirroring."""
    pairs = voted(features)
    for done, (a, b, mirrored) in enumerate(pairs.tolist()):
        fitted = fit(features[a], features[b], bool(mirrored))
        if fitted is not None:
            yield Candidate(a, b, *fitted)
        if progress:
            progress(done + 1, len(pairs))


def voted(features: Sequence[LocalFeatures]) -> NDArray[np.int64]:
    """(n, 3): pairs a < b of pictures with `VOTES` matches of one turn and scale, and whether b is mirrored."""
    counts = [len(feature) for feature in features]
    if sum(counts) < 2:
        return np.empty((0, 3), np.int64)
    plain = np.concatenate([feature.bits for feature in features])
    bits = np.concatenate([plain, *(feature.mirrored for feature in features)])
    points = np.concatenate([feature.points for feature in features])
    owners = np.tile(np.repeat(np.arange(len(features)), counts), 2)
    half = len(plain)
    a, b = _matches(bits, owners, half)
    mirrored = b >= half
    points_a, points_b = points[a], points[b % half]
    turn = np.where(mirrored, 180 - points_b[:, 3], points_b[:, 3]) - points_a[:, 3]
    scale = np.log2(np.maximum(points_b[:, 2], 1e-6) / np.maximum(points_a[:, 2], 1e-6))
    pair = (owners[a] * len(features) + owners[b]) * 2 + mirrored
    return _elected(pair, turn, scale, len(features))


def _matches(
    bits: NDArray[np.uint8], owners: NDArray[np.int64], half: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Features that share a bucket and are alike: `a` of a plain picture, `b` of a later one, or of a mirrored one."""
    rng = np.random.default_rng(0)
    words = bits.view(np.uint64)
    codes: list[NDArray[np.int64]] = []
    for _ in range(TABLES):
        key, order = _bucketed(bits, rng.permutation(256)[:BITS], rng)
        for gap in range(1, REACH + 1):
            at = np.flatnonzero(key[:-gap] == key[gap:])
            if not len(at):
                break
            a, b = order[at], order[at + gap]
            swapped = (a >= half) | ((b < half) & (owners[a] > owners[b]))
            a, b = np.where(swapped, b, a), np.where(swapped, a, b)
            used = (a < half) & (owners[a] < owners[b])
            a, b = a[used], b[used]
            apart = np.bitwise_count(words[a] ^ words[b]).sum(axis=1)
            codes.append((a * len(bits) + b)[apart <= APART])
    code = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.int64)
    return code // len(bits), code % len(bits)


def _bucketed(
    bits: NDArray[np.uint8], picked: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The features' hashes in order, and the features in that order; those of one hash in random order."""
    key = np.zeros(len(bits), np.uint32)
    for bit in picked.tolist():
        key = (key << np.uint32(1)) | ((bits[:, bit >> 3] >> np.uint8(7 - (bit & 7))) & np.uint8(1))
    shuffled = rng.permutation(len(bits))
    order = shuffled[np.argsort(key[shuffled], kind="stable")]
    return key[order], order


def _elected(
    pair: NDArray[np.int64], turn: NDArray[np.float32], scale: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Pairs whose votes for one bin of turn (30 degrees) and scale (an octave) are enough; bins overlap by half."""
    elected: list[NDArray[np.int64]] = []
    for half_turn in (0, 15):
        for half_octave in (0.0, 0.5):
            turns = ((turn + half_turn) % 360 // 30).astype(np.int64)
            octaves = np.clip(np.floor(scale + half_octave) + 8, 0, 15).astype(np.int64)
            bins, votes = np.unique(pair * 192 + turns * 16 + octaves, return_counts=True)
            elected.append(bins[votes >= VOTES] // 192)
    pairs = np.unique(np.concatenate(elected))
    return np.stack([pairs // 2 // count, pairs // 2 % count, pairs % 2], axis=1)


def fit(a: LocalFeatures, b: LocalFeatures, mirrored: bool) -> tuple[NDArray[np.float64], int] | None:
    """The map (2, 3) of b to a that most mutual matches fit, and their number; None for too few."""
    import cv2

    if min(len(a), len(b)) < INLIERS:
        return None
    rows, columns = _mutual(a.bits, b.mirrored if mirrored else b.bits)
    if len(rows) < INLIERS:
        return None
    points_a, points_b = a.points[rows, :2].astype(np.float64), b.points[columns, :2].astype(np.float64)
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0])
    cv2.setRNGSeed(0)
    matrix, inside = cv2.estimateAffinePartial2D(
        points_b @ flip, points_a, method=cv2.RANSAC, ransacReprojThreshold=PIXELS, maxIters=500, confidence=0.995
    )
    if matrix is None or int(inside.sum()) < INLIERS:
        return None
    return np.asarray(np.hstack([matrix[:, :2] @ flip, matrix[:, 2:]]), np.float64), int(inside.sum())


def _mutual(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Descriptors that are each other's nearest, and near enough: rows of a and of b."""
    words_a, words_b = a.view(np.uint64), b.view(np.uint64)
    apart = sum(np.bitwise_count(words_a[:, None, word] ^ words_b[None, :, word]).astype(np.int16) for word in range(4))
    nearest = np.asarray(apart).argmin(axis=1)
    rows = np.arange(len(a))
    mutual = (np.asarray(apart).argmin(axis=0)[nearest] == rows) & (np.asarray(apart)[rows, nearest] <= APART)
    return rows[mutual], nearest[mutual]
