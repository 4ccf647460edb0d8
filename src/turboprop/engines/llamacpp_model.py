"""What embedding and language models in llama.cpp share: their server, its limits, and its tokenizer."""

from __future__ import annotations

import logging
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from turboprop.engines.contract import EngineOptions
from turboprop.engines.llamacpp_server import LlamaServer, said_by
from turboprop.errors import EngineError
from turboprop.machine import share_of_free, usable_cores
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.metadata import GGUFArray, GGUFMetadata
from turboprop.models.gguf.vocabulary import TokenType, Vocabulary
from turboprop.models.tokenizer.gguf import token_bytes, unknown_rule

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_log = logging.getLogger("turboprop")
_OFFLOADED = re.compile(r"offloaded ([1-9]\d*)/(\d+) layers to GPU")
PLAIN_SCORES = 1 << 29
"""Above so many bytes of attention scores, flash attention is allowed: it keeps none, and rounds more."""
LOAD_SECONDS = 120.0
LOAD_RATE = 50e6  # bytes a second of a slow disk
REPLY_SECONDS = 60.0
TOKEN_SECONDS = 0.5  # a 7B model on one slow core


class LlamaCppModel(ABC):
    """A server with the model in it; one that died is started again by the next request."""

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self.name = checkpoint.name
        self._path = str(checkpoint.weight_files[0].absolute())
        self._size = sum(path.stat().st_size for path in checkpoint.weight_files)
        self._memory = _memory_limit(checkpoint, self._size, options.memory)
        self._threads = str(options.threads or usable_cores())
        self._layers = options.gpu_layers
        self._program = options.programs.get("llamacpp")
        self._gpu = self._program is None or "MiB" in said_by(self._program, "--list-devices")
        self._lock = threading.RLock()
        self._closed = False
        self._server: LlamaServer | None = None
        assert isinstance(checkpoint.config, GGUFMetadata)
        self.vocabulary = len(checkpoint.config.array("tokenizer.ggml.tokens"))
        self.tokenizer: Tokenizer | None = None
        """llama.cpp's own, where the file's rules are not known here."""
        if unknown_rule(checkpoint.config) is not None:
            self.tokenizer = cast("Tokenizer", ServerTokenizer(self, checkpoint))

    @property
    def worker_pid(self) -> int | None:
        """The server's process, None where none runs."""
        return None if self._server is None else self._server.pid

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.close()
                self._server = None

    def running(self) -> LlamaServer:
        """A live server."""
        with self._lock:
            if self._closed:
                raise EngineError("this model is closed; load it again")
            if self._server is None or not self._server.alive:
                self._start()
            assert self._server is not None
            return self._server

    @abstractmethod
    def options(self) -> list[str]:
        """What its server is told of the purpose."""

    def _start(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = LlamaServer(
            [
                *("--model", self._path, "--threads", self._threads, "--threads-batch", self._threads),
                # A template of the file would be run while it loads.
                *("--no-jinja", "--chat-template", "chatml"),
                # Prompts of the past would be kept beside the budget.
                *("--cache-ram", "0", "--no-webui", "--no-slots", "--no-warmup", "--offline"),
                *(("--gpu-layers", str(self._layers)) if self._layers != "auto" else ()),
                *(("--fit", "on") if self._layers == "auto" and self._gpu else ()),
                *self.options(),
            ],
            self._program,
            # A GPU's driver reserves more addresses than there is memory.
            memory=None if self._gpu and self._program else self._memory,
            load_seconds=LOAD_SECONDS + self._size / LOAD_RATE,
        )
        taken = _OFFLOADED.findall("\n".join(self._server.log))
        if taken:
            _log.info("%s: %s of %s layers run on the GPU", self.name, *taken[-1])
        elif self._layers not in ("auto", 0):
            _log.warning(
                "%s: llama.cpp finds no GPU for the %s layers and runs on the processor", self.name, self._layers
            )


@dataclass(frozen=True, slots=True)
class _Encoding:
    ids: list[int]
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class _Added:
    content: str
    special: bool


class ServerTokenizer:
    """llama.cpp's tokenizer of a model, with those methods of `tokenizers.Tokenizer` that are used of it."""

    normalizer = pre_tokenizer = model = None

    def __init__(self, model: LlamaCppModel, checkpoint: Checkpoint) -> None:
        assert isinstance(checkpoint.config, GGUFMetadata)
        self._model = model
        self._vocabulary = Vocabulary.read(checkpoint.config)
        self._bytes = token_bytes(self._vocabulary)
        self._end = self._vocabulary.ids.get(checkpoint.end_token)
        self.encode_special_tokens = False

    def encode(self, text: str, add_special_tokens: bool = True) -> _Encoding:
        body = {"content": text, "add_special": add_special_tokens, "parse_special": not self.encode_special_tokens}
        doing = f"tokenizing for {self._model.name}"
        ids = [int(each) for each in self._model.running().ask("/tokenize", body, REPLY_SECONDS, doing)["tokens"]]
        if add_special_tokens and self._end is not None and ids[-1:] != [self._end]:
            ids.append(self._end)
        return _Encoding(ids, [self._vocabulary.tokens[number] for number in ids])

    def encode_batch_fast(self, texts: Iterable[str], add_special_tokens: bool = True) -> list[_Encoding]:
        return [self.encode(text, add_special_tokens) for text in texts]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG002  all are shown
        return b"".join(self._bytes[number] for number in ids).decode("utf-8", "replace")

    def get_vocab_size(self) -> int:
        return len(self._vocabulary.tokens)

    def id_to_token(self, number: int) -> str | None:
        return self._vocabulary.tokens[number] if 0 <= number < len(self._vocabulary.tokens) else None

    def token_to_id(self, token: str) -> int | None:
        return self._vocabulary.ids.get(token)

    def get_added_tokens_decoder(self) -> dict[int, _Added]:
        kinds = {TokenType.CONTROL: True, TokenType.UNKNOWN: True, TokenType.USER_DEFINED: False}
        return {
            number: _Added(self._vocabulary.tokens[number], special)
            for kind, special in kinds.items()
            for number in self._vocabulary.of_type(kind)
        }


def metadata_number(checkpoint: Checkpoint, key: str, default: int) -> int:
    """`<family>.<key>`, or the largest of its values where it has one for each layer."""
    value = checkpoint.config.get(f"{checkpoint.family}.{key}", default)
    if isinstance(value, GGUFArray):  # by layer
        return max((int(part) for part in value.numpy()), default=0)
    return value if isinstance(value, int) else 0


def head_count(checkpoint: Checkpoint) -> int:
    """Attention heads, at least 1."""
    return max(1, metadata_number(checkpoint, "attention.head_count", 1))


def _memory_limit(checkpoint: Checkpoint, size: int, memory: int | None) -> int | None:
    """Bytes that the child may take, the mapped file included. Raises `EngineError` for too small a budget."""
    if memory is not None and memory < size:
        raise EngineError(
            f"{checkpoint.name} takes {size / 1e9:.1f} GB and the budget is {memory / 1e9:.1f} GB: "
            "allow more with `--memory`, or take a smaller model"
        )
    if memory is not None:
        return memory
    share = share_of_free()
    return None if share is None else max(share, size) + size
