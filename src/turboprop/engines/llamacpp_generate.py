"""Generation in llama.cpp: a prompt's ids in, ids out as they are drawn.

The server streams an id with its text, and of ids that end inside a UTF-8 character nothing until the character is
whole: then it sends the last id, all of the text, and how many ids there were. Those between are found again by their
bytes. Where that does not do (log probabilities, penalties that count ids of the answer alone) each id is asked for by
itself: the ids so far are the prompt, all but the last are in the cache, and a call costs 1.1 ms more than the model.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from turboprop.engines.constraint import SPACING, checked_grammar
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import EngineFinish, GeneratedToken, Sampling, TokenRequest
from turboprop.engines.llamacpp_model import (
    PLAIN_SCORES,
    REPLY_SECONDS,
    TOKEN_SECONDS,
    LlamaCppModel,
    head_count,
    metadata_number,
)
from turboprop.engines.llamacpp_server import Answers, RefusedError
from turboprop.errors import EngineError, InputTooLongError, ModelFormatError, UsageError
from turboprop.machine import share_of_free
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.metadata import GGUFMetadata
from turboprop.models.gguf.vocabulary import TokenType, Vocabulary
from turboprop.models.tokenizer.gguf import token_bytes

_WAIT_SECONDS = 3600.0
"""How long a request waits for those before it."""
_BATCH = 256
_FLOATS = ("F32", "F16", "BF16")
_SHORTEST = 512
_SEARCHED = 1024
"""Of so many likeliest ids the server tells the probabilities where that of an unfinished character is looked up."""
_FIELDS = ["tokens", "tokens_predicted", "stop", "timings", "completion_probabilities", "content"]
"""Of an answer what is read: it has the prompt's text beside, and all settings."""


class LlamaCppGenerator(LlamaCppModel):
    """A language model. Requests are answered one after the other, in the order of their coming."""

    constraints: frozenset[Literal["json_schema", "grammar"]] = frozenset(("json_schema", "grammar"))

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        super().__init__(checkpoint, options)
        assert isinstance(checkpoint.config, GGUFMetadata)
        self._tokens = Vocabulary.read(checkpoint.config)
        whole = next((n for n, text in enumerate(self._tokens.tokens) if text.isascii() and text.isalpha()), None)
        if whole is None:
            raise ModelFormatError(f"{self.name}: its vocabulary has no token of plain letters")
        self._whole = whole
        # A float32 cache is equal to the reference; beside quantised weights the float16 one is as good.
        self._exact = all(tensor.kind in _FLOATS for tensor in checkpoint.tensors.values())
        self._plain = 4 * head_count(checkpoint) * _BATCH
        self._context = _context(checkpoint, options, 4 if self._exact else 2)
        self._pieces: dict[bytes, int] = {}
        self._bytes: list[bytes] = []
        self.controls = frozenset(self._tokens.of_type(TokenType.CONTROL, TokenType.UNKNOWN))
        self.asking = 0
        """Streams that have not ended."""
        self.running()

    @property
    def context(self) -> int:
        return self._context

    def start(self, request: TokenRequest) -> LlamaCppStream:
        if not request.ids or not 0 <= min(request.ids) <= max(request.ids) < self.vocabulary:
            raise UsageError(f"a prompt has at least one id, each from 0 to {self.vocabulary - 1}")
        if len(request.ids) >= self._context:
            raise InputTooLongError(
                f"the prompt has {len(request.ids)} tokens and the context of {self.name} is {self._context}; "
                "shorten it, or load the model with a larger context"
            )
        constraint = _constraint(request)
        self.running()
        return LlamaCppStream(self, request, constraint)

    def options(self) -> list[str]:
        cache = "f32" if self._exact else "f16"
        return [
            *("--ctx-size", str(self._context), "--batch-size", str(_BATCH), "--ubatch-size", str(_BATCH)),
            *("--parallel", "1", "--cache-type-k", cache, "--cache-type-v", cache),
            *("--flash-attn", "off" if self._plain * self._context <= PLAIN_SCORES else "auto"),
            # Without it a model with sliding windows reads its prompt again for each request that shares it.
            "--swa-full",
        ]

    def probabilities_after(self, ids: list[int], count: int) -> list[Any]:
        """The `count` likeliest ids after these, with whatever id they would be told of."""
        body = {
            "prompt": ids,
            "n_predict": 1,
            "cache_prompt": True,
            "temperature": 0,
            "n_probs": count,
            "logit_bias": [[self._whole, 1e4]],
        }
        seconds = REPLY_SECONDS + TOKEN_SECONDS * len(ids)
        answer = self.running().ask("/completion", body, seconds, f"generating with {self.name}")
        return answer.get("completion_probabilities") or []

    def ids_of(self, text: bytes, last: int, count: int) -> list[int]:
        """The `count` ids whose bytes stand in `text` before the id `last`; none where they cannot be told."""
        if not self._pieces:
            known = token_bytes(self._tokens)
            # Of two tokens with the same bytes the first is the ordinary one.
            self._pieces = {piece: number for number, piece in reversed(list(enumerate(known))) if piece}
            self._bytes = known
        if not text.endswith(self._bytes[last]):
            return []
        return _split(self._pieces, text.removesuffix(self._bytes[last]), count) or []


