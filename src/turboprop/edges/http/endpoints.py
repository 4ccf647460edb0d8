"""All endpoints."""

from __future__ import annotations

from typing import Any, Literal

from turboprop.edges.http import (
    anthropic_api,
    ask,
    chat,
    completions,
    embeddings,
    files_api,
    jobs_api,
    library_api,
    llamacpp_api,
    ollama_api,
    rank_api,
    rerank,
    responses_api,
    search_api,
    status_events,
    system,
    tokens,
    v1_models,
)
from turboprop.edges.http.routes import Endpoint, Handler, Parameter

_TEXT = {"type": "string"}
_STATUS = "text/plain"
_EVENTS = "text/event-stream"
_REPO = Parameter("repo", _TEXT)
_PATH = Parameter("path", _TEXT, required=True)
_JOB = (Parameter("id", _TEXT, place="path"),)
_NUMBER = search_api.INTEGER
_LOOK = Parameter("look", {"type": "boolean"})
"""False: what changed is told as it was last seen, no file is looked at."""


def _ollama(method: Literal["GET", "POST"], name: str, handler: Handler, summary: str, **more: Any) -> Endpoint:
    return Endpoint(method, f"/api/{name}", handler, f"Ollama: {summary}", error=ollama_api.ERROR, **more)


_OLLAMA = (
    _ollama("GET", "version", ollama_api.version, "the version of the interface.", answer=ollama_api.VersionAnswer),
    _ollama("GET", "tags", ollama_api.tags, "models that are installed.", answer=ollama_api.OllamaModels),
    _ollama("GET", "ps", ollama_api.running, "models that are loaded.", answer=ollama_api.OllamaModels),
    _ollama(
        "POST",
        "show",
        ollama_api.show,
        "what is known of a model.",
        body=ollama_api.OllamaModelRequest,
        answer=ollama_api.ShowAnswer,
        statuses=(404,),
    ),
    _ollama(
        "POST",
        "chat",
        ollama_api.chat,
        "answer a conversation.",
        body=ollama_api.OllamaChatRequest,
        media=ollama_api.MEDIA,
        statuses=(404, 503),
    ),
    _ollama(
        "POST",
        "generate",
        ollama_api.generate,
        "answer a prompt, or continue a text.",
        body=ollama_api.OllamaGenerateRequest,
        media=ollama_api.MEDIA,
        statuses=(404, 503),
    ),
    _ollama(
        "POST",
        "embed",
        ollama_api.embed,
        "vectors of texts.",
        body=ollama_api.OllamaEmbedRequest,
        answer=ollama_api.OllamaEmbedAnswer,
        statuses=(404, 503),
    ),
    _ollama(
        "POST",
        "embeddings",
        ollama_api.embed_one,
        "the vector of a text.",
        body=ollama_api.OllamaEmbeddingsRequest,
        answer=ollama_api.OllamaEmbeddingsAnswer,
        statuses=(404, 503),
    ),
    _ollama(
        "POST",
        "pull",
        ollama_api.pull,
        "fetch a model.",
        body=ollama_api.OllamaModelRequest,
        media=ollama_api.MEDIA,
        statuses=(404,),
    ),
)
_ANTHROPIC = (
    Endpoint(
        "POST",
        "/v1/messages",
        anthropic_api.create_message,
        "Anthropic: answer a conversation.",
        body=anthropic_api.MessagesRequest,
        answer=anthropic_api.MessagesAnswer,
        statuses=(404, 503),
        streams=True,
        error=anthropic_api.ERROR,
    ),
    Endpoint(
        "POST",
        "/v1/messages/count_tokens",
        anthropic_api.count_tokens,
        "Anthropic: the tokens of a conversation.",
        body=anthropic_api.CountRequest,
        answer=anthropic_api.CountAnswer,
        statuses=(404, 503),
        error=anthropic_api.ERROR,
    ),
)

