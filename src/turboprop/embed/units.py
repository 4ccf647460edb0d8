"""What a model's inputs are made of: token ids that are counted here, or the texts of a model that tokenizes itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from turboprop.embed.prepared import token_batch
from turboprop.models.endpoint import CHARS_PER_TOKEN
from turboprop.models.tokenizer.load import encode_texts, longest_text
from turboprop.types import TokenBatch

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Units(Protocol):
    """One input is a sequence of units. It can be cut anywhere, and parts of it can be put together."""

    name: str
    """What an error counts."""

    @property
    def longest_text(self) -> int:
        """Characters that are made an input of at once."""

    def limit(self, tokens: int) -> int:
        """Units of an input of so many tokens."""

    def tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Tokens of each input."""

    def inputs(self, texts: Sequence[str], prompt: str) -> list[Any]:
        """An input for each text, with the prompt before it."""

    def edges(self) -> tuple[int, int]:
        """How many units of its own the model puts before and after a text."""

    def prompt_size(self, prompt: str) -> int:
        """Units of a prompt."""

    def batch(self, inputs: Sequence[Any], skip: int, asked: tuple[tuple[str, str], ...]) -> TokenBatch:
        """What an encoder takes."""


class TokenIds:
    """Token ids."""

    name = "tokens"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def longest_text(self) -> int:
        """Characters that the tokenizer takes."""
        return longest_text(self._tokenizer)

    def limit(self, tokens: int) -> int:
        """The same."""
        return tokens

    def tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Their lengths."""
        return [len(each) for each in inputs]

    def inputs(self, texts: Sequence[str], prompt: str) -> list[Any]:
        """Ids, special tokens included."""
        return list(encode_texts(self._tokenizer, [prompt + text for text in texts]))

    def edges(self) -> tuple[int, int]:
        """How many special tokens the tokenizer puts before and after a text."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a").ids
        extra = len(whole) - len(plain)
        for before in range(extra + 1):
            if whole[before : before + len(plain)] == plain:
                return before, extra - before
        return 0, extra

    def prompt_size(self, prompt: str) -> int:
        """Its ids, special tokens left out."""
        return len(encode_texts(self._tokenizer, [prompt], add_special_tokens=False)[0]) if prompt else 0

    def batch(self, inputs: Sequence[Any], skip: int, asked: tuple[tuple[str, str], ...]) -> TokenBatch:  # noqa: ARG002
        """Packed end to end."""
        return token_batch(inputs, skip)


class Texts:
    """Characters, three of which are taken for a token; `whole` where the server cuts by itself."""

    name = "characters"

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    @property
    def longest_text(self) -> int:
        """All of them."""
        return sys.maxsize

    def limit(self, tokens: int) -> int:
        """Characters of so many tokens."""
        return sys.maxsize if self._whole else tokens * CHARS_PER_TOKEN

    def tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Estimated."""
        return [-(-len(each) // CHARS_PER_TOKEN) for each in inputs]

    def inputs(self, texts: Sequence[str], prompt: str) -> list[Any]:
        """The texts."""
        return [prompt + text for text in texts]

    def edges(self) -> tuple[int, int]:
        """The server puts them."""
        return 0, 0

    def prompt_size(self, prompt: str) -> int:
        """Its characters."""
        return len(prompt)

    def batch(self, inputs: Sequence[Any], skip: int, asked: tuple[tuple[str, str], ...]) -> TokenBatch:  # noqa: ARG002
        """The texts, and no ids."""
        lengths = np.array([len(text) for text in inputs], np.int32)
        return TokenBatch(np.empty(0, np.int32), lengths, texts=tuple(inputs), asked=asked)
