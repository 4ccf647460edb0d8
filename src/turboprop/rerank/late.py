"""Scores of a late-interaction model: MaxSim over token vectors, which are kept for each document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.embed.cache import FILE, EmbeddingCache, cache_key
from turboprop.engines.native.maxsim import Bits, MaxSim, TokenVectors, packed, token_bytes

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel

BITS: Bits = 8
"""Bits of a component that is kept. A chunk of 300 tokens of 128 dimensions takes 40,800 bytes in 8 bits and 21,600 in
4. They put 0.07% and 0.9% of the pairs of chunks in another order than float32 with all-MiniLM-L6-v2's own token
vectors, 0.5% and 7% with random ones (`benchmarks/maxsim.py`)."""


class LateScorer:
    """Scores documents with an `EmbeddingModel` that has token vectors; those of documents are kept for all indexes."""

    def __init__(self, model: EmbeddingModel, bits: Bits = BITS) -> None:
        self.model = model
        self._bits: Bits = bits
        settings = model.settings
        self._cache = EmbeddingCache(settings.cache_home / FILE, settings.embedding_cache)
        self._space = f"{model.fingerprint} {model.engine} {model.weights} tokens{bits}"

    def scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """float32 [n]: the mean over the query's tokens of the largest cosine to a token of the document."""
        (asked,) = self.model.embed_tokens([query], "query")
        maxsim = MaxSim(asked)
        found = [maxsim.score(each) for each in self._vectors(documents)]
        return np.asarray(found, np.float32) / np.float32(max(1, len(asked)))

    def close(self) -> None:
        """Let go of the cache; the model is closed by whoever opened its encoder."""
        self._cache.close()

    def _vectors(self, documents: Sequence[str]) -> list[TokenVectors]:
        width = self.model.dimensions
        keys = [cache_key(self._space, "document", text) for text in documents]
        known = self._cache.get_bytes(keys, token_bytes(width, self._bits))
        missing = {key: text for key, text in zip(keys, documents, strict=True) if key not in known}
        fresh = self.model.embed_tokens(list(missing.values()))
        made = {key: packed(vectors, self._bits) for key, vectors in zip(missing, fresh, strict=True)}
        self._cache.put_bytes({key: vectors.to_bytes() for key, vectors in made.items() if len(vectors)})
        made |= {key: TokenVectors.from_bytes(data, width, self._bits) for key, data in known.items()}
        return [made[key] for key in keys]
