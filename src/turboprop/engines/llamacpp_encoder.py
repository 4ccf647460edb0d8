"""Embedding models in llama.cpp, and what its language models share with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions
from turboprop.engines.worker import Worker
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.machine import share_of_free, usable_cores
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.metadata import GGUFArray, GGUFMetadata
from turboprop.types import TokenBatch

MODULE = "turboprop.engines.llamacpp_worker"
_FIRST_CAPACITY = 512
"""Tokens that a worker is started for; longer inputs start it anew with twice as many, as often as it takes.
An encoder's buffers grow with the square of it: 0.8 GB of attention scores at 4,096 tokens and 12 heads."""
PLAIN_SCORES = 1 << 29
"""Above so many bytes of attention scores, flash attention is allowed: it keeps none, and rounds more."""
LOAD_SECONDS = 120.0
LOAD_RATE = 50e6  # bytes a second of a slow disk
REPLY_SECONDS = 60.0
TOKEN_SECONDS = 0.5  # a 7B model on one slow core


class LlamaCppEncoder:
    """A worker with the model in it. One input at a time; it uses `threads` threads inside."""

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._path = str(checkpoint.weight_files[0].absolute())
        self._name = checkpoint.name
        self._pooling = checkpoint.pooling[0]
        self._most = checkpoint.max_tokens
        self._vocabulary = _vocabulary(checkpoint)
        self._heads = head_count(checkpoint)
        self._threads = options.threads or usable_cores()
        self._size = sum(path.stat().st_size for path in checkpoint.weight_files)
        self._memory = memory_limit(checkpoint, self._size, options.memory)
        self._capacity = min(_FIRST_CAPACITY, self._most)
        self._worker: Worker | None = None
        self._closed = False
        # One token run: it tells the width, and that the model runs at all.
        self._dimensions = 0
        self._dimensions = len(self._run([np.array([0], np.int32)])[0])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def worker_pid(self) -> int | None:
        """The worker's process, None where none runs."""
        return None if self._worker is None else self._worker.pid

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._closed:
            raise EngineError("this model is closed; load it again")
        if batch.skip:
            raise ModelUnsupportedError(f"llama.cpp pools every token, and {self._name} leaves its prompt out")
        if len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < self._vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {self._vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        vectors = np.zeros((len(batch.lengths), self._dimensions), np.float32)
        parts = np.split(np.asarray(batch.ids, np.int32), np.cumsum(batch.lengths)[:-1])
        chosen = [index for index, ids in enumerate(parts) if len(ids)]  # an empty input has nothing to pool
        if chosen:
            vectors[chosen] = self._run([parts[index] for index in chosen])
        return vectors

    def close(self) -> None:
        self._closed = True
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _run(self, inputs: list[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
        worker = self._running(max(map(len, inputs)))
        lengths = [len(ids) for ids in inputs]
        vectors = []
        with worker.ask(
            {"type": "embed", "lengths": lengths}, np.concatenate(inputs).tobytes(), seconds=REPLY_SECONDS
        ) as conversation:
            for length in lengths:
                seconds = REPLY_SECONDS + TOKEN_SECONDS * length
                answer = conversation.receive(seconds, f"embedding {length} tokens with {self._name}")
                if len(answer.payload) % 4 or (self._dimensions and len(answer.payload) != 4 * self._dimensions):
                    raise EngineError(f"llama.cpp gave a vector of {len(answer.payload)} bytes for {self._name}")
                vectors.append(np.frombuffer(answer.payload, np.float32))
            conversation.receive(REPLY_SECONDS, "ending a request")
        return vectors

    def _running(self, tokens: int) -> Worker:
        """A live worker that takes inputs of `tokens` tokens."""
        if tokens > self._most:
            raise EngineError(f"{self._name} takes {self._most} tokens, not {tokens}")
        if self._worker is not None and (tokens > self._capacity or not self._worker.alive):
            self._worker.close()
            self._worker = None
        while tokens > self._capacity:
            self._capacity = min(2 * self._capacity, self._most)
        if self._worker is None:
            # A state that is read at its last token can be reached in several batches, the others cannot.
            batch = min(_FIRST_CAPACITY, self._capacity) if self._pooling == "last" else self._capacity
            scores = 4 * self._heads * self._capacity * batch
            load = {
                "path": self._path,
                "purpose": "embed",
                "pooling": self._pooling,
                "exact": True,
                "context": self._capacity,
                "batch": batch,
                "threads": self._threads,
                "flash_attention": scores > PLAIN_SCORES,
            }
            seconds = LOAD_SECONDS + self._size / LOAD_RATE
            self._worker = Worker(MODULE, load, memory=self._memory, load_seconds=seconds)
        return self._worker


def metadata_number(checkpoint: Checkpoint, key: str, default: int) -> int:
    """`<family>.<key>`, or the largest of its values where it has one for each layer."""
    value = checkpoint.config.get(f"{checkpoint.family}.{key}", default)
    if isinstance(value, GGUFArray):  # by layer
        return max((int(part) for part in value.numpy()), default=0)
    return value if isinstance(value, int) else 0


def _vocabulary(checkpoint: Checkpoint) -> int:
    assert isinstance(checkpoint.config, GGUFMetadata)
    return len(checkpoint.config.array("tokenizer.ggml.tokens"))


def head_count(checkpoint: Checkpoint) -> int:
    """Attention heads, at least 1."""
    return max(1, metadata_number(checkpoint, "attention.head_count", 1))


def memory_limit(checkpoint: Checkpoint, size: int, memory: int | None) -> int | None:
    """Bytes that the worker may take, the mapped file included. Raises `EngineError` for too small a budget."""
    if memory is not None and memory < size:
        raise EngineError(
            f"{checkpoint.name} takes {size / 1e9:.1f} GB and the budget is {memory / 1e9:.1f} GB: "
            "allow more with `--memory`, or take a smaller model"
        )
    if memory is not None:
        return memory
    share = share_of_free()
    return None if share is None else max(share, size) + size
