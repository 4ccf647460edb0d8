"""A small model that drafts for a large one: whether the two fit, and how they share memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from turboprop.engines.contract import EngineOptions
from turboprop.engines.paged_generator import PagedGenerator
from turboprop.engines.registry import choose, load_generator
from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.models.tokenizer.load import tokenizer_from_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.engines.generation_contract import Generator, TextWriter
    from turboprop.settings import Settings

_OTHER = "take another draft, or leave it away"


def attach_draft(
    generator: Generator | TextWriter,
    tokenizer: Tokenizer | None,
    checkpoint: Checkpoint,
    draft: str,
    options: EngineOptions,
    settings: Settings,
) -> None:
    """Load `draft` beside a model, with the options of this one but the weights, and let it guess.

    Raises what loading a model raises, and `UsageError` where the vocabularies differ or the engine takes no draft.
    """
    if not isinstance(generator, PagedGenerator) or tokenizer is None:
        raise UsageError(
            f"{checkpoint.name} runs in the engine {options.engine}, which takes no draft; leave the draft away, or "
            "take the engine native"
        )
    small = _opened(draft, settings)
    _check_vocabularies(tokenizer, checkpoint, small)
    context = min(generator.context, small.max_tokens)
    wanted = replace(options, weights="auto", context=context, progress=None)
    if options.memory is not None:
        wanted = replace(wanted, memory=options.memory * _bytes(small, wanted) // _bytes(checkpoint, options))
    guesser, _ = load_generator(small, wanted)
    assert isinstance(guesser, PagedGenerator)
    generator.draft_with(guesser)


def share_beside(checkpoint: Checkpoint, draft: str, options: EngineOptions, settings: Settings) -> int | None:
    """What of the memory of `options` is the large model's: as much as its weights are of both."""
    if options.memory is None:
        return None
    large, small = _bytes(checkpoint, options), _bytes(_opened(draft, settings), replace(options, weights="auto"))
    return options.memory * large // (large + small)


def _bytes(checkpoint: Checkpoint, options: EngineOptions) -> int:
    return max(1, choose(checkpoint, "language", replace(options, memory=None)).plan.bytes)


def _opened(draft: str, settings: Settings) -> Checkpoint:
    local = resolve(draft, settings)
    if local.endpoint is not None:
        raise UsageError(f"{draft} is behind an address and cannot draft; {_OTHER}")
    if local.row is not None and local.row.kind != "language":
        raise ModelUnsupportedError(f"{local.name} writes no text and cannot draft; {_OTHER}")
    return open_checkpoint(local)


def _check_vocabularies(tokenizer: Tokenizer, checkpoint: Checkpoint, small: Checkpoint) -> None:
    known = tokenizer.get_vocab(with_added_tokens=True)
    others = tokenizer_from_path(small.tokenizer_path).get_vocab(with_added_tokens=True)
    if known == others:
        return
    if len(known) != len(others):
        how = f"{len(others):,} tokens, and {checkpoint.name} has {len(known):,}"
    else:
        token = next(token for token in known if others.get(token) != known[token])
        how = f"another number for the token {token!r} than {checkpoint.name}"
    raise UsageError(f"{small.name} cannot draft for {checkpoint.name}: it has {how}; {_OTHER}")
