import pytest

from lookalike.integrations.milvus.index_types import released, suitable


@pytest.mark.parametrize(
    ("count", "version", "name"),
    [
        (10_000, "v2.6.1", "FLAT"),
        (10_001, "v2.6.1", "HNSW"),
        (10_000_000, "v2.6.1", "HNSW"),
        (10_000_001, "v2.6.1", "IVF_RABITQ"),
        (10_000_001, "v2.5.4", "DISKANN"),
        # Accepted, never built, and then answering from part of the rows.
        (10_000_001, "v2.3.5-lite", "HNSW"),
        (10_000_001, "milvus_lite-3.2.2", "HNSW"),
    ],
)
def test_the_kind_follows_the_size_and_what_the_server_has(count: int, version: str, name: str) -> None:
    assert suitable(count, version).name == name


def test_versions_are_read_from_what_servers_say() -> None:
    assert released("v2.3.5-lite") == (2, 3)
    assert released("nightly") == (0, 0)


def test_a_careful_search_looks_four_times_as_far() -> None:
    kind = suitable(20_000, "v2.6.1")
    tuned, careful = kind.search_params(10, effort=256), kind.search_params(10, careful=True, effort=256)
    assert (tuned, careful) == ({"ef": 256}, {"ef": 1024})


def test_a_list_is_never_longer_than_what_is_looked_at() -> None:
    assert suitable(20_000, "v2.6.1").search_params(1000, effort=256) == {"ef": 2000}
