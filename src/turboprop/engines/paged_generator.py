"""A language model behind one loop of steps: the part that engines with a paged cache share."""

from __future__ import annotations

from typing import Literal, Protocol

from turboprop.engines.cache_blocks import CacheBlocks
from turboprop.engines.constraint import Constraints, supported
from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.draft import Draft
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.generation_loop import GenerationLoop, LoopStream
from turboprop.engines.step import BLOCK, Forward
from turboprop.errors import EngineError, InputTooLongError, UsageError
from turboprop.machine import SHARE, share_of_free
from turboprop.models.checkpoint.view import Checkpoint

_CACHE_SHARE = 0.25
"""Of the free memory, what the cache of keys and values may grow to where no budget is given."""
_CACHE_CONTEXTS = 2
"""Contexts that the cache holds: the running one and what is kept for follow-ups."""
_LEAST_CONTEXT = 256


class ClosableForward(Forward, Protocol):
    """A model whose memory can be given back."""

    def close(self) -> None: ...


class PagedGenerator:
    """A loaded language model; see `generation_contract.Generator`. `blocks` of the cache can be used."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        forward: ClosableForward,
        plan: Plan,
        vocabulary: int,
        context: int,
        blocks: int,
    ) -> None:
        self._name = name = checkpoint.name
        self._context = context
        self._vocabulary = vocabulary
        self._constraints = Constraints(checkpoint.tokenizer_path, vocabulary)
        self._forward = forward
        self._draft: PagedGenerator | None = None
        self._loop = GenerationLoop(forward, CacheBlocks(blocks, BLOCK), context, vocabulary, name, plan)

    @property
    def constraints(self) -> frozenset[Literal["json_schema", "grammar"]]:
        return supported()

    @property
    def context(self) -> int:
        return self._context

    def draft_with(self, draft: PagedGenerator) -> None:
        """Let a small model of the same vocabulary, which writes nothing of its own, guess ids from now on; it is
        closed with this one. The answers stay the same."""
        self._loop.draft = Draft(draft._forward, draft._context, min(self._vocabulary, draft._vocabulary))
        self._draft = draft

    def start(self, request: TokenRequest) -> LoopStream:
        if not request.ids:
            raise UsageError("the prompt has no token")
        if request.max_tokens < 1:
            raise UsageError(f"max_tokens must be at least 1, not {request.max_tokens}")
        if not 0 <= min(request.ids) <= max(request.ids) < self._vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {max(request.ids)} and the model has {self._vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        if len(request.ids) >= self._context:
            raise InputTooLongError(
                f"the prompt has {len(request.ids)} tokens and {self._name} takes {self._context} with the answer; "
                "shorten it, or load the model with a larger context"
            )
        return self._loop.start(request, self._constraints.make(request))

    def close(self) -> None:
        self._loop.close()
        self._forward.close()
        if self._draft is not None:
            self._draft.close()


def cache_size(checkpoint: Checkpoint, block_bytes: int, weight_bytes: int, options: EngineOptions) -> tuple[int, int]:
    """Tokens of the context, and blocks of the cache: as many as hold `_CACHE_CONTEXTS` of it, if they fit.

    Raises `UsageError` for a context that the model does not have, `EngineError` where the memory does not suffice.
    """
    if options.context is not None and not 2 <= options.context <= checkpoint.max_tokens:
        raise UsageError(f"{checkpoint.name} takes a context of 2 to {checkpoint.max_tokens}, not {options.context}")
    wanted = options.context or checkpoint.max_tokens
    room = share_of_free(SHARE if options.context is not None else _CACHE_SHARE)
    if options.memory is not None:
        room = options.memory - weight_bytes
    most = None if room is None else max(0, room // block_bytes) * BLOCK
    least = wanted if options.context is not None else min(wanted, _LEAST_CONTEXT)
    if most is not None and most < least:
        raise EngineError(
            f"a context of {least} tokens of {checkpoint.name} needs {-(-least // BLOCK) * block_bytes / 1e6:.0f} MB "
            f"beside the weights ({weight_bytes / 1e6:.0f} MB) and {max(0, room or 0) / 1e6:.0f} MB are left: "
            "allow more memory, or take a smaller context"
        )
    context = wanted if most is None else min(wanted, most)
    tokens = _CACHE_CONTEXTS * context if most is None else min(_CACHE_CONTEXTS * context, most)
    return context, max(-(-tokens // BLOCK), -(-context // BLOCK) + 1)
