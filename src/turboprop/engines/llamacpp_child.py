"""The child process of the llama.cpp engine: a llama-server, or the one inside of the package `xllamacpp`.

`python -P -m turboprop.engines.llamacpp_child FOLDER MEMORY PROGRAM OPTION...`: the options are llama-server's. With
a PROGRAM this process becomes it; without one it sets the same options in `xllamacpp`, whose server listens as that
does. It takes at most MEMORY bytes (empty: any number), writes no core file, and ends with the process at the other end
of its standard input.
"""

from __future__ import annotations

import os
import select
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
_FIELDS = {
    "--model": "model.path",
    "--ctx-size": "n_ctx",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--parallel": "n_parallel",
    "--cache-ram": "cache_ram_mib",
    "--threads": "cpuparams.n_threads",
    "--threads-batch": "cpuparams_batch.n_threads",
    "--chat-template": "chat_template",
    "--gpu-layers": "n_gpu_layers",
    "--pooling": "pooling_type llama_pooling_type LLAMA_POOLING_TYPE_",
    "--flash-attn": "flash_attn_type llama_flash_attn_type LLAMA_FLASH_ATTN_TYPE_",
    "--cache-type-k": "cache_type_k ggml_type GGML_TYPE_",
    "--cache-type-v": "cache_type_v ggml_type GGML_TYPE_",
}
"""An option's field, and where it is a choice of words their enumeration and how its names begin."""
_SWITCHES = {
    "--embeddings": ("embedding", True),
    "--swa-full": ("swa_full", True),
    "--offline": ("offline", True),
    "--no-warmup": ("warmup", False),
    "--no-webui": ("ui", False),
    "--no-slots": ("endpoint_slots", False),
    "--no-jinja": ("use_jinja", False),
}
_CHOICE = {"off": "disabled"}


def end_with_parent(folder: Path) -> None:
    """Start the guard: a fork that waits for the other end of our standard input, kills us and deletes `folder`.

    A native library can hold the interpreter's lock for ever, so no thread of this process could be trusted with it.
    """
    server, (ended, held) = os.getpid(), os.pipe()
    if os.fork():
        os.close(ended)
        os.set_inheritable(held, True)  # closes with this process, whatever it becomes
        return
    os.close(held)
    with Path(os.devnull).open("r+b") as nothing:  # the log ends with the server, not with us
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    watch = select.poll()
    watch.register(0, 0)
    watch.register(ended, 0)
    watch.poll()
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
    """llama-server's options as `xllamacpp.CommonParams`."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.port, params.api_keys = 0, [os.environ["LLAMA_API_KEY"]]
    params.fit_params = params.ctx_shift = params.endpoint_props = params.enable_chat_template = False
    given = iter(options)
    for option in given:
        if option in _SWITCHES:
            setattr(params, *_SWITCHES[option])
            continue
        value: Any = next(given)
        if option == "--host":
            params.hostnames = [value]
        elif option == "--fit":
            params.fit_params = value == "on" and has_gpu()
        else:
            field, *kind = _FIELDS[option].split()
            *path, name = field.split(".")
            if kind:
                value = getattr(getattr(xllamacpp, kind[0]), kind[1] + _CHOICE.get(value, value).upper())
            elif option not in ("--model", "--chat-template"):
                value = -1 if value == "auto" else int(value)
            setattr(getattr(params, path[0]) if path else params, name, value)
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
        os.execv(program, [program, *options])  # noqa: S606  no shell, and the program is the user's
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
