"""Reranking, scoring and embedding as Cohere, Jina, vLLM and Text Embeddings Inference (TEI) have them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, StrictInt, StrictStr, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import __version__
from turboprop.edges.http.embeddings import InputType, vectors_of
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.rerank import RerankDocuments, RerankRequest, RerankRow, ranked, scored
from turboprop.edges.http.schemas import ForeignBody, UpTo10000, refusal
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import until_gone

if TYPE_CHECKING:
    from starlette.requests import Request

_Texts = Annotated[list[StrictStr], Field(min_length=1, max_length=2_048, fail_fast=True)]
EmbeddingType = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]


class CohereRerankAnswer(TypedDict):
    id: str
    results: list[RerankRow]
    meta: dict[str, Any]


class TeiRerankRequest(RerankRequest):
    """TEI's with `texts`, all others' with `documents`."""

    documents: RerankDocuments | None = None  # type: ignore[assignment]
    texts: _Texts | None = None
    raw_scores: bool | None = None
    return_text: bool | None = None
    truncate: bool | None = None

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if (self.texts is None) == (self.documents is None):
            raise ValueError("give texts, or documents")
        if self.raw_scores:
            raise refusal("raw_scores", "scores are probabilities, or cosine similarities; leave it away")
        return self


class ScoreRequest(ForeignBody):
    """As at vLLM: one text with each of the others, or pairs."""

    text_1: StrictStr | _Texts | None = None
    text_2: StrictStr | _Texts | None = None
    queries: StrictStr | _Texts | None = None
    documents: StrictStr | _Texts | None = None
    model: StrictStr | None = None


class ScoreRow(TypedDict):
    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(TypedDict):
    id: str
    object: Literal["list"]
    model: str
    data: list[ScoreRow]
    usage: dict[str, int]


class CohereEmbedRequest(ForeignBody):
    not_done: ClassVar[Mapping[str, str]] = {"images": "only texts are embedded here"}

    texts: _Texts
    model: StrictStr | None = None
    input_type: InputType = "document"
    embedding_types: UpTo10000[EmbeddingType] | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    output_dimension: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.truncate == "START":
            raise refusal("truncate", "texts are cut at their end; give END or NONE")
        if set(self.embedding_types or ()) - {"float", "base64"}:
            raise refusal("embedding_types", "vectors are given as float or base64")
        return self


class CohereEmbedAnswer(TypedDict):
    id: str
    embeddings: Any
    texts: list[str]
    response_type: str
    meta: dict[str, Any]


class TeiEmbedRequest(ForeignBody):
    inputs: StrictStr | _Texts
    truncate: bool | None = None
    truncation_direction: Literal["Right", "right", "Left", "left"] | None = None
    normalize: bool | None = None
    prompt_name: Literal["query", "document", "passage"] | None = None
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    model: StrictStr | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.normalize is False:
            raise refusal("normalize", "vectors have the length 1 here")
        if self.truncate and (self.truncation_direction or "right").lower() == "left":
            raise refusal("truncation_direction", "texts are cut at their end")
        return self


class InfoAnswer(TypedDict):
    model_id: str
    version: str
    max_input_length: int | None
    max_client_batch_size: int
    model_type: dict[str, Any]


async def cohere_rerank(request: Request) -> Response:
    """Documents by how well they answer a query."""
    wanted = await read_model(request, RerankRequest)
    found = await until_gone(request, ranked(state_of(request), wanted))
    return JSONResponse({"id": secrets.token_hex(16), "results": found["results"], "meta": _meta(2)})


async def rerank_any(request: Request) -> Response:
    """TEI's answer where there are `texts`; Jina's and vLLM's where there are `documents`."""
    wanted = await read_model(request, TeiRerankRequest)
    state = state_of(request)
    if wanted.texts is None:
        return JSONResponse(await until_gone(request, ranked(state, wanted)))
    scores, _, _ = await until_gone(request, scored(state, wanted.model, wanted.query, wanted.texts))
    order = np.argsort(-scores, kind="stable").tolist()
    rows = [{"index": index, "score": float(scores[index])} for index in order]
    if wanted.return_text:
        rows = [{**row, "text": wanted.texts[index]} for row, index in zip(rows, order, strict=True)]
    return JSONResponse(rows)


