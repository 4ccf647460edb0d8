"""One question and one edit through every edge: each finds the edit by itself, and all say the same.

Everything is what a user has: commands, the warm server, `tp serve`, agents over both transports, the browser.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters

from turboprop import Index

FILES = {
    f"lib/part_{n}.py": f"def part_{n}(values):\n    '''Part {n} of many.'''\n    return values[{n}]\n"
    for n in range(200)
}
FRUITS = {
    "Python": "pomegranate",
    "tp search, cold": "tangerine",
    "tp search, warm": "rhubarb",
    "tp search, from a folder": "gooseberry",
    "tp ask": "elderberry",
    "/api/search": "persimmon",
    "/api/ask": "kumquat",
    "agent over stdio": "physalis",
    "agent over HTTP": "cloudberry",
    "page": "lingonberry",
}


class Edges:
    """Asks one question through each; every answer is a list of `path:start-end`, best first."""

    def __init__(self, root: Path, url: str, environment: dict[str, str], open_page: Any) -> None:
        self.root, self.url, self.environment, self.open_page = root, url, environment, open_page
        self.index = Index.open(root)
        self.told = ""
        """What the last command wrote beside its answer."""
        self.ways: dict[str, Callable[[str], list[str]]] = {
            "Python": self.python,
            "tp search, cold": lambda query: self.command("search", query, "--no-server", cwd=self.root),
            "tp search, warm": lambda query: self.command("search", query, cwd=self.root),
            "tp search, from a folder": lambda query: self.command("search", query, cwd=self.root / "lib"),
            "tp ask": self.ask,
            "/api/search": self.http,
            "/api/ask": self.http_ask,
            "agent over stdio": lambda query: self.agent(
                StdioServerParameters(
                    command=sys.executable,
                    args=["-m", "turboprop", "mcp", "--repo", str(self.root)],
                    env=self.environment,
                ),
                query,
            ),
            "agent over HTTP": lambda query: self.agent(f"{self.url}/mcp", query),
            "page": self.page,
        }

    def python(self, query: str) -> list[str]:
        return [f"{hit.path}:{hit.start_line}-{hit.end_line}" for hit in self.index.search(query, 5)]

    def command(self, name: str, query: str, *more: str, cwd: Path) -> list[str]:
        arguments = [sys.executable, "-m", "turboprop", name, *query.split(), "-n", "5", "--json", *more]
        done = subprocess.run(arguments, cwd=cwd, env=self.environment, capture_output=True, text=True, check=True)
        self.told = done.stderr
        return [f"{hit['path']}:{hit['start_line']}-{hit['end_line']}" for hit in json.loads(done.stdout)["hits"]]

    def ask(self, query: str) -> list[str]:
        arguments = [sys.executable, "-m", "turboprop", "ask", query, "--json"]
        done = subprocess.run(arguments, cwd=self.root, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr  # no language model is here
        return [f"{one['path']}:{one['start_line']}-{one['end_line']}" for one in json.loads(done.stdout)["sources"]]

    def http(self, query: str) -> list[str]:
        found = (
            httpx.post(f"{self.url}/api/search", json={"query": query, "limit": 5}, timeout=None)
            .raise_for_status()
            .json()
        )
        return [f"{hit['path']}:{hit['start_line']}-{hit['end_line']}" for hit in found["hits"]]

    def http_ask(self, query: str) -> list[str]:
        said = httpx.post(f"{self.url}/api/ask", json={"question": query}, timeout=None).raise_for_status().text
        sources = next(json.loads(line[6:]) for line in said.split("\n") if line.startswith('data: {"sources"'))
        return [f"{one['path']}:{one['start_line']}-{one['end_line']}" for one in sources["sources"]]

    def agent(self, server: StdioServerParameters | str, query: str) -> list[str]:
        async def asked() -> str:
            async with Client(server) as client:
                answer = await client.call_tool("search_code", {"query": query, "limit": 5, "lines": 0})
                assert not answer.is_error, answer
                return str(answer.content[0].text)  # type: ignore[union-attr]

        with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop of its own in this one
            return re.findall(r"(?m)^([\w/]+\.py:\d+-\d+)", thread.submit(anyio.run, asked).result())

    def page(self, query: str) -> list[str]:
        page = self.open_page(f"#/search?q={query.replace(' ', '+')}&limit=10", at=f"{self.url}/")
        page.wait_for_selector(".hit")
        told = [place.replace("\u2013", "-") for place in page.locator(".hit .place").all_inner_texts()]
        return [re.sub(r"\s", "", place) for place in told][:5]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("every") / "repo"
    for path, text in FILES.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def edges(root: Path, own_places: Path, shared_cache: Path, open_page: Any, tmp_path: Path) -> Iterator[Edges]:
    Index.create(root).close()
    environment = {**os.environ, "TP_SERVER": "1"}
    command = [sys.executable, "-m", "turboprop", "serve", "--repo", str(root), "--port", "0"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said = ""
        while "ready" not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        match = re.search(r"http://[\d.]+:\d+", said)
        assert match is not None
        made = Edges(root, match[0], environment, open_page)
        yield made
        made.index.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
        subprocess.run([sys.executable, "-m", "turboprop", "daemon", "stop"], env=environment, capture_output=True)


def test_every_edge_finds_an_edit_by_itself_and_all_say_the_same(edges: Edges) -> None:
    assert set(FRUITS) == set(edges.ways)
    for number, (edge, ask) in enumerate(edges.ways.items()):
        fruit, path = FRUITS[edge], f"lib/part_{number}.py"
        (edges.root / path).write_text(
            f"def peel_{fruit}(knife):\n    '''Peel a {fruit} with a knife.'''\n    return knife\n"
        )
        edges.told = ""
        assert ask(f"peel a {fruit}")[0] == f"{path}:1-3", (edge, edges.told)
    said = {edge: ask("peel an elderberry with a knife") for edge, ask in edges.ways.items()}
    searched = {edge: hits for edge, hits in said.items() if "ask" not in edge}
    assert searched == dict.fromkeys(searched, said["Python"])
    assert said["tp ask"][0] == said["/api/ask"][0] == said["Python"][0]
