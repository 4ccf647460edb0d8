"""The worker process of the llama.cpp engine: `python -m turboprop.engines.llamacpp_worker FOLDER [MEMORY]`.

It speaks worker_frames.py on its standard streams. `load` has `path`, `purpose` ("embed" or "generate"),
`pooling` (for embed), `context` and `batch` in tokens, `threads`, `exact` and `flash_attention`, and where a binary
of the user's own is to run the model (llama_server.py) its path as `server`. Requests are then

    embed      `lengths`, payload int32 ids    ->  `vector` for each input, payload float32 [width]; `done`
    generate   see llamacpp_steps.py           ->  `started`, `token` ...; `done`
    cancel     `request`

`xllamacpp` is a server inside: it always opens a listener, which gets a Unix socket in FOLDER and a random key,
and goes with FOLDER as soon as the model is loaded; we call its handlers directly.
"""

from __future__ import annotations

import base64
import os
import queue
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from turboprop.engines.llama_server import ServerDiedError, ServerRuntime
from turboprop.engines.llamacpp_steps import generate
from turboprop.engines.worker_frames import Frame, read_frame, write_frame
from turboprop.engines.worker_guard import limit_memory, own_streams, start_guard

_LOG_SECONDS = 0.3
"""llama.cpp writes its log in a thread of its own, which the end of the process cuts off: on a busy machine the reason
of a failure was lost."""


class Answers:
    """The way back; frames of several threads do not mix."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        with self._lock:
            write_frame(self._stream, Frame(header, payload))


class RequestError(Exception):
    """A request that the runtime refused; the message goes to the parent."""


def server(load: Mapping[str, Any], folder: Path) -> Any:
    """Load the model in xllamacpp, or in the server named. Raises what it raises, and dies as it dies."""
    if load.get("server"):
        return ServerRuntime(load, folder)
    import xllamacpp

    os.chdir(folder)  # a socket's whole path has at most 107 bytes
    params = xllamacpp.CommonParams()
    params.model.path = load["path"]
    params.hostnames, params.port = ["s.sock"], 0
    params.api_keys = [secrets.token_hex(32)]
    params.endpoint_slots = params.endpoint_props = params.ui = False
    params.n_threads_http = 1
    params.offline = True
    # A template of the file would be run while it loads.
    params.chat_template, params.enable_chat_template = "{{ messages[0].content }}", False
    params.n_gpu_layers = 0
    params.fit_params = params.warmup = params.ctx_shift = False
    params.n_parallel = 1
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = load["threads"]
    kinds = xllamacpp.llama_flash_attn_type
    params.flash_attn_type = getattr(
        kinds, "LLAMA_FLASH_ATTN_TYPE_" + ("AUTO" if load["flash_attention"] else "DISABLED")
    )
    # The default float16 cache is 2e-3 away from the reference; float32 is equal to it.
    kinds = xllamacpp.ggml_type
    params.cache_type_k = params.cache_type_v = kinds.GGML_TYPE_F32 if load["exact"] else kinds.GGML_TYPE_F16
    params.n_ctx = load["context"]
    params.n_batch = params.n_ubatch = load["batch"]
    if load["purpose"] == "embed":
        params.embedding = True
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{load['pooling'].upper()}")
    else:
        params.verbosity = 10  # from here on an answer tells the ids that were drawn
    return xllamacpp.Server(params)


def embed(runtime: Any, ids: np.ndarray[Any, np.dtype[np.int32]]) -> bytes:
    """The pooled vector of one input, float32, neither cut nor normalised."""
    answer = runtime.handle_embeddings({"input": [ids.tolist()], "encoding_format": "base64", "embd_normalize": -1})
    if "data" not in answer:
        raise RequestError(f"llama.cpp refused the input: {answer.get('error', answer)}")
    return base64.b64decode(answer["data"][0]["embedding"])


def _inputs(frame: Frame) -> Iterator[np.ndarray[Any, np.dtype[np.int32]]]:
    ids = np.frombuffer(frame.payload, np.int32)
    start = 0
    for length in frame.header["lengths"]:
        yield ids[start : start + length]
        start += length


class Requests:
    """Requests one after the other: the model has one slot."""

    def __init__(self, runtime: Any, answers: Answers) -> None:
        self._runtime = runtime
        self._answers = answers
        self._waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._open: set[int] = set()
        """Requests that have not had their last answer; one that was cancelled leaves at once."""

    def add(self, frame: Frame) -> None:
        self._open.add(frame.header["id"])
        self._waiting.put(frame)

    def cancel(self, number: int) -> None:
        self._open.discard(number)

    def serve(self) -> None:
        while True:
            frame = self._waiting.get()
            number = frame.header["id"]
            try:
                self._answer(frame, number)
            except ServerDiedError as error:
                sys.stderr.write(f"error: {error}\n")
                sys.stderr.flush()
                os._exit(1)  # the next request starts another worker, and that another server
            except Exception as error:
                self._answers.send({"type": "error", "id": number, "message": str(error) or repr(error)})
            self._open.discard(number)

    def _answer(self, frame: Frame, number: int) -> None:
        if frame.kind == "embed":
            for ids in _inputs(frame):
                if number not in self._open:
                    break
                self._answers.send({"type": "vector", "id": number}, embed(self._runtime, ids))
            self._answers.send({"type": "done", "id": number})
        elif frame.kind == "generate":
            self._answers.send({"type": "started", "id": number})
            prompt = np.frombuffer(frame.payload, np.int32).tolist()
            for answer in generate(self._runtime, frame.header, prompt, lambda: number not in self._open):
                self._answers.send({**answer, "id": number})
        else:
            raise RequestError(f"there is no request {frame.kind!r}")


def main() -> None:
    """Serve until the parent closes the pipe."""
    folder = Path(sys.argv[1])
    requests_stream, answers_stream = own_streams()
    start_guard(requests_stream, folder)
    limit_memory(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    answers = Answers(answers_stream)
    first = read_frame(requests_stream)
    if first is None:
        return
    try:
        runtime = server(first.header, folder)
    except Exception as error:
        answers.send({"type": "error", "id": 0, "message": f"llama.cpp cannot load the model: {error}"})
        time.sleep(_LOG_SECONDS)
        return
    finally:
        if not first.header.get("server"):  # a server's socket is needed as long as it runs
            shutil.rmtree(folder, ignore_errors=True)
    answers.send({"type": "ready", "id": 0})
    requests = Requests(runtime, answers)
    threading.Thread(target=requests.serve, daemon=True).start()
    while (frame := read_frame(requests_stream)) is not None:
        if frame.kind == "cancel":
            requests.cancel(frame.header["request"])
        else:
            requests.add(frame)


if __name__ == "__main__":
    main()
    # Destructors of the runtime wait for what runs; nothing of it is worth waiting for.
    os._exit(0)
