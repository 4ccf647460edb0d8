"""Search and what belongs to it: `/api/search`, `/api/grep`, `/api/symbols`, `/api/similar`, `/api/source`, `/api/map`,
`/api/start`, `/api/why`, `/api/health-findings`, `/api/status`."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast

from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import __version__, limits
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.jobs_api import JobAnswer, job_answer
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.state import read_model, state_of
from turboprop.errors import IndexNotFoundError, TurboPropError, UsageError
from turboprop.machine import peak_resident_bytes, resident_bytes
from turboprop.search.excerpt import shown_lines
from turboprop.search.patterns import Pattern
from turboprop.types import Sureness
from turboprop.workspace.workspace import Found, FoundLines

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.types import Hit
    from turboprop.workspace.diagnosis import Diagnosis
    from turboprop.workspace.workspace import Repository

_WHY = {
    "words": "the share of the query's words that it holds, rare ones counting more",
    "symbol": "it answers a question for definitions, calls or implementations of a name",
    "cosine": "how near its meaning is to the query's",
    "file words": "its file as a whole holds the query's words",
    "file name": "the query covers words of the file's name",
    "folder": "the query covers words of the folder's name",
    "definition": "it defines a name that the query has",
    "path": "the query is this path",
    "place": "the query names this place",
    "phrase": "it holds what the query has in quotes",
    "said before": "commits whose messages are like the report changed its file",
    "in title": "the share of the words of the report's title that it holds",
    "in prose": "the share of the words of the report's prose that it holds",
    "in code": "the share of the words of the report's code that it holds",
    "in traceback": "the share of the words of the report's traceback that it holds",
    "coherence": "other chunks of its file are good too",
    "kind of file": "tests and prose stand behind code unless asked for",
    "same file": "further chunks of one file count less",
}
SHOWN_LINES = 10
"""Lines of a hit that the page shows first: those that match, by the numbers in `shown`."""
_LATELY = 8
"""Files that are told as changed last."""
LONGEST_LINE = 2_000
"""Characters of a matching line that are told: minified code has lines of megabytes."""
Glob = Annotated[StrictStr, Field(max_length=limits.LONGEST_PATTERN)]
PATTERNS = {
    "type": "array",
    "items": {"type": "string", "maxLength": limits.LONGEST_PATTERN},
    "maxItems": limits.MOST_PATTERNS,
}
INTEGER = {"type": "integer", "minimum": 1, "maximum": 1_000_000_000}


class SearchRequest(RequestBody):
    query: Annotated[StrictStr, limits.QUERY]
    repo: StrictStr | None = None
    mode: limits.Mode = "hybrid"
    limit: Annotated[StrictInt, limits.HITS] = 20
    path: Annotated[list[Glob], Field(max_length=limits.MOST_PATTERNS)] = Field(default_factory=list)
    lang: Annotated[list[Glob], Field(max_length=limits.MOST_PATTERNS)] = Field(default_factory=list)
    regex: Annotated[StrictStr, Field(max_length=limits.PATTERN.most)] = ""
    by: limits.Unit = "chunk"
    explain: bool = False


class GrepRequest(RequestBody):
    pattern: Annotated[StrictStr, limits.PATTERN]
    repo: StrictStr | None = None
    limit: Annotated[StrictInt, limits.LINES] = 200
    path: Annotated[list[Glob], Field(max_length=limits.MOST_PATTERNS)] = Field(default_factory=list)
    lang: Annotated[list[Glob], Field(max_length=limits.MOST_PATTERNS)] = Field(default_factory=list)
    fixed: bool = False
    ignore_case: bool = False
    smart_case: bool = False
    words: bool = False


class PlaceRow(TypedDict):
    repo: str
    path: str
    first_line: int
    last_line: int
    name: str
    kind: str
    inside: str
    language: str
    text: str


class SymbolsAnswer(TypedDict):
    query: str
    asked: str
    places: list[PlaceRow]
    not_indexed: list[str]
    stale: dict[str, int]
    seconds: float


class LineRow(TypedDict):
    line: int
    text: str
    matches: list[list[int]]
    begin: NotRequired[int]
    length: NotRequired[int]


class GrepFileRow(TypedDict):
    repo: str
    path: str
    language: str
    lines: list[LineRow]


class GrepAnswer(TypedDict):
    pattern: str
    files: list[GrepFileRow]
    more: bool
    not_indexed: list[str]
    stale: dict[str, int]
    seconds: float


class ScorePart(TypedDict):
    name: str
    value: float
    why: str


class HitRow(TypedDict):
    repo: str
    path: str
    start_line: int
    end_line: int
    score: float
    language: str
    symbol: str
    text: str
    sure: NotRequired[Sureness]
    shown: list[int]
    why: NotRequired[str]
    copies: NotRequired[list[dict[str, Any]]]
    parts: NotRequired[list[ScorePart]]


class SearchAnswer(TypedDict):
    query: str
    sure: NotRequired[Sureness]
    nearest: NotRequired[list[str]]
    hits: list[HitRow]
    not_indexed: list[str]
    stale: dict[str, int]
    vectors: dict[str, float]
    seconds: float


class SourceAnswer(TypedDict):
    path: str
    language: str
    start_line: int
    end_line: int
    total_lines: int
    text: str


class MapRow(TypedDict):
    path: str
    language: str
    bytes: int
    chunks: int
    changed: float | None


class MapAnswer(TypedDict):
    files: list[MapRow]


class ChangedRow(TypedDict):
    path: str
    changed: float


class StartAnswer(TypedDict):
    examples: list[str]
    changed: list[ChangedRow]


class ChunkRow(TypedDict):
    start_line: int
    end_line: int
    kind: str
    symbol: str


class WhyAnswer(TypedDict):
    path: str
    indexed: bool
    state: str
    reason: str
    chunks: list[ChunkRow]


class FindingRow(TypedDict):
    level: str
    what: str
    repair: str


class FindingsAnswer(TypedDict):
    findings: list[FindingRow]


class RepoRow(TypedDict):
    name: str
    path: str
    indexed: bool
    files: NotRequired[int]
    chunks: NotRequired[int]
    vectors: NotRequired[int]
    bytes_on_disk: NotRequired[int]
    updated: NotRequired[float]
    complete: NotRequired[bool]
    stale: NotRequired[list[str]]
    removed: NotRequired[list[str]]
    model: NotRequired[str]
    dimensions: NotRequired[int]
    languages: NotRequired[dict[str, int]]
    problem: NotRequired[str]
    job: JobAnswer | None


class LoadedRow(TypedDict):
    name: str
    kind: str
    state: str
    engine: str
    device: str
    weights: str
    reason: str
    size_bytes: int
    in_use: int
    idle_seconds: float
    keep_alive_seconds: float | None
    dimensions: int | None
    context: int | None


class MemoryAnswer(TypedDict):
    budget: int
    used: int
    process_rss: int


class StatusAnswer(TypedDict):
    version: str
    repos: list[RepoRow]
    models: list[LoadedRow]
    memory: MemoryAnswer


async def search(request: Request) -> Response:
    """The best chunks of one repository, or of all."""
    state = state_of(request)
    wanted = await read_model(request, SearchRequest)
    started = time.perf_counter()
    # A search may load a model.
    found = await state.in_waiting_thread(_searched, state, wanted)
    state.metrics.time("tp_search_seconds", time.perf_counter() - started)
    rows = [hit_row(one.repo, one.hit, explain=wanted.explain) for one in found.hits]
    return _answer(wanted.query, rows, started, found)


async def grep(request: Request) -> Response:
    """The lines of indexed files that match a regular expression."""
    state = state_of(request)
    wanted = await read_model(request, GrepRequest)
    started = time.perf_counter()
    found = await state.in_waiting_thread(_lines_of, state, wanted)
    answer: GrepAnswer = {
        "pattern": wanted.pattern,
        "files": [
            {
                "repo": repo,
                "path": each.path,
                "language": each.language,
                "lines": [
                    _line_row(number, text, spans)
                    for number, text, spans in zip(each.numbers, each.texts, each.spans, strict=True)
                ],
            }
            for repo, each in found.files
        ],
        "more": found.more,
        "not_indexed": list(found.not_indexed),
        "stale": dict(found.stale),
        "seconds": time.perf_counter() - started,
    }
    return JSONResponse(answer)


def _line_row(number: int, text: str, spans: Sequence[tuple[int, int]]) -> LineRow:
    """A line; of a very long one the part where the pattern stands, where in the line that begins, and its length."""
    if len(text) <= LONGEST_LINE:
        return {"line": number, "text": text, "matches": [list(span) for span in spans]}
    begin = max(0, spans[0][0] - LONGEST_LINE // 4) if spans else 0
    shown = text[begin : begin + LONGEST_LINE]
    inside = [[first - begin, min(last - begin, len(shown))] for first, last in spans if first - begin < len(shown)]
    return {"line": number, "text": shown, "matches": inside, "begin": begin, "length": len(text)}


def _lines_of(state: ServerState, wanted: GrepRequest) -> FoundLines:
    pattern = Pattern(
        (wanted.pattern,),
        fixed=wanted.fixed,
        ignore_case=wanted.ignore_case,
        smart_case=wanted.smart_case,
        words=wanted.words,
    )
    return state.workspace.grep(pattern, wanted.limit, globs=wanted.path, languages=wanted.lang, only=wanted.repo)


def _answer(query: str, rows: list[HitRow], started: float, found: Found | None = None) -> Response:
    answer: SearchAnswer = {
        "query": query,
        "hits": rows,
        "not_indexed": list(found.not_indexed) if found else [],
        "stale": dict(found.stale) if found else {},
        "vectors": dict(found.vectors) if found else {},
        "seconds": time.perf_counter() - started,
    }
    if found is not None:
        answer |= {"sure": found.sure, "nearest": list(found.nearest)}
    return JSONResponse(answer)


def _searched(state: ServerState, wanted: SearchRequest) -> Found:
    narrowing: dict[str, Any] = {"globs": wanted.path, "languages": wanted.lang, "regex": wanted.regex, "by": wanted.by}
    return state.workspace.search(wanted.query, wanted.limit, wanted.mode, only=wanted.repo, **narrowing)


def hit_row(repo: str, hit: Hit, *, explain: bool) -> HitRow:
    """A hit as JSON has it."""
    row: HitRow = {
        "repo": repo,
        "path": hit.path,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "score": float(hit.score),
        "language": hit.language,
        "symbol": hit.symbol,
        "text": hit.text,
        "shown": list(shown_lines(hit, SHOWN_LINES)),
    }
    if hit.sure is not None:
        row["sure"] = hit.sure
    if hit.why:
        row["why"] = hit.why
    if hit.copies:
        row["copies"] = [each._asdict() for each in hit.copies]
    if explain:
        row["parts"] = [
            {"name": name, "value": float(value), "why": _WHY.get(name, "")} for name, value in hit.parts.items()
        ]
    return row


async def symbols(request: Request) -> Response:
    """Where a name is defined, called, or implemented."""
    state = state_of(request)
    query = request.query_params.get("query", "")
    asked, limit = request.query_params.get("asked", "definitions"), whole(request, "limit", 20)
    started = time.perf_counter()
    search = partial(
        state.workspace.symbols,
        globs=_patterns(request, "path"),
        languages=_patterns(request, "lang"),
        only=request.query_params.get("repo"),
    )
    found = await state.in_thread(search, query, limit, asked)
    answer: SymbolsAnswer = {
        "query": query,
        "asked": asked,
        "places": [cast("PlaceRow", {"repo": name, **each.as_json()}) for name, each in found.places],
        "not_indexed": list(found.not_indexed),
        "stale": dict(found.stale),
        "seconds": time.perf_counter() - started,
    }
    return JSONResponse(answer)


async def similar(request: Request) -> Response:
    """Chunks most like the one at a line of a file."""
    state = state_of(request)
    repository, path = _place(request)
    line, limit = whole(request, "line"), whole(request, "limit", 20)
    started = time.perf_counter()
    hits = await state.in_thread(repository.similar, path, line, limit)
    rows = [hit_row(repository.name, hit, explain=False) for hit in hits]
    return _answer(f"{path}:{line}", rows, started)


async def source(request: Request) -> Response:
    """Lines of an indexed file."""
    repository, path = _place(request)
    start, end = whole(request, "start", 1), whole(request, "end", 1_000_000_000)
    found = await state_of(request).in_thread(repository.source, path, start, end)
    return JSONResponse(dataclasses.asdict(found))


async def map_files(request: Request) -> Response:
    """Every indexed file with its size, language and last change."""
    state = state_of(request)
    repository = state.workspace.get(request.query_params.get("repo"))
    files = await state.in_thread(repository.map)
    return await state.in_thread(lambda: JSONResponse({"files": [dataclasses.asdict(file) for file in files]}))


async def start(request: Request) -> Response:
    """What a repository could be asked, and which of its files changed last."""
    state = state_of(request)
    repository = state.workspace.get(request.query_params.get("repo"))

    def found() -> StartAnswer:
        dated = [(file.changed, file.path) for file in repository.map() if file.changed is not None]
        return {
            "examples": list(repository.questions()),
            "changed": [{"path": path, "changed": when} for when, path in heapq.nlargest(_LATELY, dated)],
        }

    return JSONResponse(await state.in_thread(found))


async def why(request: Request) -> Response:
    """Why a file is indexed or not."""
    from turboprop.workspace.why import explain_file

    repository, path = _place(request)
    told = await state_of(request).in_thread(explain_file, repository.location(), str(repository.root / _inside(path)))
    return JSONResponse(dataclasses.asdict(told))


async def health_findings(request: Request) -> Response:
    """What is wrong with an index and its model, and how to mend it."""
    state = state_of(request)
    repository = state.workspace.get(request.query_params.get("repo"))
    found = await state.in_waiting_thread(_diagnosed, repository, flag(request, "look", True))
    rows = [{"level": one.subject, "what": one.problem, "repair": one.advice} for one in found.findings]
    return JSONResponse({"findings": rows})


def _diagnosed(repository: Repository, look: bool) -> Diagnosis:
    from turboprop.workspace.diagnosis import diagnose

    seen = None
    if not look:
        with contextlib.suppress(TurboPropError):  # of an index that cannot be read the diagnosis tells
            seen = repository.status(look=False)
    return diagnose(repository.location(), seen)


async def status(request: Request) -> Response:
    """Repositories, or the one that is named, after a look at their files; loaded models, memory."""
    state = state_of(request)
    name = request.query_params.get("repo")
    chosen = [state.workspace.get(name)] if name else state.workspace
    return JSONResponse(await state.in_thread(status_answer, state, chosen, look=True))


def status_answer(state: ServerState, repositories: Iterable[Repository], *, look: bool) -> StatusAnswer:
    """What the server has; without `look` no file of a repository is looked at."""
    budget, used = (sum(each.values()) for each in (state.manager.budgets, state.manager.reserved))
    resident = resident_bytes() or peak_resident_bytes() or 0
    return {
        "version": __version__,
        "repos": [_repo_row(state, repository, look=look) for repository in repositories],
        "models": loaded_rows(state),
        "memory": {"budget": budget, "used": used, "process_rss": resident},
    }


def loaded_rows(state: ServerState) -> list[LoadedRow]:
    """The models that are loaded or being loaded."""
    return [
        {
            "name": state.names.public(model.name),
            "kind": model.kind,
            "state": model.state,
            "engine": model.engine,
            "device": model.device,
            "weights": model.weights,
            "reason": model.reason,
            "size_bytes": model.reserved,
            "in_use": model.in_use,
            "idle_seconds": model.idle_seconds,
            "keep_alive_seconds": model.keep_alive,
            "dimensions": model.dimensions,
            "context": model.context,
        }
        for model in state.manager.status()
    ]


def _repo_row(state: ServerState, repository: Repository, *, look: bool) -> RepoRow:
    job = state.jobs.active("index", repository.name)
    row: RepoRow = {
        "name": repository.name,
        "path": str(repository.root),
        "indexed": False,
        "job": job_answer(job.status) if job else None,
    }
    try:
        found = repository.status(look=look)
        languages = repository.languages()
    except IndexNotFoundError:
        return row
    except TurboPropError as error:  # one damaged index must not hide the others
        row["problem"] = str(error)
        return row
    return {
        **row,
        "indexed": True,
        "files": found.files,
        "chunks": found.chunks,
        "vectors": found.vectors,
        "bytes_on_disk": found.bytes_on_disk,
        "updated": found.updated,
        "complete": found.complete,
        "stale": list(found.stale),
        "removed": list(found.removed),
        "model": found.model,
        "dimensions": found.dimensions,
        "languages": languages,
    }


def whole(request: Request, name: str, default: int | None = None) -> int:
    """A parameter of the query that is a whole number. Raises `RequestError`."""
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= 1_000_000_000:
        raise RequestError(400, f"{name} is a whole number from 1 to 1000000000", "invalid_value", name)
    return int(text)


def _patterns(request: Request, name: str) -> list[str]:
    """A parameter of the query that may be repeated. Raises `RequestError`."""
    given = request.query_params.getlist(name)
    if len(given) > limits.MOST_PATTERNS or any(len(each) > limits.LONGEST_PATTERN for each in given):
        most = f"at most {limits.MOST_PATTERNS} times, with {limits.LONGEST_PATTERN} characters"
        raise RequestError(400, f"{name} may be given {most}", "invalid_value", name)
    return given


def flag(request: Request, name: str, default: bool) -> bool:
    """A parameter of the query that is true or false. Raises `RequestError`."""
    text = request.query_params.get(name, str(default).lower())
    if text not in ("true", "false"):
        raise RequestError(400, f"{name} is true or false", "invalid_value", name)
    return text == "true"


def _place(request: Request) -> tuple[Repository, str]:
    repository = state_of(request).workspace.get(request.query_params.get("repo"))
    path = request.query_params.get("path")
    if not path:
        raise RequestError(400, "path is missing", "invalid_value", "path")
    return repository, path


def _inside(path: str) -> str:
    """A path below the repository's root; the file system is not asked about any other."""
    if "\x00" in path or len(path) > 4_096 or path.startswith(("/", "~", "\\")) or ".." in path.split("/"):
        raise UsageError("path lies outside of the repository")
    return path