def _split(pieces: Mapping[bytes, int], text: bytes, count: int) -> list[int] | None:
    if not count or not text:
        return None if count or text else []
    for end in range(len(text), 0, -1):
        if (number := pieces.get(text[:end])) is not None:
            rest = _split(pieces, text[end:], count - 1)
            if rest is not None:
                return [number, *rest]
    return None


def _constraint(request: TokenRequest) -> dict[str, Any]:
    """What keeps an answer to a schema or a grammar, in the server's words. Raises `UsageError`."""
    # The server leaves an answer free where its own llguidance does not take the schema, so ours looks first.
    if checked_grammar(request) is None:
        return {}
    if request.sampling.presence_penalty or request.sampling.frequency_penalty:
        raise UsageError("llamacpp keeps no schema or grammar beside a presence or frequency penalty; leave one away")
    if request.json_schema is None:
        return {"grammar": request.grammar}
    schema = json.loads(request.json_schema)
    return {"json_schema": {**schema, "x-guidance": SPACING} if isinstance(schema, dict) else schema}


def _biases(sampling: Sampling, drawn: Mapping[int, int]) -> dict[int, float]:
    """What is added to logits: the caller's biases, and the penalties of the ids drawn so far."""
    biases = dict(sampling.bias)
    for token, count in drawn.items():
        penalty = sampling.presence_penalty + sampling.frequency_penalty * count
        biases[token] = biases.get(token, 0.0) - penalty
    return biases


