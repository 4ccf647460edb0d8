"""What all requests of one server share."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.kept import Kept
from turboprop.edges.http.limits import Limits, Slots
from turboprop.edges.http.metrics import Metrics
from turboprop.edges.http.names import ModelNames
from turboprop.edges.http.schemas import passed_over
from turboprop.printable import printable_message
from turboprop.workspace.pool import MOST, IndexPool
from turboprop.workspace.workspace import Workspace

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.runtime.manager import ModelManager

_log = logging.getLogger("turboprop.http")
IGNORED = "X-TurboProp-Ignored"
"""The header that names the fields of a request which were passed over."""
_MAY_BE_INFINITE = re.compile(rb"NaN|Infinity|[eE]\+?\d{3}|\d{200}")
"""A float ends at 1.8e308: a longer one has an exponent of three digits, or 200 digits before a shorter one."""
_MOST_NAMED = 32
_LONGEST_HEADER = 1_000
_LONGEST_NAME = 100
"""What is joined or searched is cut first: a name of 30 MB held the loop up for seconds."""
_MOST_SAID = 256
"""Names of passed-over fields that are logged, each once; the rest are in the headers alone."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server was started with. `models` are loaded at once and stay loaded.

    Every request needs `api_key` where there is one. Without it the server's own user needs none, and whoever else
    reaches it needs `start_key`, which each start makes, or nothing at all with `no_key`.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    repos: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()
    api_key: str | None = None
    start_key: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    no_key: bool = False
    cors: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    truncate: Literal["error", "end"] = "error"
    """What becomes of an input to embed that is too long, where the request does not say."""
    limits: Limits = field(default_factory=Limits)

    @property
    def trusts_own_user(self) -> bool:
        """Whether it has to be told who is at the other end of a connection."""
        return self.api_key is None and not self.no_key


class ServerState:
    """Made once a server; everything in it may be used by requests at the same time."""

    def __init__(self, options: ServerOptions, manager: ModelManager) -> None:
        self.options = options
        self.limits = options.limits
        self.manager = manager
        self.names = ModelNames(manager, options.models)
        self.indexes = IndexPool(manager, most=max(MOST, len(options.repos)))
        self.workspace = Workspace(self.indexes, options.repos)
        self.jobs = self.workspace.jobs
        self.metrics = Metrics()
        self.generations = Slots(options.limits.generations, 3 * options.limits.generations, "answers")
        self.responses = Kept()
        self.running = 0
        self.ending = False
        self.ready = False
        self.failed: str | None = None
        self._said: set[str] = set()
        # Short work (tokenizing, searching, encoding JSON) and waiting for models have threads of their own, so
        # that a model that takes minutes to load holds nothing else up.
        self._short = ThreadPoolExecutor(8, "work")
        self._long = ThreadPoolExecutor(64, "wait")

    async def in_thread(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Run short synchronous work aside."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._short, lambda: work(*args, **more))

    async def in_waiting_thread(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Run synchronous work that may wait for long."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._long, lambda: work(*args, **more))

    def start_waiting_thread(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """The same, not waited for."""
        return asyncio.get_running_loop().run_in_executor(self._long, work)

    def say_ignored(self, path: str, names: list[str]) -> None:
        """Log the fields of a request that were passed over, each of an endpoint once."""
        bare = {re.sub(r"(?<=\.)\d+\.", "", name) for name in names}
        new = sorted({f"{path}: {name:.{_LONGEST_NAME}}" for name in bare} - self._said)
        if new and len(self._said) < _MOST_SAID:
            self._said.update(new)
            named = ", ".join(printable_message(each.partition(": ")[2]) for each in new)
            _log.info("%s: passed over, as nothing here knows them: %s", printable_message(path), named)

    def say_too_long(self, name: str, limit: int) -> None:
        """Log that inputs are longer than a model takes and what to do, once a model."""
        if f"long: {name}" in self._said:
            return
        self._said.add(f"long: {name}")
        longer = self.names.longer(limit)
        model = f"`tp serve --model {longer.name}` takes {longer.context:,}" if longer else "split them"
        cut = "" if self.options.truncate == "end" else ", --truncate end cuts them"
        _log.warning(
            "inputs are longer than the %s tokens of %s: %s%s", f"{limit:,}", self.names.public(name), model, cut
        )

    def close(self) -> None:
        """End jobs, threads and models; called when no request is left."""
        self.workspace.close()
        self._short.shutdown(cancel_futures=True)
        self._long.shutdown(wait=False, cancel_futures=True)
        self.indexes.clear()
        self.manager.close()


def state_of(request: Request) -> ServerState:
    """The server's state, from a request."""
    return cast("ServerState", request.app.state.server)


async def read_model(request: Request, model: type[T]) -> T:
    """The body as `model`, a pydantic class. Raises `RequestError` that names the field which is wrong."""
    from pydantic import ValidationError

    from turboprop.edges.http.failures import failure_of_fields

    body = await request.body()

    def validate() -> tuple[T, list[str]]:
        try:
            found = cast("Any", model).model_validate_json(body)
        except ValidationError as error:
            wrong = failure_of_fields(error)
            raise RequestError(wrong.status, wrong.message, wrong.code, wrong.param) from None
        if _MAY_BE_INFINITE.search(body):  # most bodies are not read twice
            json.loads(body, parse_float=_finite, parse_constant=_finite)
        return found, [name[:_LONGEST_NAME] for name in islice(passed_over(found), _MOST_NAMED)]

    try:
        # 64 kB are validated in under a millisecond.
        found, ignored = validate() if len(body) < 65_536 else await state_of(request).in_thread(validate)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply", "invalid_json") from None
    if ignored:
        state_of(request).say_ignored(request.url.path, ignored)
        tell(request, IGNORED, ", ".join(ignored))
    return found


def _finite(text: str) -> float:
    """A number of a JSON text. Raises `RequestError` for what no answer can repeat: NaN, Infinity, 1e999."""
    if not math.isfinite(number := float(text)):
        raise RequestError(400, f"the body has the number {text[:40]}: numbers have to be finite", "invalid_value")
    return number


def tell(request: Request, header: str, text: str) -> None:
    """Put a header on the answer, whoever makes it; what a header cannot hold is a question mark."""
    kept = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_LONGEST_HEADER]).strip()
    told: dict[str, str] = request.scope.setdefault("told", {})
    told[header] = kept
