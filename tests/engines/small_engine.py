"""A whole engine in one file, as small as one can be: states are seeded numbers of an id, the next id is the last plus
one. The test registers it by its row and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.paged_generator import PagedGenerator
from turboprop.engines.pooling import begins_of, pool
from turboprop.engines.step import StepBatch
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.types import TokenBatch

WIDTH, VOCABULARY, BLOCKS = 16, 512, 64
PLAN = Plan("float16", 1_000_000, "abacus:0", batch_tokens=64, padded_to=8, prompt_tokens=3, prompt_tokens_beside=2)
batches: list[list[int]] = []
"""Lengths of the inputs of each batch that came."""
steps: list[int] = []
"""Tokens of each step that came."""


class SmallEncoder:
    dimensions = WIDTH

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._pooling = checkpoint.pooling[:1]

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        batches.append(batch.lengths.tolist())
        states = np.stack([np.random.default_rng(int(one)).standard_normal(WIDTH) for one in batch.ids])
        return pool(states.astype(np.float32), begins_of(batch.lengths), batch.skip, self._pooling)

    def close(self) -> None:
        pass


class SmallForward:
    def __call__(self, batch: StepBatch) -> NDArray[np.float32]:
        steps.append(len(batch.ids))
        return np.eye(VOCABULARY, dtype=np.float32)[(batch.ids[batch.rows] + 1) % VOCABULARY]

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


def devices() -> list[str]:
    return ["abacus:0"]


def why_not(checkpoint: Checkpoint, purpose: str, options: EngineOptions) -> str | None:
    return None if checkpoint.family in ("bert", "llama") else f"knows no {checkpoint.family}"


def plan(checkpoint: Checkpoint, purpose: str, options: EngineOptions) -> Plan:
    return PLAN


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> SmallEncoder:
    return SmallEncoder(checkpoint)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> PagedGenerator:
    return PagedGenerator(checkpoint, SmallForward(), PLAN, VOCABULARY, options.context or 512, BLOCKS)
