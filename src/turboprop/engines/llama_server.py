"""A `llama-server` binary of the user's own in the place of the wheel, behind the same two calls.

It runs as a child of the worker process, listens on a Unix socket in the worker's private folder, asks for a random
key, and dies with the worker. `ServerRuntime.handle_completions` answers as `xllamacpp.Server`'s does.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SOCKET = "s.sock"
"""In the current folder: a socket's whole path has at most 107 bytes."""
_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1


class ServerDiedError(Exception):
    """The server process is gone."""


class _Connection(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("localhost")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(_SOCKET)


class ServerRuntime:
    """A running server with the model of `load` in it (llamacpp_worker.py says what that holds).

    Waits until the model is loaded; whoever started the worker bounds the wait. Raises `ServerDiedError` where the
    server ends meanwhile.
    """

    def __init__(self, load: Mapping[str, Any], folder: Path) -> None:
        os.chdir(folder)
        self._key = secrets.token_hex(32)
        self._process = subprocess.Popen(
            [load["server"], *_arguments(load)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # at this verbosity it prints every prompt
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LLAMA_API_KEY": self._key},
            preexec_fn=_die_with_parent if sys.platform.startswith("linux") else None,
        )
        while not self._healthy():
            if (code := self._process.poll()) is not None:
                raise ServerDiedError(f"{load['server']} ended with exit code {code} before it had loaded the model")
            time.sleep(_POLL_SECONDS)

    def handle_completions(
        self, request: Mapping[str, Any], told: Callable[[Any], bool] | None = None
    ) -> dict[str, Any]:
        """The answer to one request. With `told`, each part of a streamed answer goes there, until it returns True:
        then the connection is closed, which ends the request."""
        connection = _Connection()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/completions", json.dumps(request), headers)
            response = connection.getresponse()
            if told is None or response.status != http.client.OK:
                answer: dict[str, Any] = json.loads(response.read())
                if told is not None:
                    told(answer)
                return answer
            for line in response:
                part = line.removeprefix(b"data: ").strip()
                if part.startswith(b"{") and told(json.loads(part)):
                    break
            return {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            if (code := self._process.poll()) is not None:
                raise ServerDiedError(f"llama-server ended with exit code {code}") from error
            raise
        finally:
            connection.close()

    def _healthy(self) -> bool:
        connection = _Connection()
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _arguments(load: Mapping[str, Any]) -> list[str]:
    cache = "f32" if load["exact"] else "f16"
    options = {
        "--model": load["path"],
        "--host": _SOCKET,  # a name that ends so is a Unix socket
        "--ctx-size": load["context"],
        "--batch-size": load["batch"],
        "--ubatch-size": load["batch"],
        "--threads": load["threads"],
        "--threads-batch": load["threads"],
        "--parallel": 1,
        "--cache-type-k": cache,
        "--cache-type-v": cache,
        "--flash-attn": "auto" if load["flash_attention"] else "off",
        "--verbosity": 10,  # from here on an answer tells the ids that were drawn
        # A template of the file would be run while it loads.
        "--chat-template": "chatml",
    }
    return [*(str(part) for pair in options.items() for part in pair), "--no-webui", "--no-warmup", "--offline"]


def _die_with_parent() -> None:
    """In the new process: end when the worker does, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
