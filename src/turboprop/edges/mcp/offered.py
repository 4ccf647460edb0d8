"""What the server offers beside its tools: resources (an overview of each repository, a file, a symbol), and prompts
that an agent's user picks, with what they need already found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from turboprop.code.inside import lines_inside
from turboprop.edges.mcp.text import PAGE_CHARS, UNTRUSTED, numbered
from turboprop.edges.mcp.tools import Tools
from turboprop.errors import UsageError
from turboprop.printable import quoted_name
from turboprop.workspace.workspace import Workspace

SCHEME = "turboprop://"
_MOST_FOLDERS = 25
_README_LINES = 40
_READMES = ("README.md", "README.rst", "README.txt", "README", "readme.md")
TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "name": "file",
        "title": "A file",
        "uriTemplate": f"{SCHEME}file/{{repo}}/{{+path}}",
        "description": "An indexed file as it is now, with line numbers; long ones in part.",
        "mimeType": "text/plain",
    },
    {
        "name": "symbol",
        "title": "A symbol",
        "uriTemplate": f"{SCHEME}symbol/{{repo}}/{{name}}",
        "description": "Where a name is defined and what calls it.",
        "mimeType": "text/plain",
    },
)
_ARGUMENT = {
    "question": {"name": "question", "description": "What is to be explained.", "required": True},
    "symbol": {"name": "symbol", "description": "The name of a function, method or type.", "required": True},
    "repo": {"name": "repo", "description": "Name of the repository, where several are served.", "required": False},
}
PROMPTS: tuple[dict[str, Any], ...] = (
    {
        "name": "explain",
        "title": "Explain how something works",
        "description": "The code that a question is about, found and put before the model.",
        "arguments": [_ARGUMENT["question"], _ARGUMENT["repo"]],
    },
    {
        "name": "impact",
        "title": "What a change of a symbol touches",
        "description": "The definitions and the callers of a name, found and put before the model.",
        "arguments": [_ARGUMENT["symbol"], _ARGUMENT["repo"]],
    },
)


class Offered:
    """Resources and prompts over the same repositories as `tools`."""

    def __init__(self, workspace: Workspace, tools: Tools) -> None:
        self._workspace, self._tools = workspace, tools

    def resources(self) -> list[dict[str, Any]]:
        """An overview of each repository."""
        return [
            {
                "name": f"overview of {quoted_name(repository.name)}",
                "title": f"Overview of {quoted_name(repository.name)}",
                "uri": f"{SCHEME}overview/{quote(repository.name, safe='')}",
                "description": "What is indexed, its languages and folders, and how its README begins.",
                "mimeType": "text/plain",
            }
            for repository in self._workspace
        ]

    def read(self, uri: str) -> str:
        """The text of a resource. Raises `UsageError` for an address that is none."""
        kind, _, rest = uri.removeprefix(SCHEME).partition("/")
        repo, _, name = rest.partition("/")
        repo, name = unquote(repo), unquote(name)
        if uri.startswith(SCHEME) and repo and (kind == "overview") == (not name):
            if kind == "overview":
                return self._overview(repo)
            if kind == "file":
                return self._tools.read_chunk(name, repo=repo)
            if kind == "symbol":
                return self._symbol(name, repo)
        raise UsageError(
            f"{uri[:200]!r} is no resource here; there are {SCHEME}overview/REPO, {SCHEME}file/REPO/PATH and "
            f"{SCHEME}symbol/REPO/NAME"
        )

    def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """The text of a prompt. Raises `UsageError` for one that is not there or lacks an argument."""
        known = next((prompt for prompt in PROMPTS if prompt["name"] == name), None)
        if known is None:
            raise UsageError(f"there is no prompt {name[:100]!r} here; there are explain and impact")
        for argument in known["arguments"]:
            if argument["required"] and not arguments.get(argument["name"], "").strip():
                raise UsageError(f"the prompt {name} needs {argument['name']}")
        repo = arguments.get("repo") or None
        if name == "explain":
            question = arguments["question"]
            found = self._tools.search_code(question, limit=6, lines=30, repo=repo)
            return (
                f"{question}\n\nExplain it from the code of this repository. Cite path:start-end for what you say, "
                "look further with search_code, find_symbol and read_chunk where what was found does not tell, and "
                f"say what the code does not show.\n\nFound:\n{found}"
            )
        symbol = arguments["symbol"]
        return (
            f"What would a change of {quoted_name(symbol)} touch? Look at each of its callers with read_chunk, and "
            "list by path:start-end what relies on its arguments, its result or its errors, tests apart. Calls are "
            f"found by name, not by type: leave out those that mean another one.\n\n{self._symbol(symbol, repo)}"
        )

    def _symbol(self, name: str, repo: str | None) -> str:
        defined = self._tools.find_symbol(name, repo=repo)
        called = self._tools.find_symbol(name, asked="calls", repo=repo)
        return f"{defined}\n\nCalled:\n{called}"

    def _overview(self, repo: str) -> str:
        repository = self._workspace.get(repo)
        status = self._tools.index_status(repository.name)
        with self._tools.opened(repository) as index:
            files = index.manifest().files
        languages = Counter(file.language or "text" for file in files.values())
        folders = Counter("/".join(PurePosixPath(path).parts[:-1][:2]) or "." for path in files)
        lines = [status, "", "Languages: " + ", ".join(f"{name} {count:,}" for name, count in languages.most_common(8))]
        shown = folders.most_common(_MOST_FOLDERS)
        lines += ["", "Files by folder:", *(f"{quoted_name(folder)}: {count:,}" for folder, count in sorted(shown))]
        if len(folders) > len(shown):
            lines.append(f"... {len(folders) - len(shown):,} more folders")
        readme = next((name for name in _READMES if name in files), None)
        if readme is not None:
            head = numbered(lines_inside(repository.root, readme)[:_README_LINES], 1)[: PAGE_CHARS // 2]
            lines += ["", f"{quoted_name(readme)}:1-{head.count(chr(10)) + 1}", head]
        return "\n".join([UNTRUSTED, *lines])
