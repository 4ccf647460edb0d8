"""Where each agent keeps its servers, and what it wants there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from turboprop.edges.mcp.jsonc import parse, with_member
from turboprop.edges.mcp.toml_text import with_table
from turboprop.errors import StorageError, UsageError
from turboprop.files import open_regular, replacing

_MOST_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class AgentClient:
    """One agent. Files are relative to the repository and to the home; `project` is empty where it has none."""

    title: str
    key: str
    user: str
    project: str = ""
    typed: bool = False
    """Whether an entry says `"type": "stdio"`."""


_CODE = {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}.get(sys.platform, ".config")
CLIENTS = {
    "claude": AgentClient("Claude Code", "mcpServers", ".claude.json", ".mcp.json", typed=True),
    "cursor": AgentClient("Cursor", "mcpServers", ".cursor/mcp.json", ".cursor/mcp.json"),
    "vscode": AgentClient("VS Code", "servers", f"{_CODE}/Code/User/mcp.json", ".vscode/mcp.json", typed=True),
    "windsurf": AgentClient("Windsurf", "mcpServers", ".codeium/windsurf/mcp_config.json"),
    "codex": AgentClient("Codex", "mcp_servers", ".codex/config.toml"),
}


def configuration_file(client: AgentClient, root: Path, user: bool) -> Path:
    """The file to write: in the repository where the agent reads one there and `user` is off, else in the home.

    Raises `UsageError` where the repository's file is a link that leads out of it.
    """
    if user or not client.project:
        return _resolved(Path.home() / client.user)
    file = _resolved(root / client.project)
    if not file.is_relative_to(root):
        raise UsageError(f"{root / client.project} leads out of the repository; write the user's file with --user")
    return file


def entry(client: AgentClient, repos: Sequence[Path]) -> dict[str, Any]:
    """What starts the server: this Python, so no search path and no virtual environment has to be set.

    -P: agents start it in the repository, whose `types.py` Python would else import as its own.
    """
    arguments = ["-P", "-m", "turboprop", "mcp"]
    for repo in repos:
        arguments += ["--repo", str(repo)]
    kind = {"type": "stdio"} if client.typed else {}
    return {**kind, "command": sys.executable, "args": arguments}


def snippet(client: AgentClient, name: str, made: dict[str, Any]) -> str:
    """The part of the configuration that is ours, as text."""
    if client.user.endswith(".toml"):
        return with_table("", (client.key, name), made)
    return json.dumps({client.key: {name: made}}, indent=2, ensure_ascii=False) + "\n"


def install(client: AgentClient, file: Path, name: str, repos: Sequence[Path]) -> bool:
    """Write the entry into the file, where everything else stays as it is; False where it stood there already.

    An entry of this name keeps its other keys, and the repositories that it serves. Raises `UsageError` for a file
    that cannot be understood and `StorageError` for one that cannot be written.
    """
    text, encoding = _read(file)
    toml = file.suffix == ".toml"
    try:
        there = _there(text, toml, client.key, name)
        served = _served(there)
        made = {**there, **entry(client, [*served, *(repo for repo in repos if repo not in served)])}
        if made == there:
            return False
        if toml:
            changed = with_table(text, (client.key, name), entry(client, _served(made)))
        else:
            changed = with_member(text, (client.key, name), made)
            _check(text, changed, client.key, name, made)
    except (ValueError, UsageError) as error:
        raise UsageError(
            f"{file} is not changed, because it cannot be understood: {error}. Add what --print shows by hand"
        ) from error
    _replace(file, changed, encoding)
    return True


def _there(text: str, toml: bool, key: str, name: str) -> dict[str, Any]:
    import tomllib

    if toml:
        whole: Any = tomllib.loads(text)
    else:
        whole = parse(text).value if text.strip() else {}
    servers = whole.get(key, {}) if isinstance(whole, dict) else None
    found = servers.get(name, {}) if isinstance(servers, dict) else None
    if not isinstance(found, dict):
        raise UsageError(f"{key} does not hold servers by name there")
    return found


def _served(there: dict[str, Any]) -> list[Path]:
    """The repositories of an entry that is ours."""
    arguments = there.get("args", [])
    if not isinstance(arguments, list) or "mcp" not in arguments:
        return []
    return [Path(value) for option, value in pairwise(arguments) if option == "--repo" and isinstance(value, str)]


def _check(before: str, after: str, key: str, name: str, made: dict[str, Any]) -> None:
    """That the new text says what the old one did, and the entry."""
    expected = parse(before).value if before.strip() else {}
    expected.setdefault(key, {})[name] = made
    if parse(after).value != expected:
        raise ValueError("the change would not be what was meant")


def _resolved(file: Path) -> Path:
    """Where a link leads; one that leads to itself is found when it is opened (`Path.resolve` raises RuntimeError)."""
    return Path(os.path.realpath(file))


def _read(file: Path) -> tuple[str, str]:
    try:
        with open_regular(file, follow=True) as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{file} has more than {_MOST_BYTES:,} bytes; add what --print shows by hand")
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text; add what --print shows by hand") from error


def _replace(file: Path, text: str, encoding: str) -> None:
    try:
        file = _resolved(file)  # people keep such files elsewhere and link to them: the link stays
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o777 if file.exists() else None
        with replacing(file, mode=0o644 if mode is None else mode) as stream:
            if mode is not None:
                os.chmod(stream.name, mode)  # noqa: PTH101  whatever the umask
            stream.write(text.encode(encoding))
    except (OSError, UnicodeEncodeError) as error:
        raise StorageError(f"cannot write {file}: {error}. Add what --print shows by hand") from error
