"""What nothing carries is nothing, alike through every edge; what something carries says how sure it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from edges.http.conftest import InProcess
from edges.http.conftest import start_limited as start_limited
from turboprop import Index
from turboprop.edges.cli.entry import main
from turboprop.edges.http.limits import Limits
from turboprop.edges.mcp.server import make_server
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.workspace import Workspace

FILES = {
    "src/app.py": 'def start_server(port):\n    """Listen on a port."""\n    return open_socket(port)\n',
    "src/retry.py": "def with_backoff(call):\n    try:\n        return call()\n    except OSError:\n        sleep(2)\n",
    "src/config.py": 'def load_settings(path):\n    with open(path, "rb") as file:\n        return read_toml(file)\n',
    "src/invoice.js": "export function totalWithTax(lines, rate) {\n  return sum(lines) * (1 + rate);\n}\n",
    "README.md": "# Demo\n\nA shop. Start the server, then order.\n",
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, "utf-8")
    Index.create(root).close()
    return root


@pytest.fixture
def served(start_limited: Callable[..., InProcess], repo: Path) -> Iterator[httpx.Client]:
    server = start_limited(Limits(), repos=(str(repo),))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def cli(repo: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["search", *arguments, "--repo", str(repo)])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def mcp(repo: Path, **arguments: Any) -> str:
    models = ModelManager()
    pool = IndexPool(models)
    workspace = Workspace(pool, [repo])

    async def call() -> str:
        async with Client(make_server(workspace, refresh=False)) as client:
            return str((await client.call_tool("search_code", arguments)).content[0].text)

    try:
        return anyio.run(call)
    finally:
        workspace.close()
        pool.clear()
        models.close()


NOTHING = ["xyzzyqwerty", "kubernetes pod eviction", "medieval castle siege", "???", '""', "!= &&", "\U0001f680"]


@pytest.mark.parametrize("query", NOTHING)
def test_in_the_library_and_on_the_command_line(repo: Path, capsys: pytest.CaptureFixture[str], query: str) -> None:
    with Index.open(repo) as index:
        assert index.search(query) == []
    code, out, err = cli(repo, capsys, query)
    assert (code, out) == (1, "")
    assert err.startswith("nothing found")
    assert ("no word to look for" in err) == (not any(char.isalpha() for char in query))
    code, out, _ = cli(repo, capsys, query, "--json")
    answer = json.loads(out)
    assert (code, answer["sure"], answer["hits"]) == (1, "nothing", [])


def test_over_http_and_mcp(repo: Path, served: httpx.Client) -> None:
    for query in NOTHING:
        answer = served.post("/api/search", json={"query": query}).json()
        assert (answer["sure"], answer["hits"]) == ("nothing", [])
    assert served.post("/api/search", json={"query": "with_backof"}).json()["sure"] in ("weak", "nothing")
    answer = served.post("/api/search", json={"query": "start the server"}).json()
    assert (answer["sure"], answer["hits"][0]["sure"], answer["nearest"]) == ("strong", "strong", [])
    assert mcp(repo, query="xyzzyqwerty") == "nothing found"
    assert mcp(repo, query="start the server").split("\n")[1].endswith("start_server")


def test_what_may_have_been_meant_is_told(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(repo, capsys, "invioce", "--mode", "lexical") == (1, "", "nothing found: did you mean invoice?\n")
    _, out, _ = cli(repo, capsys, "invioce", "--mode", "lexical", "--json")
    assert json.loads(out)["nearest"] == ["invoice"]
    assert "invoice" in mcp(repo, query="invioce", mode="lexical")


@pytest.mark.parametrize("query", ["start the server", "load_settings", "src/app.py:2", "listen on a port"])
def test_what_is_there_is_sure(repo: Path, capsys: pytest.CaptureFixture[str], query: str) -> None:
    code, out, err = cli(repo, capsys, query, "--json")
    answer = json.loads(out)
    assert (code, err, answer["sure"], answer["hits"][0]["sure"]) == (0, "", "strong", "strong")


def test_a_threshold_shows_what_is_not_sure(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = cli(repo, capsys, "xyzzyqwerty", "--threshold", "0", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["sure"] == "nothing"
    assert {hit["sure"] for hit in answer["hits"]} == {"nothing"}


def test_a_long_traceback_comes_from_standard_input(
    repo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frames = "".join(
        f'  File "/usr/lib/python3.11/site-packages/m{n}.py", line 1, in f\n    g()\n' for n in range(3_000)
    )
    text = (
        f'Traceback (most recent call last):\n{frames}  File "/srv/src/retry.py", line 5, in with_backoff\nOSError: no'
    )
    (tmp_path / "trace.txt").write_text(text, "utf-8")
    with (tmp_path / "trace.txt").open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        code, out, _ = cli(repo, capsys, "-", "--json")
    assert code == 0
    assert json.loads(out)["hits"][0]["path"] == "src/retry.py"


def test_paths_behind_the_words(
    repo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def paths(*words: str) -> tuple[set[str], str]:
        with pytest.raises(SystemExit):
            main(["search", *words, "--output", "paths"])
        said = capsys.readouterr()
        return set(said.out.split()), said.err

    monkeypatch.chdir(repo)
    assert paths("start", "server", "src/app.py") == ({"src/app.py"}, "")
    assert "README.md" not in paths("start", "server", "./src")[0]
    found, said = paths("start", "server", "src")
    assert "README.md" in found
    assert "./src" in said
    monkeypatch.chdir(repo / "src")
    assert paths("start", "server", "--filter", "./app.py")[0] == {"app.py"}
    assert paths("start", "server", "--filter", "../*.md")[0] == {"../README.md"}
