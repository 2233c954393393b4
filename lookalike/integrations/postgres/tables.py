"""The statements that make, name and delete the tables of a collection, in a schema that others can read too.

    lookalike.collections        one row a collection: owner, encoder, generation of writing, measured effort
    lookalike.photos_r1          its rows, removed ones too; the next rebuild makes photos_r2
    lookalike.photos             a view of the live rows of the newest table: what others select from and join with

A rebuilt collection so keeps its name for others, with whatever was granted on it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lookalike.integrations.engine import Signature
from lookalike.integrations.names import generation

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA = "lookalike"
TYPES = {"float32": "vector", "float16": "halfvec"}
IN_PLACE = 4000
"""Bytes of a vector up to which it stays in its row; PostgreSQL would put it elsewhere, and comparing takes longer."""
LOCK = 0x6C6F6F6B
"""Of an advisory lock: who makes tables does it alone."""

COLLECTIONS = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.collections (
    name text PRIMARY KEY, owner text NOT NULL, encoder text NOT NULL, fingerprint text NOT NULL, dim integer NOT NULL,
    dtype text NOT NULL, generation text NOT NULL DEFAULT '', effort integer, tuned_rows bigint NOT NULL DEFAULT 0
)
"""


def table(name: str) -> str:
    """The table of a collection; names are checked to need no quotation marks."""
    stem, number = generation(name)
    return f"{SCHEMA}.{stem}_r{number}"


def view(name: str) -> str:
    """The view of a collection's live rows."""
    return f"{SCHEMA}.{generation(name)[0]}"


def exist(connection: "Connection[Any]") -> bool:
    """Whether there is a table of collections."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.collections"]).fetchone()
    return bool(row and row[0])


def signature(connection: "Connection[Any]", name: str) -> Signature | None:
    """What a collection of this name was made with; None where there is none."""
    if not exist(connection):
        return None
    sql = f"SELECT owner, encoder, fingerprint, dim, dtype FROM {SCHEMA}.collections WHERE name = %s"  # noqa: S608
    row = connection.execute(sql, [name]).fetchone()
    return Signature(*row) if row else None


def owned(connection: "Connection[Any]", name: str, owner: str, generations: Sequence[str]) -> bool:
    """Whether a collection is this owner's and its last writer one of these; nobody changes that meanwhile."""
    if not exist(connection):
        return False
    sql = f"SELECT owner, generation FROM {SCHEMA}.collections WHERE name = %s FOR UPDATE"  # noqa: S608
    row = connection.execute(sql, [name]).fetchone()
    return row is not None and row[0] == owner and row[1] in generations


def make(connection: "Connection[Any]", name: str, signature: Signature) -> None:
    """Make the table of a collection, and its view where it is the first of that name."""
    bytes_ = signature.dim * (4 if signature.dtype == "float32" else 2)
    kind = f"{TYPES[signature.dtype]}({signature.dim})"
    connection.execute(
        f'CREATE TABLE {table(name)} (id bigint PRIMARY KEY, key text COLLATE "C" NOT NULL, sha256 text NOT NULL, '
        f"removed boolean NOT NULL, meta jsonb NOT NULL, embedding {kind} NOT NULL)"
    )
    if bytes_ <= IN_PLACE:
        connection.execute(f"ALTER TABLE {table(name)} ALTER COLUMN embedding SET STORAGE PLAIN")
    connection.execute(f"CREATE INDEX ON {table(name)} (key) WHERE NOT removed")
    connection.execute(
        f"INSERT INTO {SCHEMA}.collections (name, owner, encoder, fingerprint, dim, dtype) "  # noqa: S608
        "VALUES (%s, %s, %s, %s, %s, %s)",
        [name, signature.owner, signature.encoder, signature.fingerprint, signature.dim, signature.dtype],
    )
    row = connection.execute("SELECT to_regclass(%s) IS NULL", [view(name)]).fetchone()
    if row and row[0]:
        show(connection, name)


def show(connection: "Connection[Any]", name: str) -> None:
    """Have the view show this collection's table."""
    columns = "id, key, sha256, meta, embedding"
    connection.execute(
        f"CREATE OR REPLACE VIEW {view(name)} AS SELECT {columns} FROM {table(name)} WHERE NOT removed"  # noqa: S608
    )


def delete(connection: "Connection[Any]", name: str) -> None:
    """Delete a collection; the view shows the newest that is left of its name, or goes too."""
    if not exist(connection):
        return
    connection.execute(f"DELETE FROM {SCHEMA}.collections WHERE name = %s", [name])  # noqa: S608
    names = [row[0] for row in connection.execute(f"SELECT name FROM {SCHEMA}.collections")]  # noqa: S608
    left = [other for other in names if view(other) == view(name)]
    if left:
        newest = max(left, key=lambda other: generation(other)[1])
        if signature_differs(connection, newest, name):
            connection.execute(f"DROP VIEW IF EXISTS {view(name)}")
        show(connection, newest)
    else:
        connection.execute(f"DROP VIEW IF EXISTS {view(name)}")
    connection.execute(f"DROP TABLE IF EXISTS {table(name)}")


def signature_differs(connection: "Connection[Any]", name: str, other: str) -> bool:
    """Whether the vectors of two tables have different types, which a view cannot change in place."""
    sql = (
        "SELECT count(DISTINCT format_type(atttypid, atttypmod)) FROM pg_catalog.pg_attribute "
        "WHERE attname = 'embedding' AND attrelid IN (to_regclass(%s), to_regclass(%s))"
    )
    row = connection.execute(sql, [table(name), table(other)]).fetchone()
    return bool(row and row[0] > 1)
