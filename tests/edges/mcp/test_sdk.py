"""The server on another version of the SDK: `TP_OTHER_MCP` names a folder that `pip install --target` filled."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

OTHER = os.environ.get("TP_OTHER_MCP", "")


@pytest.mark.skipif(not OTHER, reason="TP_OTHER_MCP names no folder with another version of mcp")
def test_another_version(repo: Path) -> None:
    arguments = ["-P", "-m", "turboprop", "mcp", "--repo", str(repo)]
    environment = {**os.environ, "PYTHONPATH": OTHER}

    async def steps() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment)) as client:
            assert len((await client.list_tools()).tools) == 8
            assert client.server_capabilities.prompts is not None
            found = await client.call_tool("search_code", {"query": "listen on a port", "paths": "app/**"})
            assert "app/server.py:1-3" in found.content[0].text  # type: ignore[union-attr]
            uri = str((await client.list_resources()).resources[0].uri)
            assert "Languages: python" in (await client.read_resource(uri)).contents[0].text  # type: ignore[union-attr]

    anyio.run(steps)
