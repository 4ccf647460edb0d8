"""One call of a model over packed sequences, and who answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 32
"""Tokens of one block of the cache."""


@dataclass(frozen=True, slots=True)
class StepBatch:
    """What one call of the model computes. Arrays are int32.

    `ids` and `positions` [tokens] hold the sequences end to end; `begins` [sequences + 1] says where; `past`
    [sequences] tokens of each are in the cache. `blocks` holds their blocks end to end, `block_begins`
    [sequences + 1] says where. `rows` [n]: the tokens whose logits are wanted; `types` [tokens] are of encoders that
    read pairs. `seen` [sequences]: how many tokens of each are attended to, the first ones; None: all.
    """

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    begins: NDArray[np.int32]
    past: NDArray[np.int32]
    blocks: NDArray[np.int32]
    block_begins: NDArray[np.int32]
    rows: NDArray[np.int32]
    types: NDArray[np.int32] | None = None
    seen: NDArray[np.int32] | None = None


class StepInterruptedError(Exception):
    """A step was ended from outside; nothing of it counts."""


class Forward(Protocol):
    """The model. One call at a time."""

    def __call__(self, batch: StepBatch) -> NDArray[np.float32]:
        """Logits float32 [n, vocabulary]. Raises `EngineError`, and `StepInterruptedError`."""

    def interrupt(self) -> None:
        """End the call that runs in another thread, if one does. A short one may run to its end."""
