"""The OpenAPI document against the service: no 5xx, and nothing that is not documented, whatever is sent."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.service.running import Running, running, write_photos

pytest_plugins = ["tests.service.service_fixtures"]

EXAMPLES = int(os.environ.get("LOOKALIKE_SCHEMATHESIS", "12"))
"""Cases for each of the operations; thousands were run by hand (docs/http.md says how)."""


def test_every_refusal_of_every_route_is_documented_with_an_example(service: Running) -> None:
    document = service.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    expected = {
        "POST /v1/search", "POST /v1/search/batch", "GET /v1/items/{id}", "GET /v1/items/{id}/image", "POST /v1/embed",
        "GET /v1/items/{id}/thumbnail", "GET /v1/explain", "GET /v1/collection", "POST /v1/items", "GET /healthz",
        "DELETE /v1/items/{id}", "GET /readyz", "GET /metrics", "POST /search", "GET /images/{path}",
    }  # fmt: skip
    assert expected <= set(operations)
    for name, operation in operations.items():
        assert operation["description"], name
        for status, answer in operation["responses"].items():
            if status[0] in "45":
                schema = answer["content"]["application/json"]
                assert schema["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}, (name, status)
                assert set(schema["example"]["error"]) == {"code", "message", "hint"}, (name, status)
    names = set(document["components"]["schemas"])
    assert all(ref in names for ref in _references(document))


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values())) if value else own
    if isinstance(value, list):
        return set().union(*map(_references, value)) if value else set()
    return set()


@pytest.mark.filterwarnings("ignore")
def test_nothing_that_is_sent_makes_it_fail_or_say_what_it_does_not_document(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    checks = schemathesis.checks
    with running(write_photos(tmp_path / "photos", 4), writable=True) as service:
        schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
        tried = 0
        for result in schema.get_all_operations():
            operation = result.ok()
            cases = operation.as_strategy()

            @settings(
                max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES < 100, database=None,
                suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            )  # fmt: skip
            def probe(case: Any) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(
                    checks=[
                        checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
                        checks.response_schema_conformance,
                    ],
                    timeout=60,
                )  # fmt: skip

            from hypothesis import given

            decorate: Any = given(cases)
            decorate(probe)()
        assert tried >= 10 * EXAMPLES
        assert service.client.get("/readyz").status_code == 200
