"""Generation in llama.cpp: a language model in a worker process, ids in and ids out.

The worker runs the package `xllamacpp`, or a `llama-server` of the user's own (`EngineOptions.programs`).
Requests are answered one after the other, in the order of their coming; one that waits costs nothing.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal

import numpy as np

from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import (
    EngineFinish,
    GeneratedToken,
    TokenRequest,
)
from turboprop.engines.llamacpp_encoder import (
    LOAD_RATE,
    LOAD_SECONDS,
    MODULE,
    PLAIN_SCORES,
    REPLY_SECONDS,
    TOKEN_SECONDS,
    head_count,
    memory_limit,
    metadata_number,
)
from turboprop.engines.worker import Conversation, Worker
from turboprop.errors import EngineError, InputTooLongError, ModelFormatError, UsageError
from turboprop.machine import share_of_free, usable_cores
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.metadata import GGUFMetadata

_WAIT_SECONDS = 3600.0
"""How long a request waits for those before it."""
_BATCH = 256
_FLOATS = ("F32", "F16", "BF16")
_SHORTEST = 512


class LlamaCppGenerator:
    """A worker with a language model in it. A worker that died is started again by the next request."""

    constraints: frozenset[Literal["json_schema", "grammar"]] = frozenset()

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._name = checkpoint.name
        self._size = sum(path.stat().st_size for path in checkpoint.weight_files)
        self._memory = memory_limit(checkpoint, self._size, options.memory)
        assert isinstance(checkpoint.config, GGUFMetadata)
        tokens = checkpoint.config.strings("tokenizer.ggml.tokens")
        self._vocabulary = len(tokens)
        whole = next((number for number, text in enumerate(tokens) if text.isascii() and text.isalpha()), None)
        if whole is None:
            raise ModelFormatError(f"{self._name}: its vocabulary has no token of plain letters")
        self._whole = whole
        # A float32 cache is equal to the reference; beside quantised weights the float16 one is as good.
        exact = all(tensor.kind in _FLOATS for tensor in checkpoint.tensors.values())
        self._context = _context(checkpoint, options, 4 if exact else 2)
        self._load = {
            "path": str(checkpoint.weight_files[0].absolute()),
            "purpose": "generate",
            "context": self._context,
            "batch": _BATCH,
            "exact": exact,
            "threads": options.threads or usable_cores(),
            "server": None if (program := options.programs.get("llamacpp")) is None else str(program),
            "flash_attention": 4 * head_count(checkpoint) * _BATCH * self._context > PLAIN_SCORES,
        }
        self._lock = threading.Lock()
        self._closed = False
        self._worker: Worker | None = None
        self._running()

    @property
    def context(self) -> int:
        return self._context

    @property
    def worker_pid(self) -> int | None:
        """The worker's process, None where none runs."""
        return None if self._worker is None else self._worker.pid

    def start(self, request: TokenRequest) -> LlamaCppStream:
        if request.json_schema is not None or request.grammar is not None:
            raise UsageError("the engine llamacpp keeps no json_schema and no grammar; take another engine")
        if not request.ids or not 0 <= min(request.ids) <= max(request.ids) < self._vocabulary:
            raise UsageError(f"a prompt has at least one id, each from 0 to {self._vocabulary - 1}")
        if len(request.ids) >= self._context:
            raise InputTooLongError(
                f"the prompt has {len(request.ids)} tokens and the context of {self._name} is {self._context}; "
                "shorten it, or load the model with a larger context"
            )
        sampling = asdict(request.sampling)
        if sampling["seed"] is None:
            sampling["seed"] = secrets.randbits(31)
        header = {
            "type": "generate",
            "max_tokens": request.max_tokens,
            "stop_ids": sorted(request.stop_ids),
            "context": self._context,
            "logprobs": request.logprobs,
            "whole_id": self._whole,
            **sampling,
        }
        ids = np.array(request.ids, np.int32).tobytes()
        conversation = self._running().ask(header, ids, seconds=REPLY_SECONDS)
        return LlamaCppStream(conversation, self._name, len(request.ids))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _running(self) -> Worker:
        with self._lock:
            if self._closed:
                raise EngineError("this model is closed; load it again")
            if self._worker is not None and not self._worker.alive:
                self._worker.close()
                self._worker = None
            if self._worker is None:
                seconds = LOAD_SECONDS + self._size / LOAD_RATE
                self._worker = Worker(MODULE, self._load, memory=self._memory, load_seconds=seconds)
            return self._worker


class LlamaCppStream:
    """The ids of one request. Iterate from one thread; `cancel` may come from any."""

    def __init__(self, conversation: Conversation, name: str, prompt: int) -> None:
        self._conversation = conversation
        self._name = name
        self._prompt = prompt
        self._finish: EngineFinish | None = None
        self._cached = 0
        self._started = False
        self._first = True

    @property
    def finish(self) -> EngineFinish | None:
        return self._finish

    @property
    def cached_tokens(self) -> int:
        return self._cached

    def __iter__(self) -> Iterator[GeneratedToken]:
        return self

    def __next__(self) -> GeneratedToken:
        if self._finish is not None:
            raise StopIteration
        try:
            if not self._started:
                self._conversation.receive(_WAIT_SECONDS, f"waiting for {self._name}")
                self._started = True
            seconds = REPLY_SECONDS + TOKEN_SECONDS * (self._prompt if self._first else 1)
            frame = self._conversation.receive(seconds, f"generating with {self._name}")
        except EngineError:
            if self._finish is not None:  # cancelled while we waited
                raise StopIteration from None
            self._finish = "cancelled"
            self._conversation.close()
            raise
        if self._finish is not None:
            raise StopIteration
        if frame.kind != "token":
            finish = frame.header.get("finish")
            self._finish = finish if finish in ("stop", "length") else "cancelled"
            self._conversation.close()
            raise StopIteration
        if self._first:
            self._first = False
            self._cached = int(frame.header.get("cached") or 0)
        top = tuple((int(token), float(value)) for token, value in frame.header.get("top") or ())
        return GeneratedToken(int(frame.header["token"]), frame.header.get("logprob"), top)

    def cancel(self) -> None:
        if self._finish is None:
            self._finish = "cancelled"
            self._conversation.close()
            self._conversation.wake()

    def __del__(self) -> None:
        if self._finish is None:
            self._finish = "cancelled"
            self._conversation.close()


def _context(checkpoint: Checkpoint, options: EngineOptions, width: int) -> int:
    """Tokens of context: as asked for, else what the model states, as far as its cache takes at most half of what
    the file leaves of the memory. `width` is in bytes a value."""
    stated = checkpoint.max_tokens
    if options.context is not None:
        if not 1 < options.context <= stated:
            raise UsageError(f"the context of {checkpoint.name} is 2 to {stated} tokens, not {options.context}")
        return options.context
    budget = share_of_free() if options.memory is None else options.memory
    if budget is None:
        return stated
    heads = head_count(checkpoint)
    kept = metadata_number(checkpoint, "attention.head_count_kv", heads)
    size = metadata_number(checkpoint, "embedding_length", 0) // heads
    row = metadata_number(checkpoint, "attention.key_length", size) + metadata_number(
        checkpoint, "attention.value_length", size
    )
    a_token = max(1, metadata_number(checkpoint, "block_count", 1) * kept * row * width)
    room = max(0, budget - sum(path.stat().st_size for path in checkpoint.weight_files)) // 2
    return min(stated, max(_SHORTEST, room // a_token // _BATCH * _BATCH))
