"""Whose token ids a request for vectors brings: the model's, or those of OpenAI's vocabulary, which LangChain sends.

Taken for the model's own they gave vectors at a cosine of 0.13 to the right ones, and nothing said so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from turboprop.edges.http.failures import RequestError
from turboprop.files import open_regular
from turboprop.models.tokenizer.load import decode_ids, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Origin = Literal["model", "cl100k_base"]
FOREIGN: Origin = "cl100k_base"
_ENOUGH = 8
"""Ids from which on it is no chance that they come out of the tokenizer again as they went in."""
_SAME = 0.9
"""The share of them that does: a piece of a text that was cut within a word begins and ends with other ids."""
_PERHAPS = 0.6
"""The share from which on they may be the model's: of 458 pieces in cl100k_base's ids none had more than 0.36."""
_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # as tiktoken names what it fetched
_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_WAYS_OUT = (
    "Send texts (LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False), or say whose ids they are: "
    "token_ids is model or cl100k_base"
)


def origin_of(inputs: Sequence[Sequence[int]], tokenizer: Tokenizer) -> Origin:
    """Whose the ids are. The model's own have its special tokens around them, or are many and come out of its tokenizer
    again. Raises `RequestError` where it cannot be told, or where they are OpenAI's and cannot be read here."""
    if not all(inputs):
        return "model"  # which refuses one without a token
    size = tokenizer.get_vocab_size()
    fit = all(0 <= min(each) <= max(each) < size for each in inputs)
    wrapping = _wrapping(tokenizer) if fit else None
    if fit and all(_is_wrapped(each, wrapping) or _comes_back(each, _own(tokenizer), _ENOUGH) for each in inputs):
        return "model"
    may_be_own = fit and all(_comes_back(each, _own(tokenizer), share=_PERHAPS) for each in inputs)
    if (foreign := _cl100k()) is not None and not may_be_own:
        if all(
            _comes_back(each, lambda ids: foreign.encode(_text(foreign, ids), disallowed_special=())) for each in inputs
        ):
            return FOREIGN
        raise RequestError(
            400, f"the token ids are neither this model's nor cl100k_base's. {_WAYS_OUT}", "unknown_token_ids", "input"
        )
    what = "may be this model's or another's" if may_be_own else "are not of this model's vocabulary"
    more = "" if may_be_own else "; cl100k_base's are read where tiktoken and its file of them are installed"
    raise RequestError(400, f"the token ids {what}{more}. {_WAYS_OUT}", "unknown_token_ids", "input")


def foreign_texts(inputs: Sequence[Sequence[int]]) -> list[str]:
    """The texts of ids of `cl100k_base`. Raises `RequestError` where they cannot be read."""
    encoding = _cl100k()
    if encoding is None:
        said = "ids of cl100k_base are read where the package tiktoken and its file of them are installed; send texts"
        raise RequestError(400, said, "unknown_token_ids", "token_ids")
    try:
        return [_text(encoding, each) for each in inputs]
    except (KeyError, OverflowError):
        raise RequestError(400, "input holds an id that cl100k_base has not", "unknown_token_ids", "input") from None


def _own(tokenizer: Tokenizer) -> Callable[[Sequence[int]], list[int]]:
    return lambda ids: encode_texts(tokenizer, [decode_ids(tokenizer, ids)], add_special_tokens=False)[0]


def _comes_back(
    ids: Sequence[int], again: Callable[[Sequence[int]], list[int]], least: int = 1, share: float = _SAME
) -> bool:
    """Whether ids whose text is tokenized again are the same ones, or so large a share of them."""
    if len(ids) < least:
        return False
    try:
        found = again(ids)
    except (KeyError, OverflowError):
        return False
    return sum((Counter(ids) & Counter(found)).values()) >= share * max(len(ids), len(found))


def _wrapping(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a").ids
    at = next((n for n in range(len(whole)) if whole[n : n + len(plain)] == plain), 0)
    return whole[:at], whole[at + len(plain) :]


def _is_wrapped(ids: Sequence[int], wrapping: tuple[list[int], list[int]] | None) -> bool:
    if wrapping is None or not (wrapping[0] or wrapping[1]):
        return False
    before, after = wrapping
    return list(ids[: len(before)]) == before and (not after or list(ids[-len(after) :]) == after)


def _text(encoding: Any, ids: Sequence[int]) -> str:
    return str(encoding.decode_bytes(list(ids)).decode("utf-8", "replace"))


@cache
def _cl100k() -> Any:
    """tiktoken's encoding, where both are here: without its file it would go and fetch one."""
    if importlib.util.find_spec("tiktoken") is None:
        return None
    folder = next(
        (value for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR") if (value := os.environ.get(name))), ""
    )
    file = (Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache") / _FILE
    try:
        # The folder for temporary files is everybody's: a pipe of this name would be waited for.
        with open_regular(file, follow=True) as stream:
            if hashlib.sha256(stream.read()).hexdigest() != _SHA256:
                return None
    except OSError:
        return None
    import tiktoken

    return tiktoken.get_encoding(FOREIGN)
