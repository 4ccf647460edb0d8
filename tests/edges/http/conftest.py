"""Real servers on the loopback interface, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn
from openai import OpenAI
from starlette.types import ASGIApp

from generate.conftest import chat_folder as chat_folder
from reference import reference
from turboprop.edges.http.limits import Limits
from turboprop.edges.http.server import bound_socket, load_at_start, make_server, url_of
from turboprop.edges.http.state import ServerOptions, ServerState
from turboprop.runtime.manager import ModelManager


@dataclass
class Server:
    """A running `tp serve`."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)

    def client(self, key: str = "none", **more: object) -> OpenAI:
        """OpenAI's own client, with nothing set but where the server is."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **more)

    def http(self, key: str | None = None, **more: object) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **more)

    def stop(self) -> int:
        """Ask it to end, and wait for it."""
        self.process.terminate()
        return self.process.wait()

    @property
    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, shared_key: Path) -> Iterator[Start]:
    """`start_server("--repo", path, ready=True)`: starts `tp serve` on a free port."""
    running: list[Server] = []

    def start(*arguments: object, ready: bool = True, **environment: str) -> Server:
        home = tmp_path_factory.mktemp("serve")
        (home / "data").mkdir()
        shutil.copy2(shared_key, home / "data")
        places = {
            "HOME": str(home),
            "HF_HOME": str(home / "huggingface"),
            "OLLAMA_MODELS": str(home / ".ollama" / "models"),
            "TP_HOME": str(home / "data"),
            "TP_CACHE": str(shared_cache),
            "TP_CONFIG": str(home / "config.toml"),
            "TP_OFFLINE": "1",
            "TP_EMBEDDING_CACHE": "0",
        }
        command = [sys.executable, "-W", "error", "-m", "turboprop", "serve", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | places | environment
        )
        server = Server(process, "")
        running.append(server)
        assert process.stderr is not None
        for line in process.stderr:
            server.log.append(line)
            if " at http" in line:
                server.url = "http" + line.partition("http")[2].split(",")[0].split(";")[0].strip()
                break
        assert server.url, f"it ended with {process.wait()}: {''.join(server.log)}"
        threading.Thread(target=lambda: server.log.extend(process.stderr), daemon=True).start()
        if ready:
            with httpx.Client() as client:
                while client.get(f"{server.url}/ready").status_code != 200:
                    assert process.poll() is None, "".join(server.log)
                    time.sleep(0.05)
        return server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()
        if server.process.stderr is not None:
            server.process.stderr.close()


@pytest.fixture(scope="session")
def server(start_server: Start) -> Server:
    """One with the default embedding model alone."""
    return start_server()


@pytest.fixture(scope="session")
def writing_server(start_server: Start) -> Server:
    """One with a small language model and the default embedding model."""
    return start_server("--model", reference("gguf/stories260K.gguf"), "--model", "minilm")


@pytest.fixture
def infill_folder(chat_folder: Callable[..., Path]) -> Path:
    """A model whose vocabulary has tokens for filling in; a text has one token a byte."""
    folder = chat_folder()
    text = (folder / "tokenizer.json").read_text()
    names = {"<|endoftext|>": "<|fim_prefix|>", "<|im_start|>": "<|fim_suffix|>", "<|im_end|>": "<|fim_middle|>"}
    for old, new in names.items():
        text = text.replace(old, new)
    (folder / "tokenizer.json").write_text(text)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}"}))
    return folder


@dataclass
class InProcess:
    """A server in a thread of this process, for limits that no option sets."""

    url: str
    state: ServerState


@pytest.fixture
def start_limited() -> Iterator[Callable[[Limits], InProcess]]:
    """`start_limited(Limits(requests=1))`, with the default embedding model."""
    started: list[tuple[uvicorn.Server, threading.Thread, ServerState, socket.socket]] = []

    def start(limits: Limits, mounts: Mapping[str, ASGIApp] | None = None, **options: object) -> InProcess:
        state = ServerState(ServerOptions(limits=limits, **options), ModelManager())
        bound = bound_socket("127.0.0.1", 0)
        server = make_server(state, mounts=mounts)
        run = threading.Thread(target=lambda: server.run(sockets=[bound]))
        run.start()
        load_at_start(state, lambda text: None)
        started.append((server, run, state, bound))
        return InProcess(url_of(bound), state)

    yield start
    for server, run, state, bound in started:
        server.should_exit = True
        run.join()
        bound.close()
        state.close()
