"""The page in a real browser, before the real server over a real index of a small repository.

What a language model would say, and downloads, are scripted: a test says what the server answers to questions.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from turboprop.edges.http.server import bound_socket, load_at_start, make_server, url_of
from turboprop.edges.http.state import ServerOptions, ServerState
from turboprop.runtime.manager import ModelManager
from turboprop.settings import load_settings
from turboprop.workspace.index import Index

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from starlette.requests import Request
    from starlette.responses import Response

HOSTILE_PATH = "src/<img src=x onerror=alert(1)>.js"
HOSTILE = """// </script><script>window.hacked = 1</script>
export function hostileTelescope(name) {
  document.title = "<img src=x onerror=window.hacked=2>";
  const reversed = "\u202e gnp.exe"; // a name that reads backwards
  return `<svg onload=window.hacked=3>${name}</svg>`; // javascript:alert(1)
}
"""
FILES = {
    "src/store/retry.py": '''"""Try again what failed."""

import time


def retry(work, attempts=3, wait=0.5):
    """Call `work` until it succeeds, waiting twice as long each time."""
    for attempt in range(attempts):
        try:
            return work()
        except ConnectionError:
            if attempt == attempts - 1:
                raise
            time.sleep(wait * 2**attempt)
''',
    "src/store/cache.py": '''"""Keep what was computed."""


class Cache:
    """The last answers, the oldest forgotten first."""

    def __init__(self, size):
        self.size = size
        self.entries = {}

    def get(self, key):
        return self.entries.get(key)

    def put(self, key, value):
        if len(self.entries) >= self.size:
            self.entries.pop(next(iter(self.entries)))
        self.entries[key] = value
''',
    "src/store/lock.py": '''"""One writer at a time."""

import os


def acquire(path):
    """Take the lock file, or raise FileExistsError where another process holds it."""
    return os.open(path, os.O_CREAT | os.O_EXCL)


def release(path, handle):
    """Give the lock back."""
    os.close(handle)
    os.unlink(path)
''',
    "src/web/server.go": """package web

import "net/http"

// Serve answers requests until the listener is closed.
func Serve(address string, handler http.Handler) error {
	server := &http.Server{Addr: address, Handler: handler}
	return server.ListenAndServe()
}
""",
    "src/web/dates.ts": """/** Read a date such as 2024-05-01; null where the text is none. */
export function parseDate(text: string): Date | null {
  const match = /^(\\d{4})-(\\d{2})-(\\d{2})$/.exec(text);
  if (!match) return null;
  return new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3]));
}
""",
    "src/web/theme.css": "/* Colours of the dark theme */\n.dark { color: #eee; background: #111; }\n",
    "src/math/matrix.rs": """/// Multiply two square matrices.
pub fn multiply(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            for k in 0..n {
                out[i * n + j] += a[i * n + k] * b[k * n + j];
            }
        }
    }
    out
}
""",
    "tests/test_retry.py": """from store.retry import retry


def test_it_gives_up_after_the_last_attempt():
    calls = []

    def failing():
        calls.append(1)
        raise ConnectionError

    try:
        retry(failing, attempts=2, wait=0)
    except ConnectionError:
        assert len(calls) == 2
