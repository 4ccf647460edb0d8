"""`tp mcp` as a process: nothing but the protocol on its standard output, and it ends with its client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def lines(*requests: dict[str, object]) -> str:
    return "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)


def test_nothing_but_protocol_on_stdout(repo: Path) -> None:
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "--debug", "mcp", "--repo", str(repo)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(lines({"id": 1, "method": "initialize", "params": hello}))
    process.stdin.write(lines({"method": "notifications/initialized"}))
    calls = [("search_code", {"query": "port"}), ("reindex", {}), ("read_chunk", {"path": "nowhere"})]
    for number, (name, arguments) in enumerate(calls, 2):
        call = {"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        process.stdin.write(lines(call))
    process.stdin.write("this is no JSON\n")
    process.stdin.flush()
    answered = set()
    while answered != {1, 2, 3, 4}:
        message = json.loads(process.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        answered.add(message.get("id"))
        answered.discard(None)
    rest, errors = process.communicate()
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert process.returncode == 0, errors


def test_a_wrong_repository_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", "mcp", "--repo", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist" in done.stderr


def test_the_sdk_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys\nfrom turboprop.edges.cli.entry import main\n"
        "try: main(['mcp', '--help'])\nexcept SystemExit: pass\nassert 'mcp' not in sys.modules, 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [[], ["--repo", "."]], ids=["no --repo", "--repo . in a home"])
def test_no_index_is_made_where_nobody_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    if arguments:
        monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes.txt").write_text("a home, not a repository\n")
    code = (
        "import asyncio, os, sys\nfrom mcp import Client, StdioServerParameters\n"
        "async def main():\n"
        f"    arguments = ['-m', 'turboprop', 'mcp', *{arguments}]\n"
        "    server = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))\n"
        "    async with Client(server) as client:\n"
        "        print((await client.call_tool('search_code', {'query': 'notes'})).content[0].text)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "there is no index of" in done.stdout, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt"}
