"""Embedding models in llama.cpp: ids in, pooled vectors out."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions
from turboprop.engines.llamacpp_model import PLAIN_SCORES, REPLY_SECONDS, TOKEN_SECONDS, LlamaCppModel, head_count
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.types import TokenBatch

_FIRST_CAPACITY = 512
"""Tokens that a server is started for; longer inputs start it anew with twice as many, as often as it takes.
An encoder's buffers grow with the square of it: 0.8 GB of attention scores at 4,096 tokens and 12 heads."""
_AT_ONCE = 16
"""Inputs of one request: fewer leave a pause between two, more are longer without a sign of life."""


class LlamaCppEncoder(LlamaCppModel):
    """One input at a time; it uses `threads` threads inside."""

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        super().__init__(checkpoint, options)
        self._pooling = checkpoint.pooling[0]
        self._most = checkpoint.max_tokens
        self._heads = head_count(checkpoint)
        self._capacity = min(_FIRST_CAPACITY, self._most)
        # One token run: it tells the width, and that the model runs at all.
        self._dimensions = 0
        self._dimensions = len(self._run([[0]])[0])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if batch.skip:
            raise ModelUnsupportedError(f"llama.cpp pools every token, and {self.name} leaves its prompt out")
        if len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < self.vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {self.vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        vectors = np.zeros((len(batch.lengths), self._dimensions), np.float32)
        parts = np.split(np.asarray(batch.ids, np.int32), np.cumsum(batch.lengths)[:-1])
        chosen = [index for index, ids in enumerate(parts) if len(ids)]  # an empty input has nothing to pool
        for begin in range(0, len(chosen), _AT_ONCE):
            some = chosen[begin : begin + _AT_ONCE]
            vectors[some] = self._run([parts[index].tolist() for index in some])
        return vectors

    def options(self) -> list[str]:
        # A state that is read at its last token can be reached in several batches, the others cannot.
        batch = min(_FIRST_CAPACITY, self._capacity) if self._pooling == "last" else self._capacity
        plain = 4 * self._heads * self._capacity * batch <= PLAIN_SCORES
        return [
            *("--embeddings", "--pooling", self._pooling, "--parallel", "1"),
            *("--ctx-size", str(self._capacity), "--batch-size", str(batch), "--ubatch-size", str(batch)),
            # The default float16 cache is 2e-3 away from the reference; float32 is equal to it.
            *("--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off" if plain else "auto"),
        ]

    def _run(self, inputs: list[list[int]]) -> NDArray[np.float32]:
        longest, tokens = max(map(len, inputs)), sum(map(len, inputs))
        with self._lock:
            self._make_room(longest)
            server = self.running()
        answer = server.ask(
            "/v1/embeddings",
            {"input": inputs, "encoding_format": "base64", "embd_normalize": -1},
            REPLY_SECONDS + TOKEN_SECONDS * tokens,
            f"embedding {tokens} tokens with {self.name}",
        )
        rows = sorted(answer.get("data", ()), key=lambda row: row["index"])
        found = [np.frombuffer(base64.b64decode(row["embedding"]), np.float32) for row in rows]
        width = self._dimensions or (len(found[0]) if found else 0)
        if [len(row) for row in found] != [width] * len(inputs):
            raise EngineError(f"llama.cpp gave {len(found)} vectors of another width for {self.name}")
        return np.stack(found)

    def _make_room(self, tokens: int) -> None:
        """Let the next server take inputs of `tokens` tokens."""
        if tokens > self._most:
            raise EngineError(f"{self.name} takes {self._most} tokens, not {tokens}")
        if tokens > self._capacity and self._server is not None:
            self._server.close()
        while tokens > self._capacity:
            self._capacity = min(2 * self._capacity, self._most)