""",
    "config/settings.json": '{"cache": {"size": 100}, "retry": {"attempts": 3}}\n',
    "README.md": "# Store\n\nA small store with retries, a cache and a lock file.\n",
    ".gitignore": "build/\n",
    "build/out.py": "print('made')\n",
    "package-lock.json": '{"lockfileVersion": 3}\n',
    HOSTILE_PATH: HOSTILE,
}
FILES["src/long/table.py"] = (
    '"""A long table of prime numbers."""\n\nPRIMES = [\n'
    + "".join(f"    {number},  # prime number {number} of the table\n" for number in range(2, 400))
    + "]\n"
)


@dataclass
class Script:
    """What is scripted for one test: a language model's words, the list of models, jobs."""

    answer: list[str] | None = None
    """Pieces of an answer; None leaves questions to the server."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    reasoning: str = ""
    weak: bool = False
    pause: float = 0.01
    fail: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Models by name; none leaves them to the server."""
    jobs: bool = False
    """Whether runs of the index are scripted; else the server does them."""
    job_seconds: float = 1.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    cancelled: bool = False
    started: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Endpoints that a test has scripted."""
        found = []
        if self.answer is not None:
            found += [
                Route("/api/ask", self.ask, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        if self.jobs:
            found += [
                Route("/api/index", self.start_index, methods=["POST"]),
                Route("/api/index/{job}/events", self.events),
                Route("/api/index/{job}", self.cancel, methods=["DELETE"]),
            ]
        if self.models:
            found += [
                Route("/api/models", self.list_models),
                Route("/api/models/download", self.download, methods=["POST"]),
                Route("/api/models/jobs/{job}/events", self.events),
                Route("/api/models/jobs/{job}", self.cancel, methods=["DELETE"]),
                Route("/api/models/load", self.load, methods=["POST"]),
                Route("/api/models/unload", self.unload, methods=["POST"]),
                Route("/api/models/{model:path}", self.remove, methods=["DELETE"]),
            ]
        return found

    async def ask(self, request: Request) -> Response:
        self.asked.append(await request.json())
        script = self

        async def events() -> AsyncIterator[bytes]:
            # As the real server does: a weak answer reads no prompt (test_a_real_model_tells_how_far_it_has_read).
            tokens = 0 if script.weak else 400
            yield _event("sources", {"sources": script.sources, "weak": script.weak, "prompt_tokens": tokens})
            for done in () if script.weak else (0, 256, 400):
                await asyncio.sleep(script.pause)
                yield _event("progress", {"prompt_tokens_done": done, "prompt_tokens": tokens})
            if script.reasoning:
                yield _event("reasoning", {"text": script.reasoning})
            async for piece in self._words(request):
                yield _event("text", {"text": piece})
            if script.fail:
                yield _event("error", _error(script.fail, "server_error"))
                return
            yield _event(
                "done",
                {
                    "answer": "".join(script.answer),
                    "citations": [],
                    "removed": script.removed,
                    "finish_reason": "stop",
                    "usage": {"prompt_tokens": 400, "completion_tokens": len(script.answer)},
                    "timings": {"first_token_seconds": 0.4, "total_seconds": 1.2, "tokens_per_second": 21.5},
                },
            )

        return _stream(events())

    async def chat(self, request: Request) -> Response:
        wish = await request.json()
        self.asked.append(wish)

        async def events() -> AsyncIterator[bytes]:
            async for piece in self._words(request):
                yield _data({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            yield _data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            yield _data({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}})
            yield b"data: [DONE]\n\n"

        return _stream(events())

    async def _words(self, request: Request) -> AsyncIterator[str]:
        try:
            for piece in self.answer:
                self.sent += 1
                yield piece
                await asyncio.sleep(self.pause)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled = True
            raise

    async def start_index(self, request: Request) -> Response:
        await request.json()
        return JSONResponse({"job": self._job({})})

    def _job(self, facts: dict[str, Any]) -> dict[str, Any]:
        number = f"job{len(self.started) + 1}"
        self.started[number] = {
            "id": number, "state": "running", "done": 0, "total": 10, "rate": 0, "eta": None, **facts,
        }  # fmt: skip
        return self.started[number]

    async def events(self, request: Request) -> Response:
        job = self.started[request.path_params["job"]]

        async def events() -> AsyncIterator[bytes]:
            while job["state"] == "running" and job["done"] < job["total"]:
                await asyncio.sleep(self.job_seconds / 10)
                job.update(done=job["done"] + 1, rate=16.0, eta=(job["total"] - job["done"]) * 0.06)
                yield _event("progress", job)
            if job["state"] == "running":
                job["state"] = "done"
                if "model" in job:
                    self.models[job["model"]]["state"] = "installed"
            yield _event("done", job)

        return _stream(events())

    def cancel(self, request: Request) -> Response:
        job = self.started[request.path_params["job"]]
        job["state"] = "cancelled"
        if "model" in job:
            self.models[job["model"]]["state"] = "remote"
        return JSONResponse({"job": job})

    def list_models(self, request: Request) -> Response:
        return JSONResponse({"models": [{"name": name, **facts} for name, facts in self.models.items()]})

    async def download(self, request: Request) -> Response:
        model = (await request.json())["model"]
        under_way = [job for job in self.started.values() if job.get("model") == model and job["state"] == "running"]
        self.models[model]["state"] = "downloading"
        return JSONResponse({"job": under_way[0] if under_way else self._job({"model": model})})

    async def load(self, request: Request) -> Response:
        self.models[(await request.json())["model"]]["state"] = "loaded"
        return JSONResponse({})

    async def unload(self, request: Request) -> Response:
        self.models[(await request.json())["model"]]["state"] = "installed"
        return JSONResponse({})

    def remove(self, request: Request) -> Response:
        self.models[request.path_params["model"]]["state"] = "remote"
        return JSONResponse({})


MODELS = {
    "sentence-transformers/all-MiniLM-L6-v2": {
        "kind": "embedding", "state": "loaded", "size_bytes": 45_900_000, "dimensions": 384, "context": 256,
        "licence": "Apache-2.0", "fits_memory": True, "good_for": "quick search on any machine",
    },
    "Qwen/Qwen3-Embedding-0.6B": {
        "kind": "embedding", "state": "remote", "size_bytes": 1_190_000_000, "dimensions": 1024, "context": 32768,
        "licence": "Apache-2.0", "fits_memory": True, "good_for": "better search in many languages",
    },
    "nomic-ai/nomic-embed-code": {
        "kind": "embedding", "state": "remote", "size_bytes": 28_300_000_000, "dimensions": 3584, "context": 32768,
        "licence": "Apache-2.0", "fits_memory": False, "good_for": "the best code search, with a large machine",
    },
    "Qwen/Qwen3-0.6B": {
        "kind": "language", "state": "installed", "size_bytes": 1_500_000_000, "dimensions": None, "context": 40960,
        "licence": "Apache-2.0", "fits_memory": True, "good_for": "short answers on small machines",
    },
}  # fmt: skip


class PageServer:
    """`tp serve` in a thread of this process, with a script in front of it."""

    def __init__(self, state: ServerState, url: str) -> None:
        self.state = state
        self.url = f"{url}/"
        self.script = Script()

    @property
    def repository(self) -> Any:
        """The only repository, as the server has it."""
        return self.state.workspace.get(None)

    @property
    def repo(self) -> Path:
        """Its folder."""
        return self.repository.root

    def in_front_of(self, app: Any) -> Any:
        """An application that answers what is scripted and leaves the rest to `app`."""

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            routes = self.script.routes()
            scripted = scope["type"] == "http" and any(route.matches(scope)[0].value == 2 for route in routes)
            await (Starlette(routes=routes) if scripted else app)(scope, receive, send)

        return answer


def _stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": None, "param": None}}


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def _data(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def make_repo(root: Path) -> Path:
    """A small repository in several languages, with a file whose name and content attack a page."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@pytest.fixture(scope="session")
