"""`/api/files`: which files are indexed, which changed since, and which are left out and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, get_args

from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.search_api import flag, whole
from turboprop.edges.http.state import state_of
from turboprop.workspace.workspace import FileState

if TYPE_CHECKING:
    from starlette.requests import Request

STATES: tuple[FileState, ...] = get_args(FileState)
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
    """Files of a repository in path order, by state and by a part of their path; without `look` as last seen."""
    given = request.query_params
    repository = state_of(request).workspace.get(given.get("repo"))
    wanted, part, limit = given.get("state"), given.get("contains", "").lower(), whole(request, "limit", 200)
    if wanted is not None and wanted not in STATES:
        raise RequestError(400, f"state is one of: {', '.join(STATES)}", "invalid_value", "state")
    rows = await state_of(request).in_thread(repository.files, look=flag(request, "look", True))
    found = [row for row in rows if (wanted is None or row.state == wanted) and part in row.path.lower()]
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    shown = [dataclasses.asdict(row) for row in found[: min(limit, MOST_FILES)]]
    return JSONResponse({"files": shown, "total": len(found), "counts": counts})
