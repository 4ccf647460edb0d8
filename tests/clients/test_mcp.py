"""The SDK of MCP, fastmcp and the inspector, with the tools that the server offers over HTTP."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")
"""What the packages warn of is theirs."""
QUERY = {"query": "where are numbers added"}
INSPECTOR = "@modelcontextprotocol/inspector"


def test_sdk(url: str) -> None:
    mcp = pytest.importorskip("mcp")
    transport = pytest.importorskip("mcp.client.streamable_http")
    connect: Any = getattr(transport, "streamable_http_client", None) or transport.streamablehttp_client

    async def ask() -> tuple[set[str], Any]:
        async with connect(f"{url}/mcp") as streams, mcp.ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            return names, await session.call_tool("search_code", QUERY)

    names, found = asyncio.run(ask())
    assert "search_code" in names
    assert "add" in str(found.content)


def test_fastmcp(url: str) -> None:
    fastmcp = pytest.importorskip("fastmcp")

    async def ask() -> Any:
        async with fastmcp.Client(f"{url}/mcp") as client:
            return await client.call_tool("search_code", QUERY)

    assert "add" in str(asyncio.run(ask()).content)


def test_inspector(url: str) -> None:
    if shutil.which("npx") is None:
        pytest.skip("the inspector comes by npm, which is not here")
    asked = ["npx", "--yes", INSPECTOR, "--cli", f"{url}/mcp", "--transport", "http", "--method"]
    listed = subprocess.run([*asked, "tools/list"], capture_output=True, text=True, check=True)
    assert "search_code" in {tool["name"] for tool in json.loads(listed.stdout)["tools"]}
    call = [*asked, "tools/call", "--tool-name", "search_code", "--tool-arg", f"query={QUERY['query']}"]
    called = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert "add" in called["content"][0]["text"]
