"""The OpenAPI document, made from the rows of the endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from turboprop import __version__
from turboprop.edges.http.routes import Endpoint
from turboprop.edges.http.security import OPEN_PATHS

_EVERYWHERE = (400, 401, 403, 408, 413, 429, 500)
"""Statuses that any request may get, whatever it asks."""
_SAID = {
    400: "The request is wrong; the message says what.",
    401: "The server wants its API key.",
    403: "The Host or the Origin is not allowed.",
    404: "There is no such thing.",
    408: "The body took too long to arrive.",
    409: "What is asked for is in another state.",
    413: "The body is too large.",
    429: "Too much waits already; Retry-After says when to ask again.",
    500: "The server failed; its log says why.",
    503: "A model is still being loaded; Retry-After says when to ask again.",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


_TAGS = {
    "OpenAI": "OpenAI's interface, and what is like it.",
    "Anthropic": "Anthropic's interface.",
    "Ollama": "Ollama's interface.",
    "Ranking": "Vectors and ranking as Cohere, Jina, TEI and vLLM have them.",
    "llama.cpp": "The interface of llama.cpp's server.",
    "TurboProp": "Search, questions, indexes and models.",
    "Server": "How the server is.",
}
_RANKING = ("Cohere", "TEI", "TEI, Jina, vLLM", "vLLM")
_LLAMACPP = ("/tokenize", "/detokenize")
_WAYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


def document(endpoints: Sequence[Endpoint], *, with_key: bool) -> dict[str, Any]:
    """OpenAPI 3.1. `with_key`: the server wants an API key."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path.replace(":path}", "}"), {})[endpoint.method.lower()] = _operation(
            endpoint, schemas
        )
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "TurboProp",
            "version": __version__,
            "description": "A local runtime for code and language models.",
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _WAYS},
    }
    # Without a key of the server's own, other users and containers alone need one.
    made["security"] = [*([] if with_key else [{}]), *({way: []} for way in _WAYS)]
    return made


def _tag(endpoint: Endpoint) -> str:
    word, colon, _ = endpoint.summary.partition(": ")
    if colon and word in _RANKING:
        return "Ranking"
    if colon and word in _TAGS:
        return word
    if endpoint.path.startswith("/v1/"):
        return "OpenAI"
    if endpoint.path in _LLAMACPP:
        return "llama.cpp"
    return "TurboProp" if endpoint.path.startswith("/api/") else "Server"


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {endpoint.media: {}}
    if endpoint.answer is not None:
        content = {endpoint.media: {"schema": _schema(endpoint.answer, schemas, "serialization")}}
    if endpoint.media == "application/x-ndjson":  # or, without a stream, one object
        content["application/json"] = {}
    if endpoint.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    refused: dict[str, Any] = {"$ref": "#/components/schemas/Error"}
    if endpoint.error is not None:  # the guards in front of all endpoints tell theirs in one shape
        refused = {"anyOf": [_schema(endpoint.error.answer, schemas, "serialization"), refused]}
    error = {"application/json": {"schema": refused}}
    for status in sorted({*_EVERYWHERE, *endpoint.statuses}):
        responses[str(status)] = {"description": _SAID[status], "content": error}
    made: dict[str, Any] = {
        "tags": [_tag(endpoint)],
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "responses": responses,
    }
    if endpoint.parameters:
        made["parameters"] = [
            {
                "name": each.name,
                "in": each.place,
                "required": each.required or each.place == "path",
                "schema": each.schema,
            }
            for each in endpoint.parameters
        ]
    if endpoint.body is not None:
        schema = _schema(endpoint.body, schemas, "validation")
        shown = {} if endpoint.example is None else {"example": endpoint.example}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema, **shown}}}
    if endpoint.path in OPEN_PATHS:
        made["security"] = []
    return made


def _operation_id(endpoint: Endpoint) -> str:
    """The handler's name, with the version of the interface where two have the same."""
    version = endpoint.path.split("/")[1]
    return f"{endpoint.handler.__name__}_{version}" if endpoint.shared else endpoint.handler.__name__


def _schema(kind: Any, schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    found = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}", mode=mode)
    schemas |= found.pop("$defs", {})
    return dict(found)
