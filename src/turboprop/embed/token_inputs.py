"""The token ids that a late-interaction model reads: prefix, expansion and skiplist, as PyLate has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.models.tokenizer.load import encode_texts, longest_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.embed.instruction import Side
    from turboprop.models.checkpoint.view import Checkpoint

_CHARACTERS = 64
"""For each token of the limit, so many characters of a text are tokenized; what lies behind them is cut off anyway."""
# What other tokens are masked with, in the order of the families; the last two end a decoder's text.
_MASKS = ("[MASK]", "<mask>", "<|mask|>", "<|endoftext|>", "</s>")


@dataclass(frozen=True, slots=True)
class TokenInput:
    """`ids` of one input. The first `seen` of them are attended to; `kept` says which ones' vectors count."""

    ids: list[int]
    seen: int
    kept: list[bool]


class TokenInputs:
    """Makes the inputs of one model. Raises `ModelFormatError` for a tokenizer that lacks what its settings name."""

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
        late = checkpoint.late
        assert late is not None
        self._late, self._tokenizer = late, tokenizer
        self._limits = {
            "query": min(late.query_length, checkpoint.max_tokens),
            "document": min(late.document_length, checkpoint.max_tokens),
        }
        self._prefixes = {"query": late.query_prefix, "document": late.document_prefix}
        self._prefix_ids = {}
        for side, prefix in self._prefixes.items():
            number = tokenizer.token_to_id(prefix) if prefix else None
            if prefix and number is None:
                raise ModelFormatError(
                    f"{checkpoint.name}: its tokenizer has no token {prefix!r}, which begins each {side}; "
                    "download the model again, or take the tokenizer that it was saved with"
                )
            self._prefix_ids[side] = number
        mask = next((number for word in _MASKS if (number := tokenizer.token_to_id(word)) is not None), None)
        if late.expands and mask is None:
            raise ModelFormatError(
                f"{checkpoint.name}: queries are filled up with mask tokens, and its tokenizer has none "
                f"({', '.join(_MASKS)}); set do_query_expansion to false in config_sentence_transformers.json"
            )
        self._mask = mask or 0
        known = {word: tokenizer.token_to_id(word) for word in late.skiplist}
        if late.skiplist and all(number is None for number in known.values()):
            shown = " ".join(late.skiplist[:10])
            raise ModelFormatError(
                f"{checkpoint.name}: its tokenizer has none of the {len(known)} tokens of its skiplist ({shown}), so "
                "it is another model's; download the model again"
            )
        unknown = getattr(tokenizer.model, "unk_token", None)
        # Words that are no token stand for the unknown one, as PyLate's tokenizer gives them.
        other = tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
        self._skipped = {other if number is None else number for number in known.values()}

    def make(self, texts: Sequence[str], side: Side) -> list[TokenInput]:
        """One input a text, cut to the length of its side."""
        limit, prefix = self._limits[side], self._prefix_ids[side]
        room = limit - (prefix is not None)
        most = min(longest_text(self._tokenizer), limit * _CHARACTERS)
        whole = encode_texts(self._tokenizer, [text[:most] for text in texts])
        _, after = self._edges()
        made = []
        for ids in whole:
            if len(ids) > room:  # as tokenizers cut: special tokens stay
                ids = [*ids[: room - after], *ids[len(ids) - after :]]
            if prefix is not None:
                ids = [*ids[:1], prefix, *ids[1:]]
            seen = max(1, len(ids))  # an empty text may have no token of its own, and masks must see something
            if side == "query" and self._late.expands:
                ids = [*ids, *[self._mask] * (limit - len(ids))]
                seen = len(ids) if self._late.sees_expansion else seen
            skipped = self._skipped if side == "document" else set()
            made.append(TokenInput(ids, seen, [number not in skipped for number in ids]))
        return made

    def _edges(self) -> tuple[int, int]:
        from turboprop.embed.units import TokenIds

        return TokenIds(self._tokenizer).edges()
