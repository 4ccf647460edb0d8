"""From synchronous iterators to asynchronous ones, to server-sent events, and away when the client goes."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from turboprop.edges.http.failures import told_to

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from turboprop.edges.http.failures import Failure
    from turboprop.edges.http.state import ServerState

T = TypeVar("T")
_AHEAD = 64
"""Events that a generation may be ahead of its reader; then it waits, or a reader that stalls would be sent all."""
_END = object()
_LINE_ENDS = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
PING = b": ping\n\n"


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event with JSON as its data."""
    head = f"event: {event}\n" if event else ""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Many clients end lines where Unicode does, and a text could write an event of its own.
    text = _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return f"{head}data: {text}\n\n".encode()


async def pumped(state: ServerState, source: Iterator[T], cancel: Callable[[], None]) -> AsyncGenerator[T]:
    """The items of an iterator that a thread of its own waits for.

    `cancel` ends the source early: when it takes longer than a request may, and when nobody wants more. The thread is
    done before this is.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[Any] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    stopped = threading.Event()

    def pump() -> None:
        last: Any = _END
        try:
            for item in source:
                if not stopped.is_set():
                    room.acquire()
                if not stopped.is_set():  # else it was cancelled, and what is left of it says how it ended
                    loop.call_soon_threadsafe(ready.put_nowait, item)
        except BaseException as error:
            last = error
        loop.call_soon_threadsafe(ready.put_nowait, last)

    late = loop.call_later(state.limits.request_seconds, cancel)
    done = state.start_waiting_thread(pump)
    try:
        while (item := await ready.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        late.cancel()
        stopped.set()
        cancel()
        room.release(2)
        await asyncio.shield(done)


async def until_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves: `ClientDisconnect` then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        await _cancelled(gone, task)


class EventStream(Response):
    """Server-sent events. `held` is what the stream needs; it is given back when the stream ends, whatever ends it."""

    media_type = "text/event-stream"

    def __init__(
        self, chunks: AsyncGenerator[bytes], held: AsyncExitStack, *, stall_seconds: float, media: str | None = None
    ) -> None:
        super().__init__(media_type=media, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._held = held
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async with self._held:
            writer = asyncio.ensure_future(self._write(send))
            gone = asyncio.ensure_future(_gone(receive))
            try:
                await asyncio.wait({writer, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(gone, writer)
            if writer.done() and not writer.cancelled():
                writer.result()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        chunks = self._chunks
        try:
            async for chunk in chunks:
                await self._sent(send, chunk, more=True)
        finally:
            await chunks.aclose()
        await self._sent(send, b"", more=False)

    async def _sent(self, send: Send, chunk: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": chunk, "more_body": more}
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that comes as `send` ends.
            async with asyncio.timeout(self._stall_seconds):
                await send(message)
        except TimeoutError:
            raise ClientDisconnect from None


async def told_errors(
    state: ServerState,
    chunks: AsyncIterator[bytes],
    event: str | None = None,
    *,
    tell: Callable[[Failure], bytes] | None = None,
) -> AsyncGenerator[bytes]:
    """The same events; an error on the way becomes the last of them, as `tell` writes it, without paths of this
    machine."""
    try:
        async for chunk in chunks:
            yield chunk
    except ClientDisconnect:
        raise
    except Exception as error:
        found = told_to(state, error)
        yield tell(found) if tell else sse(found.body(), event)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        if not task.done():
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
