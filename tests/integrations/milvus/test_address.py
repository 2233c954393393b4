import pytest

from lookalike.errors import EngineError
from lookalike.integrations.addresses import renamed, stored
from lookalike.integrations.milvus.address import is_private, parse
from lookalike.integrations.milvus.client import connect


def test_a_server_a_database_and_tls_are_read_from_the_uri() -> None:
    address = parse("milvus+tls://me:pa%2Fss@search.example:443/photos?db=prod")
    assert (address.host, address.port, address.name, address.database) == ("search.example", 443, "photos", "prod")
    assert address.tls
    assert address.token == "me:pa/ss"


def test_the_port_may_be_left_out() -> None:
    assert str(parse("milvus://host/photos")) == "milvus://host:19530/photos"


def test_what_is_shown_and_stored_holds_no_password() -> None:
    uri = "milvus://host:19530/photos"
    assert stored("milvus://me:secret@host:19530/photos") == uri
    assert "secret" not in repr(parse("milvus://me:secret@host/photos"))
    # The same process gets in with the stored address.
    assert parse(uri).token == "me:secret"


def test_the_token_of_the_environment_goes_only_to_a_server_that_the_user_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOOKALIKE_MILVUS_TOKEN", "key-123")
    # As collection.json has it, which may come from anyone.
    assert parse("milvus://elsewhere/photos").token == ""
    assert parse("milvus://me:own@elsewhere/photos").token == "me:own"
    assert parse(stored("milvus://given/photos")).token == "key-123"
    assert parse("milvus://given:19531/photos").token == ""
    monkeypatch.setenv("LOOKALIKE_MILVUS_SERVER", "other:1234, elsewhere")
    assert parse("milvus://elsewhere/photos").token == parse("milvus://other:1234/photos").token == "key-123"
    assert parse("milvus://elsewhere.evil/photos").token == parse("milvus://other/photos").token == ""


@pytest.mark.parametrize("place", ["127.0.0.1:1", "localhost:1", "[::1]:1", "search.example"])
def test_what_cannot_be_overheard_is_private(place: str) -> None:
    scheme = "milvus+tls" if place == "search.example" else "milvus"
    assert is_private(parse(f"{scheme}://{place}/photos"))


@pytest.mark.parametrize("place", ["search.example", "192.0.2.7", "localhost.evil.example"])
def test_a_token_is_not_sent_in_clear_to_another_machine(place: str) -> None:
    with pytest.raises(EngineError, match=r"a token is not sent in clear to another machine; use milvus\+tls://"):
        connect(f"milvus://me:secret@{place}/photos").count()


def test_a_file_ends_in_db_and_its_collection_comes_after_it() -> None:
    address = parse("milvus:///home/me/try.db/photos")
    assert (address.file, address.name, address.host) == ("/home/me/try.db", "photos", "")
    assert str(address) == "milvus:///home/me/try.db/photos"


@pytest.mark.parametrize(
    "uri",
    [
        "milvus://host:19530",
        "milvus://host/a/b",
        "milvus://host/two words",
        "milvus:///folder/photos",
        "milvus+ssl://host/photos",
        "milvus://host/photos?database=x",
        "milvus://host:port/photos",
        "photos",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(EngineError, match="write milvus://host:19530/name"):
        parse(uri)


def test_a_refused_uri_does_not_show_its_password() -> None:
    with pytest.raises(EngineError) as caught:
        parse("milvus://me:secret@host/a/b")
    assert "secret" not in str(caught.value)


def test_an_engine_that_there_is_not_is_named() -> None:
    with pytest.raises(EngineError, match="no such engine; there are milvus://"):
        connect("qdrant://host:6333/photos")


def test_a_rebuilt_collection_gets_a_name_of_its_own_each_time() -> None:
    assert renamed("milvus://host:19530/photos") == "milvus://host:19530/photos_r2"
    assert renamed("milvus://host:19530/photos_r2") == "milvus://host:19530/photos_r3"
