"""`POST /v1/embeddings`."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self

import numpy as np
from pydantic import BeforeValidator, Field, StrictInt, StrictStr, model_validator
from starlette.responses import Response
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.schemas import ForeignBody, TokenId, UpToMillion, refusal
from turboprop.edges.http.state import read_model, state_of, tell
from turboprop.edges.http.streams import until_gone
from turboprop.edges.http.token_ids import FOREIGN, Origin, foreign_texts, origin_of
from turboprop.embed.options import EmbeddingOptions
from turboprop.embed.prepared import PreparedInputs
from turboprop.errors import InputTooLongError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.embed.model import EmbeddingModel


TRUNCATED = "X-TurboProp-Truncated"
"""The header that says how many inputs were cut."""
WHOSE_IDS = "X-TurboProp-Token-Ids"
"""The header that says whose token ids were taken."""


def _input_type(value: Any) -> Any:
    return _INPUT_TYPES.get(value, value) if isinstance(value, str) else value


_INPUT_TYPES = {
    **dict.fromkeys(("search_document", "classification", "clustering", "passage", "retrieval.passage"), "document"),
    **dict.fromkeys(("search_query", "retrieval.query"), "query"),
}
"""What Cohere, Voyage, NVIDIA and Jina call them."""
InputType = Annotated[Literal["document", "query"], BeforeValidator(_input_type)]


class EmbeddingsRequest(ForeignBody):
    """As at OpenAI; `truncate`, `overlong`, `input_type`, `instruction` and `token_ids` are ours."""

    input: StrictStr | UpToMillion[StrictStr] | UpToMillion[TokenId] | UpToMillion[UpToMillion[TokenId]]
    model: StrictStr | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    user: StrictStr | None = None
    truncate: bool | None = Field(
        None, description="Cut inputs that are too long, or refuse them; without it as the server was started."
    )
    truncate_prompt_tokens: StrictInt | None = Field(None, description="vLLM's: -1 cuts to the model's length.")
    overlong: Literal["error", "truncate", "average"] | None = Field(
        None, description="As `truncate` says, or `average`: the mean of the parts of an input that is too long."
    )
    input_type: InputType = Field("document", description="Which of the model's prompts to put.")
    instruction: StrictStr | None = Field(None, max_length=10_000, description="The task, for models that take one.")
    token_ids: Origin | None = Field(None, description="Whose ids they are, where that cannot be told from them.")

    @model_validator(mode="after")
    def _is_cut_to_the_models_length(self) -> Self:
        if self.truncate_prompt_tokens not in (None, -1):
            raise refusal("truncate_prompt_tokens", "inputs are cut to the model's length; give -1, or truncate")
        return self

    def handling(self, by_default: Literal["error", "end"]) -> Literal["error", "truncate", "average"]:
        """What becomes of an input that is too long, where the server was started with `by_default`."""
        if self.overlong is not None:
            return self.overlong
        cuts = by_default == "end" if self.truncate is None else self.truncate
        return "truncate" if cuts or self.truncate_prompt_tokens == -1 else "error"


class EmbeddingRow(TypedDict):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    encoding_format: NotRequired[Literal["base64"]]


class EmbeddingUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(TypedDict):
    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsage


async def create_embeddings(request: Request) -> Response:
    """Vectors of texts or of token ids."""
    state = state_of(request)
    wanted = await read_model(request, EmbeddingsRequest)
    if isinstance(wanted.input, list) and not wanted.input:
        raise RequestError(400, "input is empty: give at least one text", "invalid_value", "input")
    if isinstance(wanted.input, list) and len(wanted.input) > state.limits.inputs and not _is_ids(wanted.input):
        raise RequestError(
            400, f"input holds {len(wanted.input)} texts and {state.limits.inputs} may come at once", None, "input"
        )
    return await until_gone(request, _answer(request, state, wanted))


async def _answer(request: Request, state: ServerState, wanted: EmbeddingsRequest) -> Response:
    vectors, tokens, shown = await _embedded(request, wanted)
    body = await state.in_thread(_body, vectors, wanted.encoding_format or "float", shown, tokens)
    return Response(body, media_type="application/json")


async def vectors_of(
    request: Request,
    texts: list[str],
    model: str | None,
    *,
    input_type: Literal["document", "query"] = "document",
    dimensions: int | None = None,
    overlong: Literal["error", "truncate", "average"] | None = None,
) -> tuple[NDArray[np.float32], int, str]:
    """The vectors of texts for another interface's endpoint, the tokens, and what the model is called. Without
    `overlong` inputs that are too long are handled as the server was started to."""
    state = state_of(request)
    if len(texts) > state.limits.inputs:
        raise RequestError(400, f"there are {len(texts)} texts and {state.limits.inputs} may come at once")
    wanted = EmbeddingsRequest(
        input=texts,
        model=model,
        input_type=input_type,
        dimensions=dimensions,
        overlong=overlong,
        truncate=None,
        instruction=None,
        truncate_prompt_tokens=None,
        token_ids=None,
    )
    return await _embedded(request, wanted)


async def _embedded(request: Request, wanted: EmbeddingsRequest) -> tuple[NDArray[np.float32], int, str]:
    state = state_of(request)
    name = await state.in_thread(state.names.embedding, wanted.model)
    handling = wanted.handling(state.options.truncate)
    with await state.in_waiting_thread(state.manager.embedding, name, wait=state.limits.load_seconds) as lease:
        try:
            prepared, origin = await state.in_thread(_prepare, lease.model, wanted, handling)
        except InputTooLongError:
            state.say_too_long(name, lease.model.max_tokens)
            raise
        if origin is not None:
            tell(request, WHOSE_IDS, origin)
        if prepared.shortened:
            state.say_too_long(name, lease.model.max_tokens)
            cut = f"{prepared.shortened} of {len(prepared.where)}; the limit is {lease.model.max_tokens} tokens"
            tell(request, TRUNCATED, cut)
        vectors = await asyncio.wrap_future(lease.submit(prepared))
    state.metrics.count("tp_embedded_tokens_total", prepared.tokens)
    return vectors, prepared.tokens, wanted.model or state.names.public(name)


def _is_ids(given: list[Any]) -> bool:
    return isinstance(given[0], int)


def _prepare(model: EmbeddingModel, wanted: EmbeddingsRequest, overlong: Any) -> tuple[PreparedInputs, Origin | None]:
    """What is to be computed, and for token ids whose they are."""
    options = EmbeddingOptions(wanted.instruction, dimensions=wanted.dimensions)
    given: Any = wanted.input
    if isinstance(given, str):
        given = [given]
    if _is_ids(given):
        given = [given]
    origin: Origin | None = None
    if isinstance(given[0], list):
        origin = wanted.token_ids
        if origin is None and model.tokenizer is not None:
            origin = origin_of(given, model.tokenizer)
        if origin != FOREIGN:
            return model.prepare_ids(given, options, overlong=overlong), origin
        given = foreign_texts(given)
    return model.prepare(given, wanted.input_type, options, overlong=overlong), origin


def _body(vectors: NDArray[np.float32], form: str, model: str, tokens: int) -> bytes:
    rows: list[EmbeddingRow] = []
    for index, vector in enumerate(vectors):
        if form == "base64":
            # Little-endian float32, as OpenAI's clients decode it.
            packed = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
            rows.append({"object": "embedding", "index": index, "embedding": packed, "encoding_format": "base64"})
        else:
            rows.append({"object": "embedding", "index": index, "embedding": vector.tolist()})
    usage: EmbeddingUsage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer: EmbeddingsAnswer = {"object": "list", "data": rows, "model": model, "usage": usage}
    return json.dumps(answer).encode()
