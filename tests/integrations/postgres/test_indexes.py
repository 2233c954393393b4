import pytest

from lookalike.integrations.postgres.indexes import EXACT, HNSW, IVFFLAT, building_memory, lists, suitable


@pytest.mark.parametrize(
    ("count", "dim", "dtype", "kind"),
    [
        (10_000, 768, "float16", EXACT),
        (10_001, 768, "float16", HNSW),
        (10_001, 4000, "float16", HNSW),
        (10_001, 4001, "float16", EXACT),
        (10_001, 2000, "float32", HNSW),
        (10_001, 2001, "float32", EXACT),
    ],
)
def test_the_kind_follows_the_size_and_what_pgvector_indexes(count: int, dim: int, dtype: str, kind: object) -> None:
    assert suitable(count, dim, dtype) is kind


def test_a_graph_is_searched_within_pgvectors_limit_and_read_on_beyond_it() -> None:
    assert HNSW.settings(10, 64, 50_000)["hnsw.ef_search"] == "64"
    assert HNSW.settings(100, 64, 50_000)["hnsw.ef_search"] == "200"
    assert HNSW.settings(10, 4000, 50_000)["hnsw.ef_search"] == "1000"
    assert HNSW.settings(10, 64, 50_000, share=0.1)["hnsw.ef_search"] == "200"
    assert (HNSW.reads(10, 64, 0.1), HNSW.reads(10, 64, 0.01), HNSW.reads(100, 64, 0.1)) == (10, 20, 200)
    assert (HNSW.reads(10, 64), HNSW.reads(10, 4000), HNSW.reads(5000, 64)) == (10, 4000, 10_000)


def test_an_inverted_file_has_a_list_for_a_thousand_rows_and_is_probed_as_was_measured_for_ten() -> None:
    assert (lists(4000), lists(100_000), lists(4_000_000)) == (10, 100, 2000)
    assert IVFFLAT.settings(10, 4, 100_000)["ivfflat.probes"] == "4"
    assert IVFFLAT.settings(11, 4, 100_000)["ivfflat.probes"] == "4"
    assert IVFFLAT.settings(100, 4, 100_000)["ivfflat.probes"] == "37"
    assert IVFFLAT.settings(10, 4, 100_000, share=0.1)["ivfflat.probes"] == "37"
    assert IVFFLAT.settings(10, 512, 100_000)["ivfflat.probes"] == "100"
    assert IVFFLAT.reads(10, 512) == 10


def test_memory_for_building_is_at_least_the_servers_usual_and_at_most_a_gibibyte() -> None:
    assert building_memory(20_000, 384, "float16") == 64 << 20
    assert building_memory(10_000_000, 384, "float16") == 1 << 30
