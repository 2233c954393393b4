"""docs/postgres.md: its SQL runs as it stands."""

import re

from lookalike.collection.collection import Collection
from tests.integrations.postgres.postgres_server import Server
from tests.support import ROOT
from tests.support.vectors import put_values

TEXT = (ROOT / "docs" / "postgres.md").read_text("utf-8")


def test_the_grants_the_join_and_the_query_of_the_page_run(indexed: Collection, server: Server, database: str) -> None:
    grants, join, query = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    with indexed.store.writing() as store:
        put_values(store, "02.jpg", {"year": 2020})
        put_values(store, "04.jpg", {"year": 2018})
    server.execute(database, "CREATE TABLE products (name text, photo text, price int)")
    server.execute(
        database, "INSERT INTO products VALUES ('cup', '01.jpg', 5), ('jug', '02.jpg', 7), ('ewer', 'trip/00.png', 30)"
    )
    server.execute(database, grants.replace("web", f"web_{database}"))
    server.execute(database, f"GRANT SELECT ON products TO web_{database}")
    ((name, price, score),) = server.execute(database, join, user=f"web_{database}")
    assert (name, price) == ("jug", 7)
    expected = {hit.key: hit.score for hit in indexed.search("01.jpg", k=12)}
    assert abs(score - expected["02.jpg"]) < 1e-3
    setting, select = query.split(";\n", 1)
    assert server.execute(database, select, user=f"web_{database}") == [("02.jpg",)]
    assert server.execute(database, setting) == []
