"""Every tool, called by the official client over standard input and output, and over HTTP."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reference import reference
from turboprop import Index, limits
from turboprop.edges.mcp import tools
from turboprop.edges.mcp.server import REQUEST_BYTES, make_server, mcp_app
from turboprop.edges.mcp.text import UNTRUSTED
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.workspace import Workspace

Connect = Callable[..., Any]


async def told(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is None
    assert [block.type for block in result.content] == ["text"]
    return result.content[0].text.removeprefix(f"{UNTRUSTED}\n")


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    return result.content[0].text


def session(steps: Callable[[], Awaitable[None]]) -> None:
    anyio.run(steps)


def test_lists_every_tool(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        searching = {"search_code", "grep_code", "find_symbol", "similar_code"}
        assert set(listed) == {*searching, "read_chunk", "ask_code", "index_status", "reindex"}
        for name, tool in listed.items():
            assert tool.description
            assert "stopped" not in tool.input_schema["properties"], name
            assert tool.output_schema is None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (name != "reindex")
            assert tool.title
            assert "title" not in tool.input_schema

    session(steps)


def test_search_code(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            found = await told(client, "search_code", query="listen on a port")
            assert found.startswith("app/server.py:1-3  start_server\n1| def start_server(port):\n")
            places = await told(client, "search_code", query="listen on a port", lines=0, languages=["python"])
            assert places.split("\n")[0] == "app/server.py:1-3  start_server"
            assert "README.md" not in places
            narrow = await told(client, "search_code", query="server", paths=["**/*.go"], lines=0, mode="lexical")
            assert narrow in ("nothing found", "app/client.go:1-5  Dial")
            assert "mode" in await refused(client, "search_code", query="x", mode="psychic")
            longest = ("hör zu: listen on a port " * limits.QUERY.most)[: limits.QUERY.most]
            assert await told(client, "search_code", query=longest, lines=0)
            assert "characters" in await refused(client, "search_code", query=longest + "x")
            assert "empty" in await refused(client, "search_code", query=" ")

    session(steps)


def test_pages(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo, refresh=False) as client:
            query = "add the values of a server port"
            whole = await told(client, "search_code", query=query, lines=0, limit=50)
            seen: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await told(client, "search_code", query=query, lines=0, limit=2, cursor=cursor)).split("\n")
                last = page[-1]
                cursor = last.split('"')[1] if last.startswith("more: cursor ") else None
                seen += page[: -1 if cursor else None]
            assert len(seen) == len(set(seen)) >= 4
            assert set(seen) == set(whole.split("\n"))
            assert await told(client, "search_code", query="server", cursor="199") == "no more hits"
            assert "no cursor" in await refused(client, "search_code", query="server", cursor="next")
            long = await told(client, "search_code", query="add all values total", lines=100, limit=20)
            assert len(long) < 10_000

    session(steps)


def test_similar_code(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            found = await told(client, "similar_code", path="app/server.py", line=2, limit=1)
            assert found.startswith("app/server_two.py:1-3  start_second_server\n")
            assert found.endswith('more: cursor "1"')
            assert "not indexed" in await refused(client, "similar_code", path="nowhere.py", line=1)

    session(steps)


def test_read_chunk(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            whole = await told(client, "read_chunk", path="app/server.py")
            assert whole.split("\n")[:2] == ["app/server.py:1-3 of 3", "1| def start_server(port):"]
            part = await told(client, "read_chunk", path="./app/server.py", start_line=2, end_line=2)
            assert part == "app/server.py:2-2 of 3\n2|     '''Listen on a port.'''"
            lines: list[str] = []
            page = await told(client, "read_chunk", path="app/long.py")
            while page.split("\n")[-1].startswith("more: cursor "):
                lines += page.split("\n")[1:-1]
                page = await told(client, "read_chunk", path="app/long.py", cursor=page.split('"')[-2])
            lines += page.split("\n")[1:]
            assert [int(line.split("|")[0]) for line in lines] == list(range(1, 304))
            assert "no range" in await refused(client, "read_chunk", path="app/server.py", start_line=9)

    session(steps)


def test_nothing_outside_of_the_repositories(connect: Connect, repo: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "server.py").write_text("TOKEN = 'hidden'\n")
    (repo / "link.py").symlink_to(secret / "server.py")
    (repo / "not_indexed.env").write_text("KEY=hidden\n")
    os.mkfifo(repo / "pipe.py")

    async def steps() -> None:
        async with connect(repo, refresh=False) as client:
            places = ["../secret/server.py", str(secret / "server.py"), "link.py", "not_indexed.env", "pipe.py"]
            places += ["app/../../secret/server.py", ".turboprop", ".", "", "app/server.py\0", "~/.bashrc"]
            for place in places:
                assert "hidden" not in await refused(client, "read_chunk", path=place), place
                assert "hidden" not in await refused(client, "similar_code", path=place, line=1), place
            # What was a file when it was indexed is a link by now; then its folder is.
            (repo / "app/server.py").unlink()
            (repo / "app/server.py").symlink_to(secret / "server.py")
            assert "leads out" in await refused(client, "read_chunk", path="app/server.py")
            shutil.rmtree(repo / "app")
            (repo / "app").symlink_to(secret)
            assert "leads out" in await refused(client, "read_chunk", path="app/server.py")
            for name in (str(secret), "secret", "..", "/"):
                assert "there is no repository" in await refused(client, "search_code", query="token", repo=name)
                assert "there is no repository" in await refused(client, "reindex", repo=name)

    session(steps)


def test_several_repositories(connect: Connect, repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "port.py").write_text("def open_port(port):\n    return listen(port)\n")
    Index.create(other).close()

    async def steps() -> None:
        async with connect(repo, other) as client:
            assert "port.py:1-2" in await told(client, "search_code", query="port", repo="other")
            both = await told(client, "search_code", query="listen on a port", lines=0)
            assert "port.py:1-2  repo other  open_port" in both
            assert "app/server.py:1-3  repo repo" in both
            first, second = [
                await told(client, "search_code", query="listen on a port", lines=0, limit=1, cursor=at)
                for at in ("0", "1")
            ]
            assert both.startswith(first.split("\n")[0] + "\n" + second.split("\n")[0])
            assert "say which repository: repo, other" in await refused(client, "read_chunk", path="port.py")
            assert "port.py:1-2  repo other  function open_port" in await told(client, "find_symbol", name="open_port")
            assert "app/server.py:1-3  repo repo" in await told(client, "find_symbol", name="start_server")
            both = await told(client, "index_status")
            assert "repo: 5 files" in both
            assert "other: 1 files" in both

    session(steps)


def test_index_status_and_reindex(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo, refresh=False) as client:
            assert (await told(client, "index_status")).endswith("up to date")
            (repo / "big.py").write_text("x = 1\n" * 200_000)
            assert "1, first big.py (too large)" in await told(client, "index_status")
            (repo / "tuner.py").write_text("def tune_radio(frequency):\n    return frequency\n")
            assert "stale: 1 new or changed, 0 removed: tuner.py" in await told(client, "index_status")
            assert (await told(client, "reindex", wait_seconds=60)).endswith("up to date")
            assert (await told(client, "search_code", query="tune radio", lines=0)).startswith("tuner.py:1-2")

    session(steps)


def test_the_first_call_waits_for_the_index(connect: Connect, repo: Path) -> None:
    shutil.rmtree(repo / ".turboprop")

    async def steps() -> None:
        async with connect(repo) as client:
            found = await told(client, "search_code", query="listen on a port", lines=0)
            assert found.startswith("app/server.py:1-3  start_server")

    session(steps)


def test_an_index_that_takes_long_is_no_error(
    workspace: Workspace, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(repo / ".turboprop")
    monkeypatch.setattr(tools, "WAIT_SECONDS", 0.0)
    calls = {
        "search_code": {"query": "start_server"},
        "grep_code": {"pattern": "start_server"},
        "find_symbol": {"name": "start_server"},
        "read_chunk": {"path": "app/server.py"},
        "ask_code": {"question": "how does the server listen on a port?"},
    }

    async def steps() -> None:
        async with Client(make_server(workspace)) as client:
            said = [await told(client, tool, **arguments) for tool, arguments in calls.items()]
            assert all(text.startswith("The index of repo is still being made") for text in said), said
            assert all("ask again" in text for text in said)
            assert "app/server.py:1-3" in await until_there(client, calls["search_code"])

    async def until_there(client: Client, arguments: dict[str, str]) -> str:
        while "still being made" in (text := await told(client, "search_code", **arguments)):
            await anyio.sleep(0.05)
        return text

    session(steps)


def test_the_index_is_begun_when_a_client_connects(workspace: Workspace, repo: Path) -> None:
    shutil.rmtree(repo / ".turboprop")

    async def steps() -> None:
        async with Client(make_server(workspace)) as client:
            await client.list_tools()
            while (job := workspace.get(None).job) is None or not job.status.ended:
                await anyio.sleep(0.05)
            assert job.status.state == "done"

    session(steps)


def test_what_models_write_is_understood(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            for paths in ("app/**", '["app/**"]', "app/**, *.md", ["app/**"]):
                found = await told(client, "search_code", query="listen on a port", paths=paths, lines=0, limit="1")
                assert found.startswith("app/server.py:1-3"), paths
            narrow = await told(client, "search_code", query="server", paths="*.{md,txt}", lines=0)
            assert narrow.split("\n")[0].startswith("README.md")
            assert await told(client, "search_code", query="port", limit=None, languages=None, lines=0)
            said = await told(client, "search_code", query="port", explanation="looking for ports", lines=0)
            assert "search_code has no argument explanation, which changed nothing; it takes query, limit" in said
            for wrong, meant in (("path", "paths"), ("max_lines", "lines"), ("language", "languages")):
                refusal = await refused(client, "search_code", query="port", **{wrong: "app"})
                assert f"there is no argument {wrong}" in refusal
                assert f"did you mean {meant}?" in refusal

    session(steps)


def test_resources_and_prompts(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            (overview,) = (await client.list_resources()).resources
            text = (await client.read_resource(str(overview.uri))).contents[0].text
            assert text.startswith(UNTRUSTED)
            assert "Languages: python 3" in text
            assert "app: 4" in text
            assert "1| # Demo" in text
            kinds = {each.uri_template for each in (await client.list_resource_templates()).resource_templates}
            assert kinds == {"turboprop://file/{repo}/{+path}", "turboprop://symbol/{repo}/{name}"}
            file = (await client.read_resource("turboprop://file/repo/app/server.py")).contents[0].text
            assert "app/server.py:1-3 of 3\n1| def start_server(port):" in file
            symbol = (await client.read_resource("turboprop://symbol/repo/bind")).contents[0].text
            assert "Called:" in symbol
            assert "app/server.py" in symbol
            for nothing in ("turboprop://file/repo/../secret", "turboprop://nothing/repo", "file:///etc/passwd"):
                with pytest.raises(Exception, match=r"not an indexed file|no resource"):
                    await client.read_resource(nothing)
            assert {prompt.name for prompt in (await client.list_prompts()).prompts} == {"explain", "impact"}
            asked = await client.get_prompt("explain", {"question": "how does it listen on a port?"})
            assert "app/server.py:1-3  start_server" in asked.messages[0].content.text
            asked = await client.get_prompt("impact", {"symbol": "bind"})
            assert "app/server.py" in asked.messages[0].content.text
            with pytest.raises(Exception, match="needs question"):
                await client.get_prompt("explain", {})

    session(steps)


def test_ask_code_asks_the_model_of_the_server(workspace: Workspace) -> None:
    model = str(reference("gguf/stories260K.gguf"))

    async def steps() -> None:
        async with Client(make_server(workspace, language_model=lambda: model)) as client:
            assert "Sources:" in await told(client, "ask_code", question="how does the server listen on a port?")

    session(steps)


def test_the_next_call_finds_an_edit(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            assert "app/server.py:1-3" in await told(client, "search_code", query="listen on a port")
            (repo / "app/client.go").write_text("package app\n\nfunc PeelPomegranate() error {\n\treturn nil\n}\n")
            said = await told(client, "search_code", query="peel a pomegranate", limit=1)
            assert "app/client.go:1-5  PeelPomegranate" in said
            assert (await told(client, "index_status")).endswith("up to date")

    session(steps)


def test_ask_code_without_a_language_model(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            said = await told(client, "ask_code", question="how does the server listen on a port?")
            assert "tp model download" in said
            assert "\napp/server.py:1-3  start_server" in said

    session(steps)


def test_ask_code(connect: Connect, repo: Path) -> None:
    model = str(reference("gguf/stories260K.gguf"))

    async def steps() -> None:
        async with connect(repo, language_model=model) as client:
            said = await told(client, "ask_code", question="how does the server listen on a port?")
            answer, _, sources = said.partition("\n\nSources:\n")
            assert answer
            assert "app/server.py:1-3" in sources
            weak = await told(client, "ask_code", question="which chocolate goes into walnut cakes?")
            assert "nothing that answers" in weak

    session(steps)


def test_wrong_arguments(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            for tool, arguments in (
                ("search_code", {}),
                ("search_code", {"query": "x", "limit": 0}),
                ("search_code", {"query": " "}),
                ("similar_code", {"path": "app/server.py", "line": 0}),
                ("reindex", {"wait_seconds": 100_000}),
            ):
                await refused(client, tool, **arguments)

    session(steps)


@pytest.fixture
def workspace(repo: Path) -> Iterator[Workspace]:
    with ModelManager() as models:
        pool = IndexPool(models)
        with Workspace(pool, [repo]) as made:
            yield made
        pool.clear()


@pytest.mark.parametrize(("header", "value"), [("Host", "evil.example:80"), ("Origin", "https://evil.example")])
def test_pages_of_others_are_refused(workspace: Workspace, header: str, value: str) -> None:
    app = mcp_app(workspace)

    async def steps() -> None:
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321") as client:
                request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
                answer = await client.post("/mcp", json=request, headers={header: value})
                assert answer.status_code in (403, 421)
                large = await client.post(
                    "/mcp", content=b" " * (REQUEST_BYTES + 1), headers={"Content-Type": "application/json"}
                )
                assert large.status_code == 413

    session(steps)


def test_inside_another_application(workspace: Workspace, serving: Any) -> None:
    ours = mcp_app(workspace)
    outer = Starlette(
        routes=[Route("/health", lambda request: PlainTextResponse("well")), *ours.routes],
        lifespan=lambda app: ours.router.lifespan_context(ours),
    )

    async def steps() -> None:
        with serving(outer) as address:
            async with httpx2.AsyncClient() as client:
                assert (await client.get(f"{address}/health")).text == "well"
            async with Client(f"{address}/mcp") as client:
                assert "app/server.py:1-3" in await told(client, "search_code", query="listen on a port", lines=0)

    session(steps)


def test_grep_code(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            found = await told(client, "grep_code", pattern=r"def \w+\(")
            assert re.fullmatch(r"([\w./]+\n(\d+\| .*\n?)+)+", found), found
            page = await told(client, "grep_code", pattern="e", limit=2)
            assert page.endswith('more: cursor "2"')
            assert page.split("\n")[1] not in (await told(client, "grep_code", pattern="e", limit=2, cursor="2"))
            assert await told(client, "grep_code", pattern="(", fixed=True) != "nothing found"
            assert await told(client, "grep_code", pattern="nothing like this") == "nothing found"
            assert "no regular expression" in await refused(client, "grep_code", pattern="(")
            narrowed = await told(client, "search_code", query="server", regex=r"def \w+\(", lines=0)
            assert narrowed != "nothing found"

    session(steps)


def test_find_symbol(connect: Connect, repo: Path) -> None:
    async def steps() -> None:
        async with connect(repo) as client:
            found = await told(client, "find_symbol", name="start_server")
            assert re.match(r"app/server\.py:1-\d+  function start_server\n1\| def start_server", found), found
            calls = await told(client, "find_symbol", name="bind", asked="calls")
            assert re.match(r"app/server\.py:\d+-\d+  start_server\n\d+\| ", calls), calls
            assert await told(client, "find_symbol", name="nobody", asked="implementations") == "nothing found"
            answer = await told(client, "search_code", query="what calls bind", limit=1)
            assert "is: calls bind in start_server (line" in answer

    session(steps)
