import pytest

from lookalike.errors import EngineError
from lookalike.integrations import credentials
from lookalike.integrations.addresses import is_same, renamed, stored
from lookalike.integrations.postgres.address import parameters, parse


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that other tests of this process named are not named here."""
    monkeypatch.setattr(credentials, "_NAMED", set())
    monkeypatch.setattr(credentials, "_SECRETS", {})


def test_a_server_a_database_and_a_table_are_read_from_the_uri() -> None:
    address = parse("postgres://me:pa%2Fss@search.example:5433/shop?table=photos&sslmode=verify-full")
    assert (address.host, address.port, address.database, address.name) == ("search.example", 5433, "shop", "photos")
    assert (address.user, address.password) == ("me", "pa/ss")
    assert str(address) == "postgresql://me@search.example:5433/shop?sslmode=verify-full&table=photos"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://host/shop", "postgresql://host:5432/shop?table=images"),
        ("postgresql://[::1]/shop", "postgresql://[::1]:5432/shop?table=images"),
        ("postgresql:///shop?host=/run/postgresql&port=5433", "postgresql:///shop?host=/run/postgresql&port=5433&table=images"),
        ("postgresql:///?service=photos", "postgresql:///?service=photos&table=images"),
    ],
)  # fmt: skip
def test_what_is_stored_is_read_again_as_the_same(uri: str, shown: str) -> None:
    assert str(parse(uri)) == shown
    assert parse(shown) == parse(uri)


@pytest.mark.parametrize(
    "uri",
    ["postgresql://me:secret@one/db", "postgresql://me@one/db?password=secret", "postgresql://one/db?user=me&password=secret"],
)  # fmt: skip
def test_what_is_shown_and_stored_holds_no_password(uri: str) -> None:
    assert stored(uri) == "postgresql://me@one:5432/db?table=images"
    assert "secret" not in repr(parse(uri))
    # The same process gets in with the stored address.
    assert parameters(parse("postgresql://me@one:5432/db?table=images"))["password"] == "secret"


def test_the_password_of_the_environment_goes_only_to_a_server_that_the_user_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PGHOST", "PGPORT", "LOOKALIKE_POSTGRESQL_SERVER"):
        monkeypatch.delenv(name, raising=False)
    # As collection.json has it, which may come from anyone: an empty password, so that libpq looks only into ~/.pgpass.
    assert parameters(parse("postgresql://elsewhere/db"))["password"] == ""
    assert parameters(parse("postgresql:///db?host=/tmp/elsewhere"))["password"] == ""
    assert "password" not in parameters(parse(stored("postgresql://given/db")))
    assert parameters(parse("postgresql://given:5433/db"))["password"] == ""
    # libpq itself finds the server.
    assert "password" not in parameters(parse("postgresql:///db"))
    monkeypatch.setenv("PGHOST", "usual")
    assert "password" not in parameters(parse("postgresql://usual/db"))
    assert parameters(parse("postgresql://usual.evil/db"))["password"] == ""
    monkeypatch.setenv("LOOKALIKE_POSTGRESQL_SERVER", "other:1234, elsewhere")
    assert "password" not in parameters(parse("postgresql://elsewhere/db"))
    assert "password" not in parameters(parse("postgresql://other:1234/db"))
    assert parameters(parse("postgresql://other/db"))["password"] == ""


def test_libpq_takes_no_password_of_the_environment_where_an_empty_one_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("PGPASSWORD", "secret")
    text = psycopg.conninfo.make_conninfo(**parameters(parse("postgresql://elsewhere/db")))
    options = {option.keyword: option.val for option in psycopg.pq.Conninfo.parse(text.encode())}
    assert options[b"password"] == b""


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://host/a/b",
        "postgresql://host/db?table=Two Words",
        "postgresql://host/db?table=collections",
        "postgresql://host/db?table=x;drop",
        "postgresql://host/db?hostaddr=192.0.2.1",
        "postgresql://host/db?passfile=/tmp/x",
        "postgresql://host/db?options=-crole%3Droot",
        "postgresql://host/db?service=mine",
        "postgresql://one,two/db",
        "postgresql://host:port/db",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(EngineError, match="write postgresql://host:5432/database"):
        parse(uri)


@pytest.mark.parametrize("uri", ["postgresql://me:secret@host/a/b", "postgresql://host/a/b?password=secret&x=1"])
def test_a_refused_uri_does_not_show_its_password(uri: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse(uri)
    assert "secret" not in str(caught.value)


def test_a_rebuilt_collection_gets_a_name_of_its_own_each_time() -> None:
    assert renamed("postgresql://host/db") == "postgresql://host:5432/db?table=images_r2"
    assert renamed("postgresql://host:5432/db?table=images_r2") == "postgresql://host:5432/db?table=images_r3"
    assert is_same("postgresql://host/db", "postgresql://host:5432/db?table=images_r3")
    assert not is_same("postgresql://host/db", "milvus://host/images")
