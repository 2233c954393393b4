from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.encoders import whitening
from lookalike.encoders.whitening import FILE, Whitening, fit, load
from lookalike.errors import CollectionError, QueryError
from lookalike.types import Vectors


def unit(rows: NDArray[np.floating]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def stretched(count: int = 400, dim: int = 8, seed: int = 0) -> Vectors:
    """Unit rows around a centre, with deviations from 1 down to 1/dim in turned directions."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return unit((rng.normal(size=(count, dim)) / np.arange(1, dim + 1)) @ turn + 0.5)


def projected(learned: Whitening, rows: Vectors) -> NDArray[np.float64]:
    """Whitened rows before they are divided by their lengths."""
    return np.asarray((rows.astype(np.float64) - learned.mean) @ learned.projection, np.float64)


def plain(rows: Vectors, dim: int, power: float) -> NDArray[np.float64]:
    """The textbook formula, by the singular value decomposition of the centred rows: U times S ** (1 - `power`)."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    scaled = left * values ** (1 - power)
    scaled = scaled[:, :dim]
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), np.float64)


def test_whitened_vectors_have_the_identity_for_their_covariance() -> None:
    rows = stretched()
    rotated = projected(fit(rows), rows)
    covariance = rotated.T @ rotated / len(rows)
    assert np.allclose(covariance / covariance[0, 0], np.eye(8), atol=1e-4)
    assert np.allclose(rotated.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("dim", [8, 3, 1])
def test_it_agrees_with_the_textbook_formula_up_to_signs(power: float, dim: int) -> None:
    rows = stretched()
    whitened, expected = fit(rows, dim, power).apply(rows), plain(rows, dim, power)
    assert whitened.shape == (400, dim)
    # Each direction may point either way, so vectors are compared by their cosines to each other.
    assert np.allclose(whitened @ whitened.T, expected @ expected.T, atol=1e-4)


def test_power_0_keeps_distances_from_the_mean_and_only_rotates() -> None:
    rows = stretched()
    learned = fit(rows, power=0)
    assert np.allclose(learned.projection.T @ learned.projection, np.eye(8), atol=1e-5)
    centred = rows - rows.mean(axis=0)
    assert np.allclose(np.linalg.norm(projected(learned, rows), axis=1), np.linalg.norm(centred, axis=1), atol=1e-5)


def test_power_a_half_leaves_the_root_of_each_deviation() -> None:
    rows = stretched()
    variances = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    remaining = projected(fit(rows, power=0.5), rows).var(axis=0)
    assert np.allclose(remaining / remaining[0], np.sqrt(variances / variances[0]), rtol=1e-3)


def test_full_shrinkage_is_power_0() -> None:
    rows = stretched()
    assert np.allclose(fit(rows, shrinkage=1.0).projection, fit(rows, power=0.0).projection, atol=1e-6)


def test_two_dimensions_by_hand() -> None:
    """Deviations of 2 along x and 1 along y around (1, 1): whitening halves x relative to y."""
    rows = np.array([[3, 1], [-1, 1], [1, 2], [1, 0]], np.float32)
    learned = fit(rows)
    assert learned.mean.tolist() == [1, 1]
    whitened = learned.apply(np.array([[3, 2]], np.float32))
    assert np.abs(whitened).tolist() == [pytest.approx([0.5**0.5] * 2)]


def test_rows_come_out_at_unit_length_and_of_float32() -> None:
    whitened = fit(stretched()).apply(stretched(seed=1))
    assert whitened.dtype == np.float32
    assert np.allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-6)


def test_a_row_at_the_mean_gets_a_direction_all_the_same() -> None:
    learned = fit(stretched())
    whitened = learned.apply(np.stack([learned.mean, np.full(8, np.nan, np.float32)]))
    assert whitened.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]] * 2


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(stretched())
    monkeypatch.setattr(whitening, "BLOCK", 7)
    parts = fit(stretched())
    assert np.allclose(whole.mean, parts.mean, atol=1e-6)
    assert np.allclose(np.abs(whole.projection.T @ parts.projection), whole.projection.T @ whole.projection, atol=1e-3)


def test_rows_that_are_not_finite_are_skipped() -> None:
    rows = stretched()
    spoilt = np.concatenate([rows, np.full((3, 8), np.nan, np.float32), np.full((1, 8), np.inf, np.float32)])
    assert np.allclose(fit(spoilt).mean, fit(rows).mean, atol=1e-6)


def test_directions_that_do_not_vary_are_left_out() -> None:
    flat = np.concatenate([stretched(dim=4), np.full((400, 2), 0.25, np.float32)], axis=1)
    assert fit(flat).dim == 4
    with pytest.raises(QueryError, match="dim = 5, but 400 vectors vary in 4 directions; ask for fewer"):
        fit(flat, dim=5)


def test_three_vectors_vary_in_two_directions() -> None:
    assert fit(stretched(count=3)).dim == 2


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (stretched(count=1), {}, "there are 1 usable ones"),
        (np.empty((0, 8), np.float32), {}, "there are 0 usable ones"),
        (np.repeat(stretched(count=1), 5, axis=0), {}, "5 vectors vary in 0 directions"),
        (stretched(), {"dim": 0}, "dim = 0"),
        (stretched(), {"dim": 9}, "dim = 9"),
        (stretched(), {"power": 1.5}, "power 1.5"),
        (stretched(), {"power": float("nan")}, "power nan"),
        (stretched(), {"shrinkage": -1.0}, "shrinkage -1"),
    ],
)
def test_what_cannot_be_learned_is_one_line(rows: Vectors, options: dict[str, float], words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        fit(rows, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(QueryError, match="for vectors of 8 numbers, these have 5"):
        fit(stretched()).apply(stretched(dim=5))


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    learned = fit(stretched(), dim=5, power=0.5)
    learned.save(tmp_path)
    again = load(tmp_path)
    assert again is not None
    assert (again.mean == learned.mean).all()
    assert (again.projection == learned.projection).all()
    assert again.fingerprint == learned.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (again.dim_in, again.dim) == (8, 5)


def test_every_number_is_part_of_the_fingerprint() -> None:
    learned = fit(stretched())
    other = Whitening(learned.mean, learned.projection.copy())
    assert other.fingerprint == learned.fingerprint
    other.projection[-1, -1] += 1e-6
    assert Whitening(other.mean, other.projection).fingerprint != learned.fingerprint
    assert fit(stretched(), power=0.9).fingerprint != learned.fingerprint


def test_no_file_is_no_whitening(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize(
    "kind", ["empty", "short", "text", "other shapes", "not finite", "float64", "wider", "missing"]
)
def test_a_damaged_file_is_one_line(kind: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    learned = fit(stretched())
    learned.save(tmp_path)
    path = tmp_path / FILE
    mean, projection = learned.mean, np.ascontiguousarray(learned.projection)
    tensors: dict[str, dict[str, Any]] = {
        "other shapes": {"mean": mean[:5], "projection": projection},
        "not finite": {"mean": mean, "projection": projection * np.float32(np.nan)},
        "float64": {"mean": mean.astype(np.float64), "projection": projection.astype(np.float64)},
        "wider": {"mean": mean, "projection": np.ones((8, 9), np.float32)},
        "missing": {"mean": mean},
    }
    contents = {"empty": b"", "short": path.read_bytes()[:-5], "text": b"no tensors at all"}
    if kind in tensors:
        save_file(tensors[kind], path)
    else:
        path.write_bytes(contents[kind])
    with pytest.raises(CollectionError, match=f"{FILE} is damaged .*; index again with --rebuild") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