class LlamaCppStream:
    """The ids of one request. Iterate from one thread; `cancel` may come from any."""

    def __init__(self, model: LlamaCppGenerator, request: TokenRequest, constraint: Mapping[str, Any]) -> None:
        self._finish: EngineFinish | None = None
        self._model = model
        self._request = request
        self._constraint = constraint
        sampling = request.sampling
        self._seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        self._penalised = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._alone = not constraint and (self._penalised or request.logprobs is not None)
        self._ids = list(request.ids)
        self._left = min(request.max_tokens, model.context - len(request.ids))
        self._cached: int | None = None
        self._read = 0
        self._ready: deque[GeneratedToken] = deque()
        self._failures = model.running().log.unconstrained
        self._answers = self._asked()

    @property
    def finish(self) -> EngineFinish | None:
        return self._finish

    @property
    def cached_tokens(self) -> int:
        return self._cached or 0

    def __iter__(self) -> Iterator[GeneratedToken]:
        return self

    def __next__(self) -> GeneratedToken:
        while not self._ready:
            if self._finish is not None:
                raise StopIteration
            self._hear()
        return self._ready.popleft()

    def reading(self) -> Iterator[int]:
        told = -1
        while not self._ready and self._finish is None:
            self._hear()
            if self._cached is not None and self._read > told:
                told = self._read
                yield told

    def cancel(self) -> None:
        if self._finish is None:
            self._ready.clear()
            self._end("cancelled")

    def __del__(self) -> None:
        self._end("cancelled")

    def _end(self, finish: EngineFinish) -> None:
        if self._finish is None:
            self._finish = finish
            if hasattr(self, "_answers"):
                self._answers.close()
                self._model.asking -= 1

    def _hear(self) -> None:
        """Take the server's next answer, or the end. Raises `EngineError` or `UsageError`."""
        if self._left <= 0:
            self._end("length")
            return
        try:
            self._take(next(self._answers))
        except StopIteration:  # hung up by `cancel`
            self._end("cancelled")
        except EngineError as error:
            if self._finish is not None:
                return
            self._end("cancelled")
            if self._constraint and isinstance(error, RefusedError):
                raise UsageError(f"llama.cpp cannot keep this schema or grammar: {error}") from None
            raise

    def _asked(self) -> Answers:
        """The request for all ids that are left, or for one."""
        sampling, request = self._request.sampling, self._request
        drawn = Counter(self._ids[len(request.ids) :]) if self._penalised else Counter()
        body = {
            "prompt": self._ids,
            "n_predict": 1 if self._alone else self._left,
            "stream": not self._alone,
            "return_progress": True,
            "cache_prompt": True,
            "return_tokens": True,
            "n_probs": 0 if request.logprobs is None else max(1, request.logprobs),
            "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self._model.context,
            # Its own two count the ids of the prompt as well.
            "logit_bias": [[token, value] for token, value in _biases(sampling, drawn).items()],
            # Each request has a seed of its own; 2^32 - 1 would mean a random one.
            "seed": (self._seed * 1_000_003 + len(self._ids) - len(request.ids)) % 0xFFFF_FFFF,
            "response_fields": _FIELDS,
            **self._constraint,
        }
        self._seen = 0
        first = len(self._ids) == len(request.ids)
        if first:
            self._model.asking += 1
        waits = first and self._model.asking > 1
        seconds = _WAIT_SECONDS if waits else REPLY_SECONDS + TOKEN_SECONDS * len(self._ids)
        return Answers(self._model.running(), "/completion", body, seconds, f"generating with {self._model.name}")

    def _take(self, answer: Mapping[str, Any]) -> None:
        """Make ids of an answer, and go on where the server is done and the request is not."""
        if "prompt_progress" in answer:
            if self._cached is None:
                self._cached = int(answer["prompt_progress"]["cache"])
            self._read = int(answer["prompt_progress"].get("processed", 0))
            self._answers.seconds = REPLY_SECONDS + TOKEN_SECONDS * _BATCH
            return
        if self._cached is None:
            self._cached = int(answer.get("timings", {}).get("cache_n", 0))
        tokens = [int(token) for token in answer["tokens"]]
        count = int(answer["tokens_predicted"])
        if not self._alone and tokens:
            self._answers.seconds = REPLY_SECONDS + TOKEN_SECONDS
            missing = count - self._seen - 1
            if missing > 0:
                tokens = [*self._model.ids_of(answer["content"].encode(), tokens[0], missing), *tokens]
        self._left -= count - self._seen
        self._seen = count
        for token in tokens:
            if token in self._request.stop_ids or (self._constraint and token in self._model.controls):
                self._end("stop")
                return
            if self._constraint and self._model.running().log.unconstrained > self._failures:
                raise EngineError(
                    "this build of llama.cpp cannot keep a JSON schema with this model's vocabulary, and would leave "
                    "the answer free: give a grammar, or name a llama-server with TP_LLAMA_SERVER"
                )
            self._ids.append(token)
            self._ready.append(GeneratedToken(token, *self._probabilities(token, answer)))
        if answer.get("stop") and self._left > 0:  # an end-of-text id that is no stop id, or one id of several
            if self._constraint or not count:
                self._end("stop")
                return
            self._answers.close()
            self._answers = self._asked()

    def _probabilities(
        self, token: int, answer: Mapping[str, Any]
    ) -> tuple[float | None, tuple[tuple[int, float], ...]]:
        """Natural logarithms of the model's own probabilities, before penalties and temperature."""
        wanted = self._request.logprobs
        if wanted is None:
            return None, ()
        told = answer.get("completion_probabilities") or []
        if not told and self._alone:  # an unfinished character: ask again, for a whole one in its place
            told = self._model.probabilities_after(self._ids[:-1], max(_SEARCHED, wanted))
        if not told or (not self._alone and told[0]["id"] != token):
            return None, ()
        top = [(int(entry["id"]), float(entry["logprob"])) for entry in told[0]["top_logprobs"]]
        known = {**dict(top), int(told[0]["id"]): float(told[0]["logprob"])}
        return known.get(token), tuple(top[:wanted])


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
