"""What an engine offers, on one screen. It knows no text, no prompts and no files of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.models.hub_progress import DownloadProgress
    from turboprop.types import TokenBatch

WeightFormat = Literal["auto", "float32", "int8", "int4", "stored"]
"""`stored`: weights of four bits (in the engine native of four to six) as a GGUF file has them, others int8; of
language models, and of embedding models in the engine native."""


PAD_TO = 16
"""OpenVINO keeps kernels and buffers for each shape that it has met: with any length allowed, resident memory
grew by 9 MB in 45,000 tokens (20 MB of code: 444 to 913 MB); with lengths in steps of 16 by 1 MB, 10% faster."""


def padded(length: int) -> int:
    """The length that an input of `length` tokens is padded to in a batch."""
    return -(-length // PAD_TO) * PAD_TO


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to load a model. `threads` None means the usable physical cores."""

    weights: WeightFormat = "auto"
    threads: int | None = None
    cache_home: Path | None = None
    """Where converted graphs are kept; None keeps nothing."""
    memory: int | None = None
    """Bytes that a conversion may take; None means three quarters of what is free."""
    progress: DownloadProgress | None = None
    """Told of a conversion as of a download."""


class Encoder(Protocol):
    """A loaded embedding model."""

    @property
    def dimensions(self) -> int:
        """Width of what `encode` returns: the hidden width times the number of poolings."""

    @property
    def weights(self) -> str:
        """The weight format in use: float32, int8, int4 or stored."""

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Pooled vectors, float32 [n, dimensions], neither cut nor normalised."""

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
