"""A query and a document as one input of a reranker: between special tokens, or in a conversation.

Texts never turn into control tokens: a document that holds `[SEP]` or `<|im_start|>` is read as these signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from turboprop.errors import ModelFormatError
from turboprop.models.gguf.metadata import GGUFMetadata
from turboprop.models.tokenizer.load import encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.models.checkpoint.reranker import RerankerCheckpoint
    from turboprop.models.checkpoint.view import Checkpoint

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""The task where none is given: what Qwen3-Reranker's card has as its default."""
CODE_INSTRUCTION = "Given a code search query, retrieve code that answers the query"
# Qwen3-Reranker's conversation, as its card gives it; the empty thought keeps the model from having one.
_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_CHARACTERS = 64
"""For each token of the limit, so many characters of a text are tokenized: what lies behind them is cut off anyway,
and tokenizing a megabyte takes seconds."""


@dataclass(frozen=True, slots=True)
class Input:
    """Token ids of one input; `second` of them come before the document, where that is told apart."""

    ids: list[int]
    second: int


class Inputs(Protocol):
    """Makes the inputs of one model."""

    def make(self, query: str, documents: Sequence[str], instruction: str) -> list[Input]:
        """One input a document, of `max_tokens` tokens at most."""


def inputs_of(reranker: RerankerCheckpoint, max_tokens: int) -> Inputs:
    """The form that the model was trained with. Raises `ModelFormatError` for a tokenizer that lacks its tokens."""
    if reranker.form == "prompt":
        return _Prompt(reranker.checkpoint, max_tokens)
    return _Pair(reranker.checkpoint, max_tokens)


class _Pair:
    """[CLS] query [SEP] document [SEP], as the tokenizer's own template has it.

    The longer text is cut first, token by token, until both fit: of a short query nothing is lost. The library's
    own cutting of pairs keeps every combination of what it cut off: minutes for two long texts.
    """

    def __init__(self, checkpoint: Checkpoint, max_tokens: int) -> None:
        tokenizer = checkpoint.tokenizer()
        if _has_roberta_tokenizer(checkpoint):
            _separate_twice(tokenizer)
        whole, plain = tokenizer.encode("a", "a"), tokenizer.encode("a", add_special_tokens=False).ids
        first = _find(whole.ids, plain, 0)
        second = _find(whole.ids, plain, first + len(plain))
        if not plain or first < 0 or second <= first + len(plain):
            raise ModelFormatError(f"the tokenizer of {checkpoint.name} puts nothing between two texts")
        self._before = whole.ids[:first]
        self._between = whole.ids[first + len(plain) : second]
        self._after = whole.ids[second + len(plain) :]
        # A unigram vocabulary holds </s> as a piece like any other, and finds it in a text.
        self._control = {*self._before, *self._between, *self._after}
        self._typed = whole.type_ids[second] == 1
        self._room = max_tokens - len(self._before) - len(self._between) - len(self._after)
        if self._room < 2:
            raise ModelFormatError(f"{checkpoint.name} takes {max_tokens} tokens, which no pair fits into")
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._most = max_tokens * _CHARACTERS

    def make(self, query: str, documents: Sequence[str], instruction: str) -> list[Input]:  # noqa: ARG002
        texts = [text[: self._most] for text in (query, *documents)]
        encoded = encode_texts(self._tokenizer, texts, add_special_tokens=False)
        asked, *found = ([number for number in ids if number not in self._control] for ids in encoded)
        inputs = []
        for ids in found:
            kept, rest = _kept(len(asked), len(ids), self._room)
            head = [*self._before, *asked[:kept], *self._between]
            whole = [*head, *ids[:rest], *self._after]
            inputs.append(Input(whole, len(head) if self._typed else len(whole)))
        return inputs


class _Prompt:
    """Qwen3-Reranker's conversation; where it is too long the end of the document is cut."""

    def __init__(self, checkpoint: Checkpoint, max_tokens: int) -> None:
        tokenizer = checkpoint.tokenizer()
        for token in ("<|im_start|>", "<|im_end|>"):
            if tokenizer.token_to_id(token) is None:
                raise ModelFormatError(f"the tokenizer of {checkpoint.name} lacks {token}, which its prompt needs")
        self._prefix, self._suffix = encode_texts(tokenizer, [_PREFIX, _SUFFIX], add_special_tokens=False)
        self._room = max_tokens - len(self._prefix) - len(self._suffix)
        if self._room < 1:
            raise ModelFormatError(f"the prompt of {checkpoint.name} does not fit its limit of {max_tokens} tokens")
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._most = max_tokens * _CHARACTERS

    def make(self, query: str, documents: Sequence[str], instruction: str) -> list[Input]:
        head = f"<Instruct>: {instruction}\n<Query>: {query[: self._most]}\n<Document>: "
        texts = [(head + document)[: self._most] for document in documents]
        bodies = encode_texts(self._tokenizer, texts, add_special_tokens=False)
        found = [[*self._prefix, *body[: self._room], *self._suffix] for body in bodies]
        return [Input(ids, len(ids)) for ids in found]


def _find(ids: list[int], part: list[int], start: int) -> int:
    last = len(ids) - len(part) + 1
    return next((at for at in range(start, last) if ids[at : at + len(part)] == part), -1)


def _kept(query: int, document: int, room: int) -> tuple[int, int]:
    """How many tokens of each stay where the longer one is cut first."""
    shorter = min(query, document, room // 2) if query + document > room else min(query, document)
    longer = min(max(query, document), room - shorter)
    return (shorter, longer) if query <= document else (longer, shorter)


def _has_roberta_tokenizer(checkpoint: Checkpoint) -> bool:
    """GGUF files call RoBERTa and XLM-R `bert`, and do not say that two signs stand between their texts."""
    config = checkpoint.config
    return (
        isinstance(config, GGUFMetadata)
        and checkpoint.family == "bert"
        and config.get("tokenizer.ggml.model") in ("t5", "gpt2")
    )


def _separate_twice(tokenizer: Tokenizer) -> None:
    from tokenizers.processors import TemplateProcessing

    plain, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    if len(whole) != len(plain) + 2:  # no begin and end: nothing to repeat
        return
    names = ["begin", "end"]
    tokenizer.post_processor = TemplateProcessing(
        single=["begin", "$A", "end"],
        pair=["begin", "$A", "end", "end", "$B", "end"],
        special_tokens=[
            {"id": name, "ids": [number], "tokens": [tokenizer.id_to_token(number)]}
            for name, number in zip(names, (whole[0], whole[-1]), strict=True)
        ],
    )
