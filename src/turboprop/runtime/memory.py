"""What models may take together, and what one of them will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.engines import choose_engine, planned_weights
from turboprop.engines.contract import EngineOptions
from turboprop.errors import TurboPropError
from turboprop.machine import share_of_free
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.checkpoint_reranker import open_reranker
from turboprop.models.kind import Kind
from turboprop.models.open_checkpoint import open_checkpoint

if TYPE_CHECKING:
    from turboprop.engines.contract import WeightFormat
    from turboprop.models.local import LocalModel
    from turboprop.settings import Settings

DEVICE = "cpu"
"""What every engine runs on; another device is another key of the budgets."""
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
    return {DEVICE: _FALLBACK_BUDGET if share is None else share}


def estimated_bytes(
    local: LocalModel, kind: Kind, settings: Settings, engine: str | None, weights: WeightFormat | None
) -> int:
    """About the bytes that a model takes once it is loaded; raises what opening its files raises."""
    checkpoint = open_reranker(local).checkpoint if kind == "reranker" else open_checkpoint(local)
    return int(_weight_bytes(checkpoint, kind, settings, engine, weights) * _FACTOR) + _ACTIVATIONS[kind]


def _weight_bytes(
    checkpoint: Checkpoint, kind: Kind, settings: Settings, engine: str | None, weights: WeightFormat | None
) -> int:
    stored = sum(path.stat().st_size for path in checkpoint.weight_files)
    wanted: WeightFormat = weights or (settings.weights if kind == "embedding" else "auto")
    try:
        chosen = choose_engine(checkpoint, engine or (settings.engine if kind == "embedding" else "auto"), wanted)
        return planned_weights(checkpoint, chosen.name, EngineOptions(wanted, settings.threads))[1]
    except TurboPropError:  # the loading itself says what is wrong
        return stored
