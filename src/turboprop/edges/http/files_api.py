"""`/api/files`: which files are indexed, which changed since, and which are left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop.code.walk import walk
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.search_api import whole
from turboprop.edges.http.state import state_of
from turboprop.errors import IndexNotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.workspace.repositories import Repository

FileState = Literal["indexed", "changed", "left out"]
STATES: tuple[FileState, ...] = ("indexed", "changed", "left out")
MOST_FILES = 500


class FileRow(TypedDict):
    path: str
    state: FileState
    language: str
    chunks: int
    reason: str


class FilesAnswer(TypedDict):
    files: list[FileRow]
    total: int
    counts: dict[str, int]


async def files(request: Request) -> Response:
    """Files of a repository in path order, by state and by a part of their path."""
    given = request.query_params
    repository = state_of(request).repositories.get(given.get("repo"))
    wanted, part, limit = given.get("state"), given.get("contains", "").lower(), whole(request, "limit", 200)
    if wanted is not None and wanted not in STATES:
        raise RequestError(400, f"state is one of: {', '.join(STATES)}", "invalid_value", "state")
    rows = await state_of(request).in_thread(lambda: sorted(_rows(repository), key=lambda row: row["path"]))
    found = [row for row in rows if (wanted is None or row["state"] == wanted) and part in row["path"].lower()]
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    return JSONResponse({"files": found[: min(limit, MOST_FILES)], "total": len(found), "counts": counts})


def _rows(repository: Repository) -> Iterator[FileRow]:
    """What the walk sees, and what the index holds of it; a file that is gone has changed too."""
    try:
        with repository.opened() as index:
            known = index.reader.manifest().files
        status = repository.status()
        changed = {*status.stale, *status.removed}
    except IndexNotFoundError:
        known, changed = {}, set()
    seen = walk(repository.root)
    for skipped in seen.skipped:
        detail = f" ({skipped.detail})" if skipped.detail else ""
        yield {
            "path": skipped.path,
            "state": "left out",
            "language": "",
            "chunks": 0,
            "reason": skipped.reason + detail,
        }
    there = {file.path for file in seen.files}
    for path in there | set(known):
        file = known.get(path)
        fresh = file is not None and path not in changed
        reason = (
            "" if fresh else "gone" if path not in there else "not indexed yet" if file is None else "changed since"
        )
        yield {
            "path": path,
            "state": "indexed" if fresh else "changed",
            "language": file.language if file else "",
            "chunks": file.chunks if file else 0,
            "reason": reason,
        }
