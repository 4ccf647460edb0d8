"""A small indexed repository, and the official client of the protocol over both transports."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp import Client, StdioServerParameters

from turboprop import Index
from turboprop.edges.mcp.server import mcp_app
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.workspace import Workspace

BODY = "\n".join(f"    total = total + values[{line}]  # the value at {line}" for line in range(300))
FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "app/client.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
    "app/server_two.py": "def start_second_server(port):\n    '''Listen on another port.'''\n    return bind(port)\n",
    "app/long.py": f"def add_all(values):\n    total = 0\n{BODY}\n    return total\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}
Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def files() -> dict[str, str]:
    return FILES


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


@pytest.fixture
def stdio() -> Callable[..., StdioServerParameters]:
    """How the client starts `tp mcp`: the SDK hands a child few variables unless told."""

    def parameters(*arguments: str | Path) -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable, args=["-m", "turboprop", "mcp", *map(str, arguments)], env=dict(os.environ)
        )

    return parameters


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of an application that uvicorn serves in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def over_http(
    *repos: Path, language_model: str | None = None, refresh: bool = True, **options: Any
) -> AsyncIterator[Client]:
    models = ModelManager()
    pool = IndexPool(models)
    workspace = Workspace(pool, repos, **options)
    try:
        with listening(mcp_app(workspace, language_model=language_model, refresh=refresh)) as address:
            async with Client(f"{address}/mcp") as client:
                yield client
    finally:
        workspace.close()
        pool.clear()
        models.close()


@pytest.fixture
def serving() -> Callable[[Any], AbstractContextManager[str]]:
    return listening


@pytest.fixture(params=["stdio", "http"])
def connect(request: pytest.FixtureRequest, stdio: Callable[..., StdioServerParameters]) -> Connect:
    """`connect(repo, ..., refresh=True, language_model=None)`: a client of a server of these repositories."""
    if request.param == "http":
        return over_http

    def over_stdio(*repos: Path, refresh: bool = True, language_model: str | None = None) -> Client:
        arguments = [part for repo in repos for part in ("--repo", str(repo))]
        arguments += ["--refresh" if refresh else "--no-refresh"]
        arguments += ["--language-model", language_model] if language_model else []
        return Client(stdio(*arguments))

    return over_stdio
