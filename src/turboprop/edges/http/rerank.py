"""`POST /v1/rerank`: documents by how well they answer a query."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, NotRequired

import numpy as np
from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop.edges.http.schemas import ForeignBody
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import until_gone

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState


class RerankDocument(ForeignBody):
    text: StrictStr


RerankDocuments = Annotated[list[StrictStr | RerankDocument], Field(min_length=1, max_length=2_048, fail_fast=True)]


class RerankRequest(ForeignBody):
    """As at Jina, Cohere and llama.cpp."""

    query: Annotated[StrictStr, Field(min_length=1)]
    documents: RerankDocuments
    model: StrictStr | None = None
    top_n: Annotated[StrictInt, Field(ge=1)] | None = None
    return_documents: bool | None = False


class RerankRow(TypedDict):
    index: int
    relevance_score: float
    document: NotRequired[dict[str, str]]


class RerankUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class RerankAnswer(TypedDict):
    object: str
    model: str
    results: list[RerankRow]
    usage: RerankUsage


async def rerank(request: Request) -> Response:
    """With a reranker scores are its probabilities, with an embedding model cosine similarities; over-long
    documents are cut."""
    wanted = await read_model(request, RerankRequest)
    return JSONResponse(await until_gone(request, ranked(state_of(request), wanted)))


async def scored(
    state: ServerState, model: str | None, query: str, texts: list[str]
) -> tuple[NDArray[np.float32], int, str]:
    """How well each text answers a query, the tokens that took, and what the model is called."""
    name = await state.in_thread(state.names.embedding, model)
    if model is not None and await state.in_thread(state.manager.kind, name) == "reranker":
        scores, tokens = await _by_reranker(state, name, query, texts)
    else:
        scores, tokens = await _by_similarity(state, name, query, texts)
    state.metrics.count("tp_embedded_tokens_total", tokens)
    return scores, tokens, model or state.names.public(name)


async def ranked(state: ServerState, wanted: RerankRequest) -> RerankAnswer:
    """Documents, the best first."""
    texts = [each if isinstance(each, str) else each.text for each in wanted.documents]
    scores, tokens, model_name = await scored(state, wanted.model, wanted.query, texts)
    results: list[RerankRow] = []
    for index in np.argsort(-scores, kind="stable")[: wanted.top_n].tolist():
        row: RerankRow = {"index": index, "relevance_score": float(scores[index])}
        if wanted.return_documents:
            row["document"] = {"text": texts[index]}
        results.append(row)
    usage: RerankUsage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model_name, "results": results, "usage": usage}


async def _by_reranker(state: ServerState, name: str, query: str, texts: list[str]) -> tuple[NDArray[np.float32], int]:
    with await state.in_waiting_thread(state.manager.reranker, name, wait=state.limits.load_seconds) as lease:
        before = lease.model.tokens_scored
        chances = await state.in_waiting_thread(lease.model.chances, query, texts)
        return chances.astype(np.float32), lease.model.tokens_scored - before


async def _by_similarity(
    state: ServerState, name: str, query: str, texts: list[str]
) -> tuple[NDArray[np.float32], int]:
    with await state.in_waiting_thread(state.manager.embedding, name, wait=state.limits.load_seconds) as lease:
        model = lease.model
        asked = await state.in_thread(model.prepare, [query], "query", overlong="truncate")
        documents = await state.in_thread(model.prepare, texts, "document", overlong="truncate")
        (wanted,), found = await asyncio.gather(
            asyncio.wrap_future(lease.submit(asked)), asyncio.wrap_future(lease.submit(documents))
        )
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted)
    return np.einsum("ij,j->i", found, wanted) / np.maximum(norms, 1e-12), asked.tokens + documents.tokens
