"""`POST /tokenize` and `/detokenize`, as llama.cpp's server has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, StrictStr
from starlette.responses import JSONResponse, Response
from tokenizers import Tokenizer
from typing_extensions import TypedDict

from turboprop.edges.http.schemas import ForeignBody, TokenId, UpToMillion
from turboprop.edges.http.state import read_model, state_of
from turboprop.errors import UsageError
from turboprop.models.tokenizer.load import decode_ids, encode_texts, token_text

if TYPE_CHECKING:
    from starlette.requests import Request


class TokenizeRequest(ForeignBody):
    content: StrictStr = ""
    model: StrictStr | None = None
    add_special: bool = Field(False, description="With the tokens that the model puts around a text.")
    parse_special: bool = Field(True, description="Control tokens that the text spells are meant.")
    with_pieces: bool = Field(False, description="With the text of each token.")


class DetokenizeRequest(ForeignBody):
    tokens: UpToMillion[TokenId] = Field(default_factory=list)
    model: StrictStr | None = None


class TokenPiece(TypedDict):
    id: int
    piece: str


class TokensAnswer(TypedDict):
    tokens: list[int] | list[TokenPiece]


class TextAnswer(TypedDict):
    content: str


async def tokenize(request: Request) -> Response:
    """The tokens of a text."""
    wanted = await read_model(request, TokenizeRequest)
    tokenizer = await _tokenizer(request, wanted.model)
    return JSONResponse(await state_of(request).in_thread(_tokens, tokenizer, wanted))


async def detokenize(request: Request) -> Response:
    """The text of tokens."""
    wanted = await read_model(request, DetokenizeRequest)
    tokenizer = await _tokenizer(request, wanted.model)
    return JSONResponse({"content": await state_of(request).in_thread(_text, tokenizer, wanted.tokens)})


async def _tokenizer(request: Request, model: str | None) -> Tokenizer:
    state = state_of(request)
    return await state.in_thread(state.names.tokenizer, model)


def _tokens(tokenizer: Tokenizer, wanted: TokenizeRequest) -> TokensAnswer:
    if not wanted.parse_special:  # the switch is the tokenizer's, which others use meanwhile
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        tokenizer.encode_special_tokens = True
    (ids,) = encode_texts(tokenizer, [wanted.content], add_special_tokens=wanted.add_special)
    if not wanted.with_pieces:
        return {"tokens": list(ids)}
    pieces: list[TokenPiece] = [{"id": number, "piece": token_text(tokenizer, number)} for number in ids]
    return {"tokens": pieces}


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    size = tokenizer.get_vocab_size()
    if ids and max(ids) >= size:
        raise UsageError(f"there is no token {max(ids)}; the model has {size}")
    if not ids:
        return ""
    text = decode_ids(tokenizer, ids)
    first = token_text(tokenizer, ids[0])
    # As a piece of a text: a decoder takes the space before the first word for its own.
    return " " + text if first.startswith(" ") and not text.startswith(" ") else text
