"""The vocabulary in the metadata of a GGUF file: tokens, their types and scores, the special ids."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from turboprop.models.gguf.metadata import GGUFFormatError, GGUFMetadata, GGUFValueType, shown
from turboprop.models.tokenizer.parts import MAX_TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Real tokens have up to 512 characters (runs of spaces). The `tokenizers` library frees a unigram model
# by recursion, one level a byte, and overflows the stack at 16,000 bytes on a small thread.
MAX_TOKEN_CHARACTERS = 1024
# 262,144 tokens of a real vocabulary have 2 million; time grows with them, about 4 s at the cap.
MAX_VOCABULARY_CHARACTERS = 1 << 24
_INTEGERS = {GGUFValueType.INT32, GGUFValueType.UINT32, GGUFValueType.INT8, GGUFValueType.UINT8}
_NUMBERS = {GGUFValueType.INT32, GGUFValueType.FLOAT32, GGUFValueType.FLOAT64}


_ENDS = "eot_id im_end end return call flush calls endoftext eom_id end_of_text"
END_NAMES = frozenset(
    (
        *(f"<|{name}|>" for name in _ENDS.split()),
        *("</s>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "[e~[", "<eos>", "<end_of_turn>", "<end_of_utterance>"),
        *("<turn|>", "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
    )
)
"""Tokens that llama.cpp takes for the end of a text whatever type the file gives them (`src/llama-vocab.cpp`): Gemma's
files call `</s>` user-defined."""


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type`; other numbers count as NORMAL."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id, each once; `types` int32 [n] and `scores` float32 [n] beside them."""

    metadata: GGUFMetadata
    tokens: list[str]
    ids: dict[str, int]
    types: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def read(cls, metadata: GGUFMetadata) -> Vocabulary:
        """Raises `GGUFFormatError` where the arrays do not fit each other."""
        count = len(metadata.array("tokenizer.ggml.tokens"))
        if count > MAX_TOKENS:
            raise GGUFFormatError(metadata.path, f"it has {count} tokens, more than the {MAX_TOKENS} allowed")
        tokens = metadata.strings("tokenizer.ggml.tokens")
        types = _numbers(metadata, "tokenizer.ggml.token_type", len(tokens), _INTEGERS, TokenType.NORMAL)
        scores = _numbers(metadata, "tokenizer.ggml.scores", len(tokens), _NUMBERS, 0)
        with np.errstate(over="ignore"):
            single = scores.astype(np.float32)
        if not np.isfinite(single).all():
            raise GGUFFormatError(metadata.path, "tokenizer.ggml.scores holds a value that is not finite")
        return cls._of(metadata, tokens, types.astype(np.int32), single)

    @classmethod
    def _of(
        cls,
        metadata: GGUFMetadata,
        tokens: list[str],
        types: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> Vocabulary:
        if "" in tokens:
            # Padding of some vocabularies; the name is the one that llama.cpp gives them.
            tokens = [token or f"[EMPTY_{number}]" for number, token in enumerate(tokens)]
        longest = max(tokens, key=len, default="")
        if len(longest) > MAX_TOKEN_CHARACTERS:
            raise GGUFFormatError(
                metadata.path,
                f"the token {shown(longest)} has {len(longest)} characters, more than the "
                f"{MAX_TOKEN_CHARACTERS} allowed",
            )
        if sum(map(len, tokens)) > MAX_VOCABULARY_CHARACTERS:
            raise GGUFFormatError(
                metadata.path, f"its tokens have more than {MAX_VOCABULARY_CHARACTERS} characters together"
            )
        ids = dict(zip(tokens, range(len(tokens)), strict=True))
        if len(ids) < len(tokens):
            twice = next(token for number, token in enumerate(tokens) if ids[token] != number)
            raise GGUFFormatError(
                metadata.path,
                f"the token {shown(twice)} has two ids, {tokens.index(twice)} and {ids[twice]}",
            )
        types = types.copy()
        types[[ids[end] for end in END_NAMES & ids.keys()]] = TokenType.CONTROL
        return cls(metadata, tokens, ids, types, scores)

    def renamed(self, tokens: list[str]) -> Vocabulary:
        """The same vocabulary with the tokens written another way."""
        return self._of(self.metadata, tokens, self.types, self.scores)

    def of_type(self, *types: TokenType) -> list[int]:
        """Ids of the tokens of any of these types, ascending."""
        return [int(number) for number in np.flatnonzero(np.isin(self.types, types))]

    def special(self, *names: str, default: int | None = None) -> int | None:
        """The id under the first of `tokenizer.ggml.<name>` that is set to a token of the vocabulary."""
        for name in names:
            key = f"tokenizer.ggml.{name}"
            if key in self.metadata:
                number = self.metadata.integer(key)
                # Converters write -1 or 2 ** 32 - 1 for "none".
                if 0 <= number < len(self.tokens):
                    return number
        return default if default is not None and default < len(self.tokens) else None


def _numbers(
    metadata: GGUFMetadata, key: str, count: int, kinds: set[GGUFValueType], absent: int
) -> NDArray[np.generic]:
    if key not in metadata:
        return np.full(count, absent, np.int32)
    array = metadata.array(key)
    if len(array) != count:
        raise GGUFFormatError(metadata.path, f"{key} has {len(array)} elements for {count} tokens")
    if array.element_type not in kinds:
        raise GGUFFormatError(metadata.path, f"{key} holds {array.element_type.name} values")
    return array.numpy()
