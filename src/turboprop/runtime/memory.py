"""What models may take together, and what one of them will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import choose
from turboprop.errors import TurboPropError
from turboprop.machine import share_of_free
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import open_reranker
from turboprop.models.kind import Kind

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel
    from turboprop.settings import Settings
    from turboprop.types import WeightFormat

CPU = "cpu"
REMOTE = "remote"
"""Where models run that take no memory here."""
_FALLBACK_BUDGET = 4_000_000_000
"""Where the system names no memory at all."""
_ACTIVATIONS = {"embedding": 150_000_000, "reranker": 150_000_000, "language": 500_000_000}
"""Beside the weights: activations of a batch of 4,096 tokens took 40 to 140 MB; a language model also keeps keys
and values."""
_FACTOR = 1.1
"""Peak over the size of the weights while a model is converted and compiled."""


def default_budgets() -> dict[str, int]:
    """Bytes that models may take together on each device where nobody says: a share of what is free now."""
    share = share_of_free()
    return {CPU: _FALLBACK_BUDGET if share is None else share}


def estimated_need(
    local: LocalModel, kind: Kind, settings: Settings, engine: str | None, weights: WeightFormat | None
) -> tuple[str, int]:
    """The device that a model will run on and about the bytes that it takes there; raises what opening its files
    raises."""
    if local.endpoint is not None:
        return REMOTE, 0
    checkpoint = open_reranker(local).checkpoint if kind == "reranker" else open_checkpoint(local)
    embeds = kind == "embedding"
    options = EngineOptions(
        weights or (settings.weights if embeds else "auto"),
        settings.threads,
        engine=engine or (settings.engine if embeds else "auto"),
        programs=settings.programs,
    )
    try:
        plan = choose(checkpoint, kind, options).plan
        device, size = plan.device, plan.bytes
    except TurboPropError:  # the loading itself says what is wrong
        device, size = CPU, sum(path.stat().st_size for path in checkpoint.weight_files)
    return device, int(size * _FACTOR) + _ACTIVATIONS[kind]
