"""The kind of index goes by the number of rows, the memory that is free, and what was measured."""

import pytest

from lookalike.index.library import library
from lookalike.storage.maintenance.choose_index import KINDS, automatic
from tests.support import ROOT
from tests.support.vectors import clustered


@pytest.mark.parametrize(
    ("rows", "dim", "memory", "spec"),
    [
        (50_000, 768, 8 << 30, "exact"),
        (300_000, 768, 8 << 30, "HNSW32_SQ8"),
        (300_000, 768, 1 << 30, "OPQ96_384,IVF2048,PQ96x4fsr"),
        (2_900_000, 768, 128 << 30, "HNSW32_SQ8"),
        (3_000_000, 768, 128 << 30, "OPQ96_384,IVF8192,PQ96x4fsr"),
        (10_000_000, 768, 8 << 30, "OPQ96_384,IVF16384,PQ96x4fsr"),
        (10_000_000, 768, 128 << 30, "OPQ96_384,IVF16384,PQ96x4fsr"),
        (10_000_000, 30, 1 << 30, "OPQ7_28,IVF16384,PQ7x4fsr"),
        (1_000_000_000, 768, 8 << 30, "OPQ96_384,IVF65536,PQ96x4fsr"),
    ],
)
def test_automatic_choice_goes_by_count_and_memory(rows: int, dim: int, memory: int, spec: str) -> None:
    assert automatic(rows, dim, memory) == spec


def test_what_is_said_of_their_speed_was_measured() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    section = page.partition("## Search of a million vectors\n")[2].partition("\n## ")[0]
    for kind in KINDS:
        name = kind.spec.partition("{")[0]
        rows = [line.split("|") for line in section.splitlines() if line.startswith(f"| ours, {name}")]
        build, answers = next((row[2], row[8]) for row in rows if row[5].strip() == "0.99")
        assert kind.build == float(build)
        assert kind.query == pytest.approx(1 / float(answers.replace(",", "")), rel=1e-6)


def test_what_is_said_of_the_bytes_of_a_row_is_what_an_index_takes() -> None:
    """Of a built one, without what does not grow with the rows: that of twice as many less that of the rows."""
    faiss = library()
    for kind in KINDS:
        spec = kind.spec.format(parts=16, width=64, lists=16).removeprefix("OPQ16_64,")
        index = faiss.index_factory(64, spec, faiss.METRIC_INNER_PRODUCT)
        index.train(clustered(4000, 64))
        sizes = []
        for part in range(2):
            index.add(clustered(6000, 64, seed=part))
            sizes.append(len(faiss.serialize_index(index)))
        assert kind.row_bytes(64) == pytest.approx((sizes[1] - sizes[0]) / 6000, rel=0.15)
