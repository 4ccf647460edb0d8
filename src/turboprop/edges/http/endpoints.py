"""All endpoints."""

from __future__ import annotations

from turboprop.edges.http import embeddings, system, v1_models
from turboprop.edges.http.routes import Endpoint, Parameter

_TEXT = {"type": "string"}
_STATUS = "text/plain"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/health", system.health, "Whether the server answers.", answer=system.HealthAnswer),
    Endpoint(
        "GET",
        "/ready",
        system.ready,
        "Whether the models it was started with are loaded.",
        answer=system.HealthAnswer,
        statuses=(503,),
    ),
    Endpoint("GET", "/metrics", system.metrics, "For Prometheus.", media=_STATUS),
    Endpoint("GET", "/openapi.json", system.openapi, "This document.", answer=dict),
    Endpoint("GET", "/v1/models", v1_models.list_models, "Models that can be named.", answer=v1_models.ModelList),
    Endpoint(
        "GET",
        "/v1/models/{model:path}",
        v1_models.retrieve_model,
        "One model.",
        answer=v1_models.ModelRow,
        parameters=(Parameter("model", _TEXT, place="path"),),
        statuses=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/embeddings",
        embeddings.create_embeddings,
        "Vectors of texts or of token ids.",
        body=embeddings.EmbeddingsRequest,
        answer=embeddings.EmbeddingsAnswer,
        statuses=(404, 503),
    ),
)
