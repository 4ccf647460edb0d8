"""The coding agents: where each keeps its servers, what it wants there, and what its user does next.

As of December 2026, by the documentation of each agent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

Form = Literal["command and args", "one command", "cmd and args"]
_WORKSPACE = "${workspaceFolder}"
"""What VS Code and its kin write for the repository; the others start a server in it."""


@dataclass(frozen=True, slots=True)
class AgentClient:
    """One agent. Files are relative to the home and to the repository; either is empty where it has none.

    `keys` is the path to the servers in the file, `more` what an entry has beside its command. `next_step` is for its
    user, after the file was written.
    """

    title: str
    keys: tuple[str, ...]
    user: str
    project: str
    next_step: str
    more: dict[str, Any] = field(default_factory=dict)
    form: Form = "command and args"
    repository: str = "."


@dataclass(frozen=True, slots=True)
class Place:
    """A file that an agent reads. `root` is the repository that it lies in, None for one of the home."""

    agent: AgentClient
    file: Path
    root: Path | None


_STDIO = {"type": "stdio"}
_ROAMING, _SUPPORT = "AppData/Roaming", "Library/Application Support"
_CODE = {"win32": _ROAMING, "darwin": _SUPPORT}.get(sys.platform, ".config") + "/Code/User"
_WINDOWS = sys.platform == "win32"
_SERVERS = ("mcpServers",)
CLIENTS = {
    "claude": AgentClient(
        "Claude Code",
        _SERVERS,
        ".claude.json",
        ".mcp.json",
        "start `claude` in the repository and approve the server; /mcp shows it",
        _STDIO,
    ),
    "cursor": AgentClient(
        "Cursor",
        _SERVERS,
        ".cursor/mcp.json",
        ".cursor/mcp.json",
        "switch the server on in Cursor's settings, under MCP",
        repository=_WORKSPACE,
    ),
    "vscode": AgentClient(
        "VS Code",
        ("servers",),
        f"{_CODE}/mcp.json",
        ".vscode/mcp.json",
        "run `MCP: List Servers` in VS Code, start the server and trust it",
        _STDIO,
        repository=_WORKSPACE,
    ),
    "windsurf": AgentClient(
        "Windsurf", _SERVERS, ".codeium/windsurf/mcp_config.json", "", "press refresh in Windsurf's list of MCP servers"
    ),
    "codex": AgentClient(
        "Codex",
        ("mcp_servers",),
        ".codex/config.toml",
        ".codex/config.toml",
        "start `codex` anew, and trust the project if it asks: it reads a repository's file only then; /mcp shows it",
    ),
    "zed": AgentClient(
        "Zed",
        ("context_servers",),
        f"{_ROAMING}/Zed/settings.json" if _WINDOWS else ".config/zed/settings.json",
        ".zed/settings.json",
        "look for the green dot in Zed's agent settings; trust the worktree if Zed asks",
    ),
    "gemini": AgentClient(
        "Gemini CLI",
        _SERVERS,
        ".gemini/settings.json",
        ".gemini/settings.json",
        "start `gemini` anew, and trust the folder if it asks; /mcp shows the server",
    ),
    "opencode": AgentClient(
        "opencode",
        ("mcp", "servers"),
        ".config/opencode/opencode.json",
        "opencode.json",
        "start `opencode` anew; `opencode mcp list` shows the server",
        {"type": "local"},
        "one command",
    ),
    "cline": AgentClient(
        "Cline",
        _SERVERS,
        ".cline/data/settings/cline_mcp_settings.json",
        "",
        "look for the server under Cline's MCP Servers, Configure",
    ),
    "roo": AgentClient(
        "Roo Code",
        _SERVERS,
        f"{_CODE}/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        ".roo/mcp.json",
        "press Refresh MCP Servers in Roo Code's MCP view",
    ),
    "continue": AgentClient(
        "Continue",
        _SERVERS,
        ".continue/mcpServers/turboprop.json",
        ".continue/mcpServers/turboprop.json",
        "use Continue's agent mode; it reloads the file by itself",
    ),
    "copilot": AgentClient(
        "Copilot CLI",
        _SERVERS,
        ".copilot/mcp-config.json",
        ".mcp.json",
        "start `copilot` anew, and trust the folder if it asks; /mcp show lists the server",
        {"type": "stdio", "tools": ["*"]},
    ),
    "jetbrains": AgentClient(
        "JetBrains (Junie)",
        _SERVERS,
        ".junie/mcp/mcp.json",
        ".junie/mcp/mcp.json",
        "look for the server in the IDE's settings, Tools, Junie, MCP Settings; the AI Assistant imports the same text",
    ),
    "amp": AgentClient(
        "Amp",
        ("amp.mcpServers",),
        ".config/amp/settings.json",
        ".amp/settings.json",
        "start `amp` anew; `amp mcp approve turboprop` approves a repository's server",
    ),
    "goose": AgentClient(
        "Goose",
        ("extensions",),
        f"{_ROAMING}/Block/goose/config/config.yaml" if _WINDOWS else ".config/goose/config.yaml",
        "",
        "start a new session of `goose`",
        {"enabled": True, "type": "stdio", "name": "turboprop", "timeout": 300},
        "cmd and args",
    ),
    "kiro": AgentClient(
        "Kiro",
        _SERVERS,
        ".kiro/settings/mcp.json",
        ".kiro/settings/mcp.json",
        "Kiro connects when the file is saved; its MCP panel shows the server",
    ),
    "qwen": AgentClient(
        "Qwen Code",
        _SERVERS,
        ".qwen/settings.json",
        ".qwen/settings.json",
        "start `qwen` anew; /mcp shows the server",
    ),
    "crush": AgentClient("Crush", ("mcp",), ".config/crush/crush.json", ".crush.json", "start `crush` anew", _STDIO),
    "warp": AgentClient(
        "Warp",
        _SERVERS,
        ".warp/.mcp.json",
        ".warp/.mcp.json",
        "switch the server on in Warp's settings, Agents, MCP servers",
    ),
}


def entry(client: AgentClient, name: str, repos: Sequence[Path], base: Path | None) -> dict[str, Any]:
    """What starts the server.

    With `base`, the repository that the file lies in, it holds for everyone who has a copy: `tp` by its name, and
    repositories by the way from there. Without, it names this Python by its path, so no search path has to be set.
    """
    if base is not None:
        command, arguments = "tp", ["mcp"]
    else:  # -P: agents start it in the repository, whose `types.py` Python would else import as its own
        command, arguments = sys.executable, ["-P", "-m", "turboprop", "mcp"]
    for repo in repos:
        arguments += ["--repo", str(repo) if base is None else _from(base, repo, client.repository)]
    more = {**client.more, "name": name} if "name" in client.more else client.more
    if client.form == "one command":
        return {**more, "command": [command, *arguments]}
    return {**more, "cmd" if client.form == "cmd and args" else "command": command, "args": arguments}


def served(made: dict[str, Any], root: Path | None) -> list[Path]:
    """The repositories that an entry names, if it is one of ours; those of a file in `root` are seen from there."""
    words = made.get("command")
    words = words if isinstance(words, list) else made.get("args")
    if not isinstance(words, list) or "mcp" not in words:
        return []
    values = [value for option, value in pairwise(words) if option == "--repo" and isinstance(value, str)]
    base = root if root is not None else Path.home()
    return [Path(os.path.normpath(base / value.replace(_WORKSPACE, "."))) for value in values]


def is_ours(made: Any) -> bool:
    """Whether an entry starts this server."""
    if not isinstance(made, dict):
        return False
    command, arguments = made.get("command", made.get("cmd")), made.get("args", [])
    words = [*command] if isinstance(command, list) else [command, *(arguments if isinstance(arguments, list) else [])]
    words = [word for word in words if isinstance(word, str) and word != "--debug"]
    return any(Path(program).stem in ("tp", "turboprop") and then == "mcp" for program, then in pairwise(words))


def _from(base: Path, repo: Path, here: str) -> str:
    way = Path(os.path.relpath(repo, base)).as_posix()
    return here if way == "." else f"{here}/{way}" if here != "." else way
