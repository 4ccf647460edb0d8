"""All endpoints."""

from __future__ import annotations

from turboprop.edges.http import chat, completions, embeddings, rerank, system, tokens, v1_models
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
    Endpoint(
        "POST",
        "/v1/chat/completions",
        chat.create_chat_completion,
        "Answer a conversation.",
        body=chat.ChatRequest,
        answer=chat.ChatAnswer,
        statuses=(404, 503),
        streams=True,
    ),
    Endpoint(
        "POST",
        "/v1/completions",
        completions.create_completion,
        "Continue a text.",
        body=completions.CompletionRequest,
        answer=completions.CompletionAnswer,
        statuses=(404, 503),
        streams=True,
    ),
    Endpoint(
        "POST",
        "/v1/rerank",
        rerank.rerank,
        "Documents by how well they answer a query.",
        body=rerank.RerankRequest,
        answer=rerank.RerankAnswer,
        statuses=(404, 503),
    ),
    Endpoint(
        "POST",
        "/tokenize",
        tokens.tokenize,
        "The tokens of a text.",
        body=tokens.TokenizeRequest,
        answer=tokens.TokensAnswer,
        statuses=(404,),
    ),
    Endpoint(
        "POST",
        "/detokenize",
        tokens.detokenize,
        "The text of tokens.",
        body=tokens.DetokenizeRequest,
        answer=tokens.TextAnswer,
        statuses=(404,),
    ),
)
