"""The child process of the llama.cpp engine: a llama-server, or the one inside of the package `xllamacpp`.

`python -P -m turboprop.engines.llamacpp_child FOLDER MEMORY PROGRAM OPTION...`: the options are llama-server's. With a
PROGRAM this process becomes it; without one it sets the same options in `xllamacpp`, whose server listens as that does.
It takes at most MEMORY bytes (empty: any number), writes no core file, and ends with the process at the other end of its
standard input.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ADDRESSES_BESIDE = 1 << 30
"""Address space that the interpreter, stacks and allocator reserve and do not use: 390 MB seen with a model of
0.2 MB and 12 threads."""
_LOG_SECONDS = 0.3
"""llama.cpp writes its log in a thread of its own, which the end of the process cuts off: on a busy machine the reason
of a failure was lost."""
_CHOICES = {
    "--pooling": ("llama_pooling_type", "LLAMA_POOLING_TYPE_"),
    "--flash-attn": ("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_"),
    "--cache-type-k": ("ggml_type", "GGML_TYPE_"),
    "--cache-type-v": ("ggml_type", "GGML_TYPE_"),
}
_NAMES = {
    "--pooling": "pooling_type",
    "--flash-attn": "flash_attn_type",
    "--cache-type-k": "cache_type_k",
    "--cache-type-v": "cache_type_v",
    "--ctx-size": "n_ctx",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--parallel": "n_parallel",
    "--cache-ram": "cache_ram_mib",
    "--threads-http": "n_threads_http",
}
_SWITCHES = {
    "--embeddings": "embedding",
    "--swa-full": "swa_full",
    "--kv-unified": "kv_unified",
    "--offline": "offline",
}
_OFF = {"--no-warmup": "warmup", "--no-webui": "ui", "--no-slots": "endpoint_slots", "--no-jinja": "use_jinja"}


def end_with_parent(folder: Path) -> None:
    """Start the guard: a fork that waits for the end of our standard input, kills us and deletes `folder`.

    A native library can hold the interpreter's lock for ever, so no thread of this process could be trusted with it.
    """
    if not hasattr(os, "fork"):
        return
    server = os.getpid()
    if os.fork():
        return
    with Path(os.devnull).open("r+b") as nothing:  # the log ends with the server, not with us
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    while os.read(0, 4096):
        pass
    if os.getppid() == server:
        os.kill(server, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def limit_memory(limit: int | None) -> None:
    """Let this process take at most `limit` bytes, files that are mapped included, and write no core file."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit is not None:
        total = limit + ADDRESSES_BESIDE
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            total = min(total, hard)
        resource.setrlimit(resource.RLIMIT_AS, (total, hard))


def parameters(options: Sequence[str]) -> Any:
    """llama-server's options as `xllamacpp.CommonParams`. Raises `ValueError` for one that has no field here."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.port = 0
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.fit_params = params.ctx_shift = params.endpoint_props = False
    given = iter(options)
    for option in given:
        if option in _SWITCHES:
            setattr(params, _SWITCHES[option], True)
        elif option in _OFF:
            setattr(params, _OFF[option], False)
        else:
            value = next(given)
            if option == "--model":
                params.model.path = value
            elif option == "--host":
                params.hostnames = [value]
            elif option == "--threads":
                params.cpuparams.n_threads = int(value)
            elif option == "--threads-batch":
                params.cpuparams_batch.n_threads = int(value)
            elif option == "--chat-template":
                params.chat_template, params.enable_chat_template = value, False
            elif option == "--gpu-layers":
                params.n_gpu_layers = -1 if value == "auto" else int(value)
            elif option == "--fit":
                params.fit_params = value == "on" and has_gpu()
            elif option in _CHOICES:
                kind, prefix = _CHOICES[option]
                word = {"off": "DISABLED"}.get(value, value.upper())
                setattr(params, _NAMES[option], getattr(getattr(xllamacpp, kind), prefix + word))
            elif option in _NAMES:
                setattr(params, _NAMES[option], int(value))
            else:
                raise ValueError(f"no option {option}")
    return params


def has_gpu() -> bool:
    """Whether this build of `xllamacpp` finds another device than the processor."""
    import xllamacpp

    kinds = xllamacpp.ggml_backend_dev_type
    beside = (kinds.GGML_BACKEND_DEVICE_TYPE_CPU, kinds.GGML_BACKEND_DEVICE_TYPE_ACCEL)
    return any(device["type"] not in beside for device in xllamacpp.get_device_info())


def main() -> None:
    """Serve until the parent is gone."""
    folder, memory, program, *options = sys.argv[1:]
    end_with_parent(Path(folder))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    limit = int(memory) if memory else None
    if program:
        limit_memory(limit)
        os.execv(program, [program, *options])
    import xllamacpp

    # A GPU's driver reserves more addresses than there is memory.
    limit_memory(None if has_gpu() else limit)
    try:
        server = xllamacpp.Server(parameters(options))
    except Exception as error:
        sys.stderr.write(f"{error}\n")
        time.sleep(_LOG_SECONDS)
        os._exit(1)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
