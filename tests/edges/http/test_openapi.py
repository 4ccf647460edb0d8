"""The OpenAPI document, and what a server does with requests made up from it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reference import reference
from turboprop import Index
from turboprop.edges.http.endpoints import ENDPOINTS
from turboprop.edges.http.openapi import document
from turboprop.settings import load_settings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = document(ENDPOINTS, with_key=False)
OPERATIONS = [(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item]
ENDLESS = ("GET", "/api/events")
"""Its answer ends with the server, so a client that waits for all of it would wait for ever."""


@pytest.fixture(scope="module")
def serving(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    repo: Path = tmp_path_factory.mktemp("openapi") / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("def a():\n    return 1\n")
    Index.create(repo, settings=load_settings()).close()
    model = reference("gguf/stories260K.gguf")
    return start_server("--repo", repo, "--model", "minilm", "--model", model)


def test_every_endpoint_is_described() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert len(OPERATIONS) == len(ENDPOINTS)
    names = [item[method]["operationId"] for item in DOCUMENT["paths"].values() for method in item]
    assert len(set(names)) == len(names)
    for _, item in DOCUMENT["paths"].items():
        for operation in item.values():
            assert operation["summary"]
            assert {"200", "400", "401", "413", "429"} <= set(operation["responses"])


def test_keys_tags_and_examples() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    assert all(len(operation["tags"]) == 1 for operation in operations)
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]
    ways = set(DOCUMENT["components"]["securitySchemes"])
    assert {} in DOCUMENT["security"]  # the server's own user needs none
    with_key = document(ENDPOINTS, with_key=True)
    assert [set(way) for way in with_key["security"]] == [{way} for way in ways]
    assert with_key["paths"]["/health"]["get"]["security"] == []
    shown = [endpoint for endpoint in ENDPOINTS if endpoint.example is not None]
    assert {endpoint.path for endpoint in shown} >= {"/v1/chat/completions", "/v1/messages", "/api/chat", "/infill"}
    for endpoint in shown:
        TypeAdapter(endpoint.body).validate_json(json.dumps(endpoint.example))


def test_the_server_tells_the_same_document(serving: Any) -> None:
    with serving.http() as client:
        assert client.get("/openapi.json").json() == DOCUMENT


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "path"), [each for each in OPERATIONS if each != ENDLESS], ids=lambda value: value)
def test_made_up_requests(serving: Any, method: str, path: str) -> None:
    """A few of each endpoint."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operation = schema[path][method]
    sent = 0

    def bounded(body: Any) -> Any:
        """Whatever else a request asks, an answer of a few tokens does."""
        if isinstance(body, dict) and path.endswith("completions") and isinstance(body.get("max_tokens"), int):
            return {**body, "max_tokens": min(body["max_tokens"], 4)}
        return body

    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            nonlocal sent
            case.body = bounded(case.body)
            case.call_and_validate(base_url=serving.url, checks=CHECKS, timeout=60)
            sent += 1

        with contextlib.suppress(Unsatisfiable):  # an operation without parameters cannot be asked wrongly
            send()
    assert sent