def start_page_server(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path
) -> Iterator[Callable[..., PageServer]]:
    """`start_page_server(repos=(path,), api_key="...")`, on a free port."""
    running = []

    def start(*, indexed: bool = True, **options: Any) -> PageServer:
        home = tmp_path_factory.mktemp("web-home")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"TP_HOME": home, "TP_CACHE": shared_cache, "TP_CONFIG": home / "config.toml"}.items():
                patch.setenv(name, str(value))
            patch.setenv("TP_OFFLINE", "1")
            patch.setenv("TP_EMBEDDING_CACHE", "0")
            settings = load_settings()
        for repo in options.get("repos", ()) if indexed else ():
            Index.create(repo, settings=settings).close()
        state = ServerState(ServerOptions(**options), ModelManager(settings))
        listening = bound_socket("127.0.0.1", 0)
        page_server = PageServer(state, url_of(listening))
        server = make_server(state)
        server.config.app = page_server.in_front_of(server.config.app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        load_at_start(state, lambda text: None)
        while not (server.started and state.ready):
            assert state.failed is None, state.failed
            time.sleep(0.01)
        running.append((server, thread, listening, state))
        return page_server

    yield start
    for server, thread, listening, state in running:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()
        state.close()


@pytest.fixture(scope="session")
def web_server(start_page_server: Callable[..., PageServer], tmp_path_factory: pytest.TempPathFactory) -> PageServer:
    """The server of one small repository, once a session; `server` gives it to a test in its first state."""
    return start_page_server(repos=(make_repo(tmp_path_factory.mktemp("web") / "store"),))


@pytest.fixture
def server(web_server: PageServer) -> PageServer:
    """The server with the script of a test that has said nothing yet."""
    web_server.script = Script(answer=[], models={name: dict(facts) for name, facts in MODELS.items()})
    return web_server


@pytest.fixture(scope="module")  # its event loop must not be running any more where others' tests start one
def browser() -> Iterator[Browser]:
    """Headless Chromium: Playwright's own, else the system's (Debian: `apt-get install chromium`)."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not own.exists() and system is None:
            pytest.skip("no Chromium: run `playwright install chromium`, or install the package chromium")
        browser = driver.chromium.launch(
            executable_path=None if own.exists() else system,
            # Sandboxes need user namespaces, which containers often lack.
            args=["--no-sandbox"],
        )
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page did that it must not do."""

    violations: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)


@pytest.fixture
def open_page(browser: Browser, server: PageServer) -> Iterator[Any]:
    """Open the page in a fresh profile; at the end nothing may have broken the policy or left the host."""
    watched = Watched()
    contexts = []

    def open_at(fragment: str = "", *, at: str = server.url, **context_options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", **context_options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: watched.hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                watched.violations.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        watched.allowed.add(at.split("/")[2])
        page.goto(at + fragment)
        page.wait_for_selector("nav a[aria-current]")
        return page

    open_at.watched = watched  # type: ignore[attr-defined]
    yield open_at
    for context in contexts:
        context.close()
    assert watched.violations == []
    assert watched.errors == []
    assert watched.hosts <= watched.allowed | {""}
