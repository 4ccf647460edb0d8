"""`tp mcp install`: what each agent's file holds afterwards, and that it starts the server."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from mcp import Client, StdioServerParameters

from turboprop.edges.cli.entry import main
from turboprop.edges.mcp import jsonc
from turboprop.edges.mcp.clients import CLIENTS


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path], files: dict[str, str]) -> Path:
    """Without an index, which took 3 s for each test; the server makes it."""
    return write_files(files)


def install(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("install", *arguments, cwd=cwd)


def run(command: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In this process: one of its own took 0.7 s of the 0.75 s."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["mcp", command, *map(str, arguments)])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    told = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess([command], code, *told)


def read(file: Path) -> dict[str, Any]:
    text = file.read_text("utf-8-sig")
    loaded: dict[str, Any]
    if file.suffix == ".toml":
        loaded = tomllib.loads(text)
    elif file.suffix == ".yaml":
        loaded = yaml.safe_load(text)
    else:
        loaded = jsonc.parse(text).value
    return loaded


def file_of(client: str, repo: Path, home: Path, user: bool) -> Path:
    agent = CLIENTS[client]
    return home / agent.user if user or not agent.project else repo / agent.project


def servers(client: str, file: Path) -> dict[str, Any]:
    found = read(file)
    for key in CLIENTS[client].keys:
        found = found[key]
    return found


def words(entry: dict[str, Any]) -> list[str]:
    """The whole command line of an entry, in whichever form."""
    command = entry.get("command", entry.get("cmd"))
    return [*command] if isinstance(command, list) else [command, *entry["args"]]


def test_the_server_imports_no_file_of_the_repository(repo: Path, own_places: Path) -> None:
    assert install("claude", "--user", cwd=repo).returncode == 0
    entry = servers("claude", own_places / ".claude.json")["turboprop"]
    (repo / "types.py").write_text("raise SystemExit('a file of the repository was run')\n")
    command = [entry["command"], *entry["args"]]
    done = subprocess.run(command, cwd=repo, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(client: str, repo: Path, own_places: Path) -> None:
    shown = install(client, "--print", cwd=repo)
    assert shown.returncode == 0
    file = file_of(client, repo, own_places, False)
    assert not file.exists()
    assert str(file) in shown.stderr
    done = install(client, cwd=repo)
    assert (done.returncode, str(file) in done.stdout) == (0, True)
    assert f"next: {CLIENTS[client].next_step}" in done.stdout
    assert file.read_text() == shown.stdout
    entry = servers(client, file)["turboprop"]
    if CLIENTS[client].project:
        assert words(entry) == ["tp", "mcp", "--repo", CLIENTS[client].repository]
        assert str(repo) not in file.read_text()
    else:
        assert words(entry) == [sys.executable, "-P", "-m", "turboprop", "mcp", "--repo", str(repo)]
    assert entry.get("type") == CLIENTS[client].more.get("type")
    before = file.read_bytes()
    assert "already" in install(client, cwd=repo).stdout
    assert file.read_bytes() == before
    listed = run("list", cwd=repo)
    assert f"{CLIENTS[client].title}  turboprop  {file}  {repo}" in listed.stdout.split("\n")
    gone = run("uninstall", client, cwd=repo)
    assert gone.returncode == 0, gone.stderr
    assert read(file) == {} if file.suffix == ".toml" else servers(client, file) == {}
    assert run("uninstall", client, cwd=repo).returncode == 1
    assert run("list", cwd=repo).returncode == 1


def test_a_file_for_everyone_names_other_repositories_from_where_it_is(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert install("claude", "--repo", repo, "--repo", other, cwd=repo).returncode == 0
    way = os.path.relpath(other, repo)
    assert words(servers("claude", repo / ".mcp.json")["turboprop"])[2:] == ["--repo", ".", "--repo", way]
    assert install("claude", "--absolute", "--repo", repo, "--repo", other, cwd=repo).returncode == 0
    assert words(servers("claude", repo / ".mcp.json")["turboprop"])[5:] == ["--repo", str(repo), "--repo", str(other)]
    again = install("claude", cwd=repo)
    assert (again.returncode, str(other) in again.stderr) == (0, True)
    assert words(servers("claude", repo / ".mcp.json")["turboprop"])[2:] == ["--repo", "."]


OTHER = '{"mcpServers": {"turboprop": {"command": "npx", "args": ["mcp", "--repo", "../private", "turboprop"]}}}'


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_another_server_of_the_name_is_left_alone(command: str, repo: Path) -> None:
    file = repo / ".mcp.json"
    file.write_text(OTHER)
    done = run(command, "claude", cwd=repo)
    step = "--name" if command == "install" else "tp mcp list"
    assert (done.returncode, done.stdout, "another server" in done.stderr, step in done.stderr) == (2, "", True, True)
    assert file.read_text() == OTHER


def test_an_entry_from_others_serves_nothing_outside_and_what_it_keeps_is_named(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (repo / "way").symlink_to(tmp_path / "private")
    file = repo / ".mcp.json"
    file.write_text(
        '{"mcpServers": {"turboprop": {"command": "tp", "args": ["mcp", "--repo", "../private", "--repo", "way",'
        ' "--repo", "app"], "env": {"PYTHONPATH": "./evil"}, "cwd": "/"}}}'
    )
    done = install("claude", cwd=repo)
    assert done.returncode == 0
    assert words(servers("claude", file)["turboprop"]) == ["tp", "mcp", "--repo", "app", "--repo", "."]
    assert "env (PYTHONPATH), cwd" in done.stderr
    assert f"{tmp_path / 'private'} {repo / 'way'}" in done.stderr


@pytest.mark.parametrize(
    ("client", "text", "left"),
    [
        (
            "claude",
            '{\n  "mcpServers": { // "gitlab"\n    "turboprop": {"command": "tp", "args": ["mcp"]}\n // last\n  }\n}\n',
            '{\n  "mcpServers": { // "gitlab"\n // last\n  }\n}\n',
        ),
        (
            "goose",
            "extensions: # mine\n  # gitlab: off\n  turboprop:\n    cmd: tp\n    args:\n    - mcp\n  # last\n",
            "extensions: {} # mine\n  # gitlab: off\n  # last\n",
        ),
        ("codex", '[mcp_servers.turboprop]\ncommand = "tp"\nargs = ["mcp"]\n# last\n', "# last\n"),
    ],
)
def test_uninstall_leaves_the_file_and_the_comments_in_it(
    client: str, text: str, left: str, repo: Path, own_places: Path
) -> None:
    file = own_places / CLIENTS[client].user
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert run("uninstall", client, "--user", cwd=repo).returncode == 0
    assert file.read_text() == left


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("claude", '{"mcpServers": {"turboprop": { // a\n  "type": "stdio", // b\n%s  "env": {} // c\n}}}\n'),
        ("goose", "extensions:\n  turboprop: # a\n    # b\n%s    timeout: 600 # c\n    1: x\n    name: code # d\n"),
        ("codex", "[mcp_servers.turboprop] # a\n# b\n%sstartup_timeout_sec = 60 # c\n"),
    ],
)
def test_install_leaves_the_comments_in_an_entry(client: str, text: str, repo: Path, own_places: Path) -> None:
    old = {
        "claude": '  "command": "tp", // e\n  "args": ["mcp"],\n',
        "goose": "    cmd: tp\n    args:\n    - mcp\n    enabled: false\n    type: stdio\n",
        "codex": 'command = "tp"\nargs = ["mcp"]\n',
    }[client]
    file = own_places / CLIENTS[client].user
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text % old)
    done = install(client, "--user", cwd=repo)
    assert done.returncode == 0, done.stderr
    changed = file.read_text()
    before, after = text.split("%s")
    assert changed.startswith(before)
    assert changed.endswith(after)
    assert "// e" in changed or client != "claude"
    assert words(servers(client, file)["turboprop"])[4:] == ["mcp", "--repo", str(repo)]
    if client == "goose":
        entry = servers(client, file)["turboprop"]
        assert (entry["timeout"], entry["enabled"], entry["name"]) == (600, False, "code")


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("claude", '{"a": 1, "mcpServers": null}'),
        ("claude", '{"a": 1, "mcpServers": {"turboprop": null}}'),
        ("opencode", '{"a": 1, "mcp": null}'),
        ("goose", "a: 1\nextensions:\n"),
        ("goose", "extensions: {} # mine\na: 1\n"),
        ("goose", "extensions: null\na: 1\n"),
    ],
)
def test_null_is_nothing(client: str, text: str, repo: Path, own_places: Path) -> None:
    file = own_places / CLIENTS[client].user
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert run("uninstall", client, "--user", cwd=repo).returncode == 1
    done = install(client, "--user", cwd=repo)
    assert done.returncode == 0, done.stderr
    assert (list(servers(client, file)), read(file)["a"]) == (["turboprop"], 1)
    assert file.read_text().count("extensions") == text.count("extensions")


def test_a_link_does_not_choose_the_format(repo: Path, own_places: Path) -> None:
    kept = own_places / "dotfiles/codex"
    kept.parent.mkdir()
    kept.write_text('model = "big"\n')
    file = own_places / CLIENTS["codex"].user
    file.parent.mkdir()
    file.symlink_to(kept)
    assert install("codex", "--user", cwd=repo).returncode == 0
    assert file.is_symlink()
    assert set(tomllib.loads(kept.read_text())) == {"model", "mcp_servers"}
    assert str(file) in run("list", cwd=repo).stdout


@pytest.mark.parametrize(
    ("client", "deep"), [("codex", "a=" + "[" * 20_000), ("goose", "[" * 20_000), ("claude", "[" * 20_000)]
)
def test_what_is_nested_deeply_is_not_understood(client: str, deep: str, repo: Path, own_places: Path) -> None:
    file = file_of(client, repo, own_places, False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(deep)
    assert "no agent knows" in run("list", cwd=repo).stderr
    done = install(client, cwd=repo)
    assert (done.returncode, "nested too deeply" in done.stderr) == (2, True)


@pytest.mark.parametrize("link", [".vscode", ".vscode/mcp.json"])
def test_a_link_in_the_repository_is_not_followed(link: str, repo: Path) -> None:
    (repo / ".git/hooks").mkdir(parents=True)
    (repo / link).parent.mkdir(exist_ok=True)
    (repo / link).symlink_to(repo / ".git/hooks" / Path(link).relative_to(".vscode"))
    done = install("vscode", cwd=repo)
    assert (done.returncode, ".git" in done.stderr) == (2, True)
    assert list((repo / ".git/hooks").iterdir()) == []
    (repo / "kept.json").write_text("{}")
    (repo / ".mcp.json").symlink_to("kept.json")
    assert "is a link" in install("claude", cwd=repo).stderr
    assert (repo / "kept.json").read_text() == "{}"


BEFORE = {
    ".json": '{\n  // mine\n  "theme": "dark", // here\n  %s\n  "last": [1, 2] /* end */\n}\n',
    ".toml": '# mine\nmodel = "big" # here\n\n[%s.other]\ncommand = "x" # y\n\n# the next\n[last]\nlist = [1]\n',
    ".yaml": "# mine\nmodel: big # here\n%s:\n    # over\n    other:\n        cmd: x # y\n\n# next\nlast: [1, 2]\n",
}


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
def test_install_and_uninstall_leave_the_file_as_it_was(client: str, user: bool, repo: Path, own_places: Path) -> None:
    agent, file = CLIENTS[client], file_of(client, repo, own_places, user)
    if client == "continue":
        pytest.skip("its file has our server alone")
    inner = '"other": {\n      "command": "x" // y\n    }'
    for key in reversed(agent.keys):
        inner = f'"{key}": {{\n    {inner},\n  }}' if key != agent.keys[0] else f'"{key}": {{\n    {inner}\n  }}'
    text = BEFORE[file.suffix] % (inner + "," if file.suffix == ".json" else agent.keys[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    options = ["--user"] if user else []
    assert install(client, *options, cwd=repo).returncode == 0
    assert set(servers(client, file)) == {"other", "turboprop"}
    changed = file.read_text()
    assert [line for line in text.split("\n") if line.rstrip(",") not in changed] == []
    assert run("uninstall", client, *options, cwd=repo).returncode == 0
    assert read(file) == read_text(text, file)
    assert file.read_text().replace(",", "") == text.replace(",", "")


def read_text(text: str, file: Path) -> dict[str, Any]:
    copy = file.with_name(f"copy{file.suffix}")
    copy.write_text(text)
    return read(copy)


def test_a_file_of_the_first_opencode(repo: Path) -> None:
    file = repo / "opencode.json"
    file.write_text('{"mcp": {"other": {"type": "local", "command": ["x"]}}}\n')
    assert install("opencode", cwd=repo).returncode == 0
    assert set(read(file)["mcp"]) == {"other", "turboprop"}
    assert run("uninstall", "opencode", cwd=repo).returncode == 0
    assert read(file) == {"mcp": {"other": {"type": "local", "command": ["x"]}}}


@pytest.mark.parametrize(
    ("content", "said"),
    [("extensions: [1]\n", "does not hold"), ("extensions: {a: {cmd: x}}\n", ""), ("a: [\n", ""), ("\t- x", "")],
)
def test_yaml_that_cannot_be_changed_is_left_alone(content: str, said: str, repo: Path, own_places: Path) -> None:
    file = own_places / CLIENTS["goose"].user
    file.parent.mkdir(parents=True)
    file.write_text(content)
    done = install("goose", cwd=repo)
    assert (done.returncode, said in done.stderr, "--print" in done.stderr) == (2, True, True)
    assert file.read_text() == content


def test_what_is_written_starts_the_server(repo: Path, own_places: Path) -> None:
    assert install("claude", cwd=repo).returncode == 0
    entry = read(repo / ".mcp.json")["mcpServers"]["turboprop"]
    scripts = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    async def steps() -> None:
        parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=scripts, cwd=repo)
        async with Client(parameters) as client:
            found = await client.call_tool("search_code", {"query": "listen on a port"})
            assert found.content[0].text.split("\n")[1].startswith("app/server.py:1-3")  # type: ignore[union-attr]

    anyio.run(steps)


@pytest.mark.parametrize("client", ["claude", "cursor", "windsurf", "codex"])
def test_nothing_in_the_file_is_lost(client: str, repo: Path, own_places: Path, tmp_path: Path) -> None:
    file = file_of(client, repo, own_places, True)
    file.parent.mkdir(exist_ok=True, parents=True)
    (key,) = CLIENTS[client].keys
    if client == "codex":
        file.write_text(
            f'# mine\nmodel = "big"\n\n[{key}.other]\ncommand = "x" # y\n\n'
            f'[{key}.turboprop]\nenv = {{ A = "1" }}\ncommand = "old"\nargs = ["-m", "turboprop", "mcp"]\n'
        )
    else:
        file.write_text(
            f'{{\n   "theme": "dark", "{key}": {{"other": {{"command": "x"}},\n'
            f'   "turboprop": {{"env": {{"A": "1"}}, "command": "old", "args": ["-m", "turboprop", "mcp"]}}}},\n'
            '   "list": [1,2]\n}\n'
        )
    file.chmod(0o600)
    before = read(file)
    assert install(client, "--user", cwd=repo).returncode == 0
    after = read(file)
    ours = after[key].pop("turboprop")
    assert before[key].pop("turboprop")["env"] == {"A": "1"}
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
    assert (f"{file} is a link" if kind == "link to itself" else f"cannot read {file}") in done.stderr
    assert "defect" not in done.stderr


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from turboprop.edges.mcp import config_files

    file = tmp_path / "settings.json"
    file.write_text("{}")
    file.chmod(0o600)
    modes: list[int] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (modes.append(os.stat(old).st_mode & 0o777), replace(old, new)))
    old = os.umask(0)
    try:
        config_files.replace_text(file, '{"token": "secret"}', "utf-8")
    finally:
        os.umask(old)
    assert modes == [0o600]