_RANKING = (
    Endpoint(
        "POST",
        "/v2/rerank",
        rank_api.cohere_rerank,
        "Cohere: documents by how well they answer a query.",
        body=rerank.RerankRequest,
        answer=rank_api.CohereRerankAnswer,
        statuses=(404, 503),
    ),
    Endpoint(
        "POST",
        "/rerank",
        rank_api.rerank_any,
        "TEI, Jina, vLLM: documents by how well they answer a query.",
        body=rank_api.TeiRerankRequest,
        answer=list[dict[str, Any]] | rerank.RerankAnswer,
        statuses=(404, 503),
    ),
    *(
        Endpoint(
            "POST",
            path,
            rank_api.score,
            "vLLM: how well texts answer each other.",
            body=rank_api.ScoreRequest,
            answer=rank_api.ScoreAnswer,
            statuses=(404, 503),
            shared=True,
        )
        for path in ("/score", "/v1/score")
    ),
    *(
        Endpoint(
            "POST",
            path,
            rank_api.cohere_embed,
            "Cohere: vectors of texts.",
            body=rank_api.CohereEmbedRequest,
            answer=rank_api.CohereEmbedAnswer,
            statuses=(404, 503),
            shared=True,
        )
        for path in ("/v1/embed", "/v2/embed")
    ),
    Endpoint(
        "POST",
        "/embed",
        rank_api.tei_embed,
        "TEI: vectors of texts.",
        body=rank_api.TeiEmbedRequest,
        answer=list[list[float]],
        statuses=(404, 503),
    ),
    Endpoint("GET", "/info", rank_api.tei_info, "TEI: the embedding model.", answer=rank_api.InfoAnswer),
)


def _llama(method: Literal["GET", "POST"], path: str, handler: Handler, summary: str, **more: Any) -> Endpoint:
    statuses = (404, 503)
    return Endpoint(method, path, handler, f"llama.cpp: {summary}", statuses=statuses, error=llamacpp_api.ERROR, **more)


