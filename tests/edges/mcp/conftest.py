"""A small indexed repository, and the official client of the protocol beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import StdioServerParameters

from turboprop import Index

FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "app/client.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}


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
