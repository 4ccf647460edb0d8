"""What all requests of one server share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.limits import Limits, Slots
from turboprop.edges.http.metrics import Metrics
from turboprop.edges.http.names import ModelNames
from turboprop.workspace.pool import MOST, IndexPool
from turboprop.workspace.workspace import Workspace

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.runtime.manager import ModelManager

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
        self.running = 0
        self.ending = False
        self.ready = False
        self.failed: str | None = None
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
    validate: Callable[[bytes], T] = cast("Any", model).model_validate_json
    try:
        # 64 kB are validated in under a millisecond.
        return validate(body) if len(body) < 65_536 else await state_of(request).in_thread(validate, body)
    except ValidationError as error:
        found = failure_of_fields(error)
        raise RequestError(found.status, found.message, found.code, found.param) from None
