"""`tp serve` as it is put together: the tools for agents beside the rest, over the same models."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client

from turboprop import Index

Write = Callable[[dict[str, str]], Path]
FILES = {
    "src/bank.py": "def withdraw(amount):\n    '''Take money out of an account.'''\n    return -amount\n",
    "src/queue.py": "def enqueue(job):\n    '''Put a job at the end.'''\n    JOBS.append(job)\n",
}


@pytest.fixture
def address(write_files: Write) -> Iterator[str]:
    root = write_files(FILES)
    Index.create(root).close()
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "serve", "--port", "0", "--repo", str(root)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    while "ready" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    match = re.search(r"http://[\d.]+:\d+", said)
    assert match is not None
    yield match[0]
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("times", [1, 2])
def test_the_server_ends_without_a_word(write_files: Write, times: int) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "serve", str(root), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address = ""
    for line in process.stderr:
        address = address or re.search(r"http://[\d.]+:\d+", line)[0]  # type: ignore[index]
        if "ready" in line:
            break
    assert httpx.get(f"{address}/api/status").status_code == 200
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)  # or the system makes one of two
    said = process.communicate()[1]
    assert (process.returncode, said) == (0, "")


def test_without_a_path_the_repository_of_the_current_folder_is_served(write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    (root / "deep/inside").mkdir(parents=True)
    command = [sys.executable, "-m", "turboprop", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=root / "deep/inside", stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "ready" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    match = re.search(r"http://[\d.]+:\d+", said)
    assert match is not None
    assert [each["path"] for each in httpx.get(f"{match[0]}/api/status").json()["repos"]] == [str(root)]
    process.send_signal(signal.SIGTERM)
    process.communicate()


def test_agents_and_others_share_one_server(address: str) -> None:
    async def ask() -> tuple[set[str], str]:
        async with Client(f"{address}/mcp") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            answer = await client.call_tool("search_code", {"query": "take money out"})
            return names, answer.content[0].text  # type: ignore[union-attr]

    # In a thread: the browser's driver, where its tests ran before, leaves a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        names, text = pool.submit(anyio.run, ask).result()
    assert {"search_code", "similar_code", "read_chunk", "ask_code", "index_status", "reindex"} <= names
    assert "src/bank.py:1-3" in text
    found = httpx.post(f"{address}/api/search", json={"query": "take money out", "limit": 1}).json()
    assert found["hits"][0]["path"] == "src/bank.py"
    loaded = [model for model in httpx.get(f"{address}/api/status").json()["models"] if model["state"] == "loaded"]
    assert len(loaded) == 1, json.dumps(loaded)
    # Nobody holds it between two searches, so its memory can be given back.
    assert httpx.post(f"{address}/api/models/unload", json={"model": loaded[0]["name"]}).status_code == 200


def test_another_origin_reaches_no_tool(address: str) -> None:
    refused = httpx.post(f"{address}/mcp", json={}, headers={"origin": "http://evil.example"})
    assert refused.status_code == 403
    assert httpx.post(f"{address}/mcp", json={}, headers={"host": "evil.example"}).status_code in (400, 403, 421)


def test_the_log_is_written_to_a_file_too(write_files: Write, tmp_path: Path) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    log = tmp_path / "serve.log"
    command = [sys.executable, "-m", "turboprop", "serve", str(root), "--port", "0", "--log", str(log)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "ready" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGTERM)
    process.communicate()
    written = log.read_text("utf-8")
    # What the models did, with times; the address and a key are for the terminal alone.
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO .*MiniLM", written, re.MULTILINE), written
    assert "http://" not in written
    refused = subprocess.run([*command[:-1], str(tmp_path / "no/such/folder/x.log")], capture_output=True, text=True)
    assert (refused.returncode, "cannot be used" in refused.stderr) == (2, True)


def test_the_log_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    code = (
        "import logging, sys\nfrom turboprop.serve import _log_to\n_log_to(sys.argv[1])\n"
        "for number in range(30): logging.getLogger('turboprop').warning('%d ' + 'x' * 1_000_000, number)"
    )
    subprocess.run([sys.executable, "-c", code, str(log)], check=True, stderr=subprocess.DEVNULL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"serve.log{end}" for end in ("", ".1", ".2", ".3")]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000_000
