"""`tp mcp install`: what each agent's file holds afterwards, and that it starts the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

PROJECT_FILES = {"claude": ".mcp.json", "cursor": ".cursor/mcp.json", "vscode": ".vscode/mcp.json"}
USER_FILES = {
    "claude": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "codex": ".codex/config.toml",
}
KEYS = {
    "claude": "mcpServers",
    "cursor": "mcpServers",
    "vscode": "servers",
    "windsurf": "mcpServers",
    "codex": "mcp_servers",
}


def install(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", "mcp", "install", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def read(file: Path) -> dict[str, Any]:
    text = file.read_text("utf-8")
    loaded: dict[str, Any] = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    return loaded


def file_of(client: str, repo: Path, home: Path, user: bool) -> Path:
    return home / USER_FILES[client] if user or client not in PROJECT_FILES else repo / PROJECT_FILES[client]


def test_the_server_imports_no_file_of_the_repository(repo: Path, own_places: Path) -> None:
    assert install("claude", cwd=repo).returncode == 0
    entry = read(file_of("claude", repo, own_places, False))["mcpServers"]["turboprop"]
    (repo / "types.py").write_text("raise SystemExit('a file of the repository was run')\n")
    command = [entry["command"], *entry["args"]]
    done = subprocess.run(command, cwd=repo, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("client", ["claude", "cursor", "vscode", "windsurf", "codex"])
def test_each_client(client: str, repo: Path, own_places: Path) -> None:
    shown = install(client, "--print", cwd=repo)
    assert shown.returncode == 0
    file = file_of(client, repo, own_places, False)
    assert not file.exists()
    assert str(file) in shown.stderr
    done = install(client, cwd=repo)
    assert (done.returncode, str(file) in done.stdout) == (0, True)
    assert file.read_text() == shown.stdout
    entry = read(file)[KEYS[client]]["turboprop"]
    assert entry["args"] == ["-P", "-m", "turboprop", "mcp", "--repo", str(repo)]
    assert (entry.get("type") == "stdio") == (client in ("claude", "vscode"))
    before = file.read_bytes()
    assert "already" in install(client, cwd=repo).stdout
    assert file.read_bytes() == before


def test_what_is_written_starts_the_server(repo: Path, own_places: Path) -> None:
    assert install("claude", cwd=repo).returncode == 0
    entry = read(repo / ".mcp.json")["mcpServers"]["turboprop"]

    async def steps() -> None:
        parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=dict(os.environ), cwd="/")
        async with Client(parameters) as client:
            found = await client.call_tool("search_code", {"query": "listen on a port"})
            assert found.content[0].text.split("\n")[1].startswith("app/server.py:1-3")  # type: ignore[union-attr]

    anyio.run(steps)


@pytest.mark.parametrize("client", ["claude", "cursor", "windsurf", "codex"])
def test_nothing_in_the_file_is_lost(client: str, repo: Path, own_places: Path, tmp_path: Path) -> None:
    file = file_of(client, repo, own_places, True)
    file.parent.mkdir(exist_ok=True, parents=True)
    key = KEYS[client]
    if client == "codex":
        file.write_text(
            f'# mine\nmodel = "big"\n\n[{key}.other]\ncommand = "x" # y\n\n'
            f'[{key}.turboprop]\nenv = {{ A = "1" }}\ncommand = "old"\n'
        )
    else:
        file.write_text(
            f'{{\n   "theme": "dark", "{key}": {{"other": {{"command": "x"}},\n'
            f'   "turboprop": {{"env": {{"A": "1"}}, "command": "old"}}}},\n   "list": [1,2]\n}}\n'
        )
    file.chmod(0o600)
    before = read(file)
    assert install(client, "--user", cwd=repo).returncode == 0
    after = read(file)
    ours = after[key].pop("turboprop")
    assert before[key].pop("turboprop") == {"env": {"A": "1"}, "command": "old"}
    assert after == before
    assert (ours["env"], ours["command"]) == ({"A": "1"}, sys.executable)
    assert file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert install(client, "--user", "--repo", other, cwd=repo).returncode == 0
    assert read(file)[key]["turboprop"]["args"][4:] == ["--repo", str(repo), "--repo", str(other)]
    assert install(client, "--user", "--name", "second", "--repo", other, cwd=repo).returncode == 0
    assert read(file)[key]["second"]["args"][4:] == ["--repo", str(other)]
    assert not list(file.parent.glob(".new-*"))


def test_comments_stay(repo: Path) -> None:
    file = repo / ".vscode/mcp.json"
    file.parent.mkdir()
    file.write_text('\ufeff{\n  // inputs of ours\n  "inputs": [],\n}\n', "utf-8")
    assert install("vscode", cwd=repo).returncode == 0
    text = file.read_text("utf-8")
    assert text.startswith('\ufeff{\n  // inputs of ours\n  "inputs": [],\n  "servers": {\n    "turboprop": {')


@pytest.mark.parametrize(
    ("client", "content"),
    [
        ("claude", "{ not json"),
        ("claude", "[]"),
        ("claude", '{"mcpServers": []}'),
        ("claude", '{"mcpServers": {"turboprop": 1}}'),
        ("codex", "[mcp_servers"),
        ("codex", 'mcp_servers = { other = { command = "x" } }'),
        ("codex", "mcp_servers = 1"),
    ],
)
def test_what_cannot_be_understood_is_left_alone(client: str, content: str, repo: Path, own_places: Path) -> None:
    file = file_of(client, repo, own_places, False)
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    done = install(client, cwd=repo)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--print" in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_text() == content


def test_a_link_out_of_the_repository_is_not_followed(repo: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_text("{}")
    (repo / ".mcp.json").symlink_to(target)
    done = install("claude", cwd=repo)
    assert (done.returncode, "leads out" in done.stderr) == (2, True)
    assert target.read_text() == "{}"


def test_a_link_in_the_home_is_followed(repo: Path, own_places: Path) -> None:
    dotfiles = own_places / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "claude.json").write_text('{"a": 1}')
    (own_places / ".claude.json").symlink_to(dotfiles / "claude.json")
    assert install("claude", "--user", cwd=repo).returncode == 0
    assert (own_places / ".claude.json").is_symlink()
    assert set(read(dotfiles / "claude.json")) == {"a", "mcpServers"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself"])
def test_what_is_no_file_is_said_and_never_waited_for(repo: Path, kind: str) -> None:
    file = repo / ".mcp.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file)
    done = install("claude", cwd=repo)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot read {file}" in done.stderr
    assert "defect" not in done.stderr


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from turboprop.edges.mcp import clients

    file = tmp_path / "settings.json"
    file.write_text("{}")
    file.chmod(0o600)
    modes: list[int] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (modes.append(os.stat(old).st_mode & 0o777), replace(old, new)))
    old = os.umask(0)
    try:
        clients._replace(file, '{"token": "secret"}', "utf-8")
    finally:
        os.umask(old)
    assert modes == [0o600]
