"""`tp mcp` as an agent runs it: the official client over standard input and output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult

Stdio = Callable[..., StdioServerParameters]


def text(result: CallToolResult) -> str:
    assert [block.type for block in result.content] == ["text"]
    return result.content[0].text  # type: ignore[union-attr]


def test_search_over_stdio(repo: Path, stdio: Stdio) -> None:
    async def session() -> None:
        async with Client(stdio("--repo", repo)) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert "search_code" in tools
            found = await client.call_tool("search_code", {"query": "listen on a port"})
            assert not found.is_error
            assert text(found).startswith("app/server.py:1-3  start_server\n1| def start_server(port):\n")

    anyio.run(session)