async def score(request: Request) -> Response:
    """How well texts answer each other."""
    wanted = await read_model(request, ScoreRequest)
    state = state_of(request)
    one, two = wanted.text_1 or wanted.queries, wanted.text_2 or wanted.documents
    if not one or not two:
        raise RequestError(400, "give text_1 and text_2, or queries and documents", None, "text_1")
    texts = [two] if isinstance(two, str) else two
    firsts = [one] if isinstance(one, str) else one
    if len(firsts) not in (1, len(texts)):
        raise RequestError(400, f"{len(firsts)} texts and {len(texts)} make no pairs", None, "text_1")
    values: list[float] = []
    tokens, model = 0, ""
    groups = [(firsts[0], texts)] if len(firsts) == 1 else [(a, [b]) for a, b in zip(firsts, texts, strict=True)]
    for query, group in groups:
        scores, used, model = await until_gone(request, scored(state, wanted.model, query, group))
        values += scores.tolist()
        tokens += used
    rows: list[ScoreRow] = [{"index": n, "object": "score", "score": value} for n, value in enumerate(values)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    answer: ScoreAnswer = {
        "id": f"score-{secrets.token_hex(16)}",
        "object": "list",
        "model": model,
        "data": rows,
        "usage": usage,
    }
    return JSONResponse(answer)


async def cohere_embed(request: Request) -> Response:
    """Vectors of texts, by the types that were asked for; those of `/v1/embed` without types as a list."""
    wanted = await read_model(request, CohereEmbedRequest)
    vectors, tokens, _ = await until_gone(
        request,
        vectors_of(
            request,
            wanted.texts,
            wanted.model,
            input_type=wanted.input_type,
            dimensions=wanted.output_dimension,
            overlong="error" if wanted.truncate == "NONE" else "truncate",
        ),
    )
    older = request.url.path == "/v1/embed"
    kinds = wanted.embedding_types or ["float"]
    made: dict[str, Any] = {}
    if "float" in kinds:
        made["float"] = vectors.tolist()
    if "base64" in kinds:
        made["base64"] = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    plain = older and wanted.embedding_types is None
    answer: CohereEmbedAnswer = {
        "id": secrets.token_hex(16),
        "embeddings": made["float"] if plain else made,
        "texts": wanted.texts,
        "response_type": "embeddings_floats" if plain else "embeddings_by_type",
        "meta": {**_meta(1 if older else 2), "billed_units": {"input_tokens": tokens}},
    }
    return JSONResponse(answer)


async def tei_embed(request: Request) -> Response:
    """Vectors of texts, as a list of lists."""
    wanted = await read_model(request, TeiEmbedRequest)
    texts = [wanted.inputs] if isinstance(wanted.inputs, str) else wanted.inputs
    made = vectors_of(
        request,
        texts,
        wanted.model,
        input_type="query" if wanted.prompt_name == "query" else "document",
        dimensions=wanted.dimensions,
        overlong=None if wanted.truncate is None else "truncate" if wanted.truncate else "error",
    )
    vectors, _, _ = await until_gone(request, made)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return JSONResponse((vectors / lengths).tolist())


async def tei_info(request: Request) -> Response:
    """The embedding model that is asked where none is named."""
    state = state_of(request)
    name = await state.in_thread(state.names.embedding)
    public = state.names.public(name)
    listed = await state.in_thread(state.names.listed)
    context = next((model.context for model in listed if model.name == public), 0)
    answer: InfoAnswer = {
        "model_id": public,
        "version": __version__,
        "max_input_length": context or None,
        "max_client_batch_size": state.limits.inputs,
        "model_type": {"embedding": {"pooling": "mean"}},
    }
    return JSONResponse(answer)


def _meta(number: int) -> dict[str, Any]:
    return {"api_version": {"version": str(number)}}
