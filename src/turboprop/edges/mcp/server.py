"""The tools, as a server of the official SDK. Every result is text: structured output would send it twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from turboprop import __version__
from turboprop.edges.mcp.text import DEEPEST, SNIPPET_LINES, hits_page, page_start
from turboprop.errors import TurboPropError

if TYPE_CHECKING:
    from turboprop.edges.mcp.repositories import Repositories

P = ParamSpec("P")

Repo = Annotated[str | None, Field(description="Name of the repository, where several are served.")]
Cursor = Annotated[str | None, Field(description="Where to go on: the cursor that the last page ended with.")]
Limit = Annotated[int, Field(description="Hits of one page.", ge=1, le=50)]
Lines = Annotated[int, Field(description="Lines shown of each hit; 0 shows the places alone.", ge=0, le=100)]
Paths = Annotated[list[str] | None, Field(description='Globs that narrow by path: "src/**", "!tests/**".')]
Languages = Annotated[list[str] | None, Field(description='Narrow by language: "python", "go".')]


def make_server(repositories: Repositories) -> MCPServer:
    """A server with all tools on the given repositories."""
    named = ", ".join(repository.name for repository in repositories.all)
    server: MCPServer = MCPServer(
        "turboprop",
        title="TurboProp code search",
        instructions=(
            f"Searches code by meaning and by words, locally. Served: {named}. Ask search_code first with what the "
            "code does or an identifier; results cite path:start-end, and read_chunk shows those lines."
        ),
        version=__version__,
        log_level="WARNING",
    )
    tools = _Tools(repositories)
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    add = partial(server.add_tool, structured_output=False)
    add(_told(tools.search_code), annotations=reads)
    return server


def _told(tool: Callable[P, str]) -> Callable[P, str]:
    """Errors of ours are for the model to read; anything else is a defect, which the SDK reports without its text."""

    @wraps(tool)
    def telling(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return tool(*args, **kwargs)
        except TurboPropError as error:
            raise ToolError(str(error)) from error

    return telling


class _Tools:
    """One method a tool; its signature is the schema and its docstring what the model is told."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories

    def search_code(
        self,
        query: Annotated[str, Field(description="What the code does, an identifier, or an error message.")],
        limit: Limit = 8,
        paths: Paths = None,
        languages: Languages = None,
        mode: Annotated[
            Literal["hybrid", "semantic", "lexical"], Field(description="By meaning and words, or by one of them.")
        ] = "hybrid",
        lines: Lines = SNIPPET_LINES,
        repo: Repo = None,
        cursor: Cursor = None,
    ) -> str:
        """Find code by meaning and by words. Hits come best first, each as path:start-end, names, and its lines."""
        start = page_start(cursor)
        with self._repositories.index(self._repositories.named(repo)) as index:
            wanted = min(start + limit + 1, DEEPEST)
            hits = index.search(query, wanted, mode, filters=paths or (), languages=languages or ())
        return hits_page(hits, start, limit, lines, "nothing found" if not start else "no more hits")