_LLAMACPP = (
    *(
        _llama(
            "POST",
            path,
            llamacpp_api.completion,
            "continue a text.",
            body=llamacpp_api.LlamaCompletionRequest,
            answer=llamacpp_api.LlamaAnswer | list[llamacpp_api.LlamaAnswer],
            streams=True,
            shared=True,
        )
        for path in ("/completion", "/completions")
    ),
    _llama(
        "POST",
        "/infill",
        llamacpp_api.infill,
        "write what stands between two texts.",
        body=llamacpp_api.InfillRequest,
        answer=llamacpp_api.LlamaAnswer | list[llamacpp_api.LlamaAnswer],
        streams=True,
    ),
    *(
        _llama(
            "POST",
            path,
            llamacpp_api.embedding,
            "vectors of texts.",
            body=llamacpp_api.LlamaEmbeddingRequest,
            answer=list[llamacpp_api.LlamaEmbeddingRow],
            shared=True,
        )
        for path in ("/embedding", "/embeddings")
    ),
    _llama(
        "POST",
        "/apply-template",
        llamacpp_api.apply_template,
        "a conversation as the chat template writes it.",
        body=llamacpp_api.TemplateRequest,
        answer=llamacpp_api.PromptAnswer,
    ),
    _llama(
        "GET",
        "/props",
        llamacpp_api.props,
        "what the server is set to.",
        answer=llamacpp_api.PropsAnswer,
        parameters=(Parameter("model", _TEXT), Parameter("autoload", _TEXT)),
    ),
    _llama(
        "GET",
        "/slots",
        llamacpp_api.slots,
        "the answers that may be written at once.",
        answer=list[llamacpp_api.SlotRow],
        parameters=(Parameter("fail_on_no_slot", _TEXT),),
    ),
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/v1/responses",
        responses_api.create_response,
        "Answer a conversation.",
        body=responses_api.ResponsesRequest,
        answer=responses_api.ResponsesAnswer,
        statuses=(404, 503),
        streams=True,
    ),
    *_RANKING,
    *_OLLAMA,
    *_LLAMACPP,
    *_ANTHROPIC,
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
    Endpoint(
        "GET",
        "/api/status",
        search_api.status,
        "Repositories, or one of them, after a look at their files; loaded models, memory.",
        answer=search_api.StatusAnswer,
        parameters=(_REPO,),
    ),
    Endpoint(
        "GET",
        "/api/events",
        status_events.events,
        "The same without a look, at once and whenever it changes.",
        media=_EVENTS,
    ),
    Endpoint(
        "POST",
        "/api/search",
        search_api.search,
        "The best chunks for a query.",
        body=search_api.SearchRequest,
        answer=search_api.SearchAnswer,
        statuses=(404, 409, 503),
    ),
    Endpoint(
        "POST",
        "/api/grep",
        search_api.grep,
        "The lines of indexed files that match a regular expression.",
        body=search_api.GrepRequest,
        answer=search_api.GrepAnswer,
        statuses=(404, 409, 503),
    ),
    Endpoint(
        "GET",
        "/api/symbols",
        search_api.symbols,
        "Where a name is defined, called, or extended and implemented.",
        answer=search_api.SymbolsAnswer,
        parameters=(
            _REPO,
            Parameter("query", _TEXT, required=True),
            Parameter("asked", {"type": "string", "enum": ["definitions", "calls", "implementations"]}),
            Parameter("limit", _NUMBER),
            Parameter("path", search_api.PATTERNS),
            Parameter("lang", search_api.PATTERNS),
        ),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/similar",
        search_api.similar,
        "Chunks most like the one at a line of a file.",
        answer=search_api.SearchAnswer,
        parameters=(_REPO, _PATH, Parameter("line", _NUMBER, required=True), Parameter("limit", _NUMBER)),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/source",
        search_api.source,
        "Lines of an indexed file.",
        answer=search_api.SourceAnswer,
        parameters=(_REPO, _PATH, Parameter("start", _NUMBER), Parameter("end", _NUMBER)),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/map",
        search_api.map_points,
        "Chunks on a plane where what lies close means alike.",
        answer=search_api.MapAnswer,
        parameters=(_REPO,),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/why",
        search_api.why,
        "Why a file is indexed or not.",
        answer=search_api.WhyAnswer,
        parameters=(_REPO, _PATH),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/files",
        files_api.files,
        "Which files are indexed, which changed since, and which are left out and why.",
        answer=files_api.FilesAnswer,
        parameters=(
            _REPO,
            Parameter("state", {"type": "string", "enum": list(files_api.STATES)}),
            Parameter("contains", _TEXT),
            Parameter("limit", _NUMBER),
            _LOOK,
        ),
        statuses=(404, 409),
    ),
    Endpoint(
        "GET",
        "/api/health-findings",
        search_api.health_findings,
        "What is wrong with an index, and how to mend it.",
        answer=search_api.FindingsAnswer,
        parameters=(_REPO, _LOOK),
        statuses=(404, 409),
    ),
    Endpoint(
        "POST",
        "/api/ask",
        ask.ask,
        "Answer a question about a repository, with citations.",
        body=ask.AskRequest,
        media=_EVENTS,
        statuses=(404, 409, 503),
    ),
    Endpoint(
        "POST",
        "/api/index",
        jobs_api.start_index,
        "Bring an index up to date in the background.",
        body=jobs_api.IndexRequest,
        answer=jobs_api.StartedAnswer,
    ),
    Endpoint(
        "GET",
        "/api/index/{id}/events",
        jobs_api.index_events,
        "How far it is.",
        media=_EVENTS,
        parameters=_JOB,
        statuses=(404,),
    ),
    Endpoint(
        "DELETE",
        "/api/index/{id}",
        jobs_api.cancel_index,
        "Call it off.",
        answer=jobs_api.StartedAnswer,
        parameters=_JOB,
        statuses=(404,),
    ),
    Endpoint(
        "GET", "/api/models", library_api.list_library, "All models that are known.", answer=library_api.LibraryAnswer
    ),
    Endpoint(
        "POST",
        "/api/models/download",
        library_api.download_model,
        "Fetch a model in the background.",
        body=library_api.ModelRequest,
        answer=jobs_api.StartedAnswer,
        statuses=(404,),
    ),
    Endpoint(
        "GET",
        "/api/models/jobs/{id}/events",
        jobs_api.download_events,
        "How far a download is.",
        media=_EVENTS,
        parameters=_JOB,
        statuses=(404,),
    ),
    Endpoint(
        "DELETE",
        "/api/models/jobs/{id}",
        jobs_api.cancel_download,
        "Call a download off.",
        answer=jobs_api.StartedAnswer,
        parameters=_JOB,
        statuses=(404,),
    ),
    Endpoint(
        "POST",
        "/api/models/load",
        library_api.load_model,
        "Load a model and keep it.",
        body=library_api.ModelRequest,
        answer=library_api.LoadAnswer,
        statuses=(404, 503),
    ),
    Endpoint(
        "POST",
        "/api/models/unload",
        library_api.unload_model,
        "Give a model's memory back.",
        body=library_api.ModelRequest,
        answer=library_api.LoadAnswer,
        statuses=(404,),
    ),
    Endpoint(
        "DELETE",
        "/api/models/{name:path}",
        library_api.delete_model,
        "Delete a model's files.",
        answer=library_api.RemovedAnswer,
        parameters=(Parameter("name", _TEXT, place="path"),),
        statuses=(404,),
    ),
)
