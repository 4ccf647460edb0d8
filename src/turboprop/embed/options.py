"""What a caller may ask of an embedding, and what it means for one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """Wishes for one call; None means as the model was loaded.

    `instruction` is the task for models that take one, `normalize` whether vectors get unit length,
    `max_length` the tokens of one input at most (special tokens included), `dimensions` the width that
    the vectors of a Matryoshka model are cut to.
    """

    instruction: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    dimensions: int | None = None


PLAIN = EmbeddingOptions()


def checked_width(dimensions: int | None, full: int, checkpoint: Checkpoint) -> int | None:
    """The width to cut to, None for none. Raises `UsageError` that lists the widths there are."""
    if dimensions is None or dimensions == full:
        return None
    widths = checkpoint.widths
    if dimensions not in widths:
        known = sorted({*widths, full})
        # Some families are trained for every width of a range: Qwen3-Embedding-0.6B for 32 to 1,024.
        is_range = len(known) > 32 and known[-1] - known[0] + 1 == len(known)
        valid = f"{known[0]} to {known[-1]}" if is_range else ", ".join(map(str, known))
        why = "" if widths else " (it was not trained to be cut)"
        raise UsageError(f"{checkpoint.name} has no vectors of {dimensions} dimensions; valid: {valid}{why}")
    return dimensions


def checked_limit(max_tokens: int | None, checkpoint: Checkpoint) -> int:
    """Tokens of one input at most. Raises `UsageError` outside of 8 to what the model takes."""
    if max_tokens is None:
        return checkpoint.max_tokens
    if not 8 <= max_tokens <= checkpoint.max_tokens:
        raise UsageError(
            f"an input of {checkpoint.name} can be limited to 8 to {checkpoint.max_tokens} tokens, not {max_tokens}"
        )
    return max_tokens
