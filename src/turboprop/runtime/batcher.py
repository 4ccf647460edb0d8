"""Concurrent requests for vectors, merged into batches of one model.

Each request is tokenized by its caller; one thread takes inputs of all that wait, as many as make a window, and
runs them sorted by length in batches of the token budget. Small requests are not held up by a large one: while
others wait, a request has at most a quarter of a window.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.embed.batching import batches
from turboprop.embed.prepared import PreparedInputs
from turboprop.errors import BusyError, EngineError

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel

_WINDOW = 4
"""Batches whose tokens are sorted by length together: enough to pad little, and under a second of a 22M model."""
_WAITING = 64
"""Batches that may wait; a request that finds more is refused. A larger one is taken when nothing waits."""


@dataclass(eq=False, slots=True)
class _Request:
    prepared: PreparedInputs
    future: Future[NDArray[np.float32]]
    vectors: NDArray[np.float32]
    left: int
    queue: deque[int] = field(default_factory=deque)
    """Inputs that have not been run, longest first."""


class EmbeddingBatcher:
    """Runs what several threads prepared with one `EmbeddingModel`. `close()` it before the model."""

    def __init__(
        self, model: EmbeddingModel, *, window_tokens: int | None = None, waiting_tokens: int | None = None
    ) -> None:
        self._model = model
        self._window = window_tokens or _WINDOW * model.plan.batch_tokens
        self._most = waiting_tokens or _WAITING * model.plan.batch_tokens
        self._changed = threading.Condition()
        self._requests: deque[_Request] = deque()
        self._waiting = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def waiting_tokens(self) -> int:
        """Tokens that wait to be run."""
        return self._waiting

    def submit(self, prepared: PreparedInputs) -> Future[NDArray[np.float32]]:
        """Queue prepared inputs; the future gives float32 [texts, width]. Cancelling it takes them out.

        Raises `BusyError` where too many tokens wait and `EngineError` after `close`.
        """
        future: Future[NDArray[np.float32]] = Future()
        lengths = prepared.lengths
        vectors = np.empty((len(lengths), prepared.width), np.float32)
        if not lengths:
            future.set_result(prepared.assemble(vectors))
            return future
        tokens = sum(lengths)
        order = deque(sorted(range(len(lengths)), key=lambda index: -lengths[index]))
        with self._changed:
            if self._closed:
                raise EngineError(f"{self._model.name} was unloaded; ask again")
            if self._waiting and self._waiting + tokens > self._most:
                raise BusyError(
                    f"{self._waiting} tokens wait to be embedded and {self._most} may; try again in a while"
                )
            if self._thread is None:  # indexing alone needs none
                self._thread = threading.Thread(target=self._work, name=f"embed {self._model.name}", daemon=True)
                self._thread.start()
            self._requests.append(_Request(prepared, future, vectors, len(lengths), order))
            self._waiting += tokens
            self._changed.notify()
        return future

    def embed(self, prepared: PreparedInputs) -> NDArray[np.float32]:
        """The same, waited for."""
        return self.submit(prepared).result()

    def close(self) -> None:
        """Finish what waits, then end the thread; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        # A lease that nobody closed may end in this thread itself, or when the interpreter has stopped all others.
        if self._thread is not None and self._thread is not threading.current_thread() and not sys.is_finalizing():
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._requests and not self._closed:
                    self._changed.wait()
                if not self._requests:
                    return
                picked = self._pick()
            if picked:
                self._run(picked)

    def _pick(self) -> list[tuple[_Request, int]]:
        """Inputs of one window, all with the same `skip` and `asked`; requests that were cancelled are dropped."""
        for request in [each for each in self._requests if each.future.cancelled()]:
            self._drop(request)
        if not self._requests:
            return []
        first = self._requests[0].prepared
        kind = (first.skip, first.asked)
        alike = [each for each in self._requests if (each.prepared.skip, each.prepared.asked) == kind]
        picked: list[tuple[_Request, int]] = []
        room = self._window
        for share in (self._window // 4 if len(alike) > 1 else self._window, self._window):
            for request in alike:
                taken = 0
                while request.queue and (not picked or (taken < share and room > 0)):
                    index = request.queue.popleft()
                    length = len(request.prepared.inputs[index])
                    picked.append((request, index))
                    taken, room = taken + length, room - length
        self._waiting -= sum(len(request.prepared.inputs[index]) for request, index in picked)
        self._requests = deque(request for request in self._requests if request.queue)
        return picked

    def _drop(self, request: _Request) -> None:
        self._waiting -= sum(len(request.prepared.inputs[index]) for index in request.queue)
        request.queue.clear()
        self._requests.remove(request)

    def _run(self, picked: list[tuple[_Request, int]]) -> None:
        lengths = [len(request.prepared.inputs[index]) for request, index in picked]
        like = picked[0][0].prepared
        plan = self._model.plan
        for chosen in batches(lengths, plan.batch_tokens, plan.padded_to):
            members = [picked[place] for place in chosen]
            members = [(request, index) for request, index in members if not request.future.done()]
            if not members:
                continue
            try:
                inputs = [request.prepared.inputs[index] for request, index in members]
                pooled = self._model.run(self._model.batch(inputs, like))
            except Exception as error:
                for request in {id(request): request for request, _ in members}.values():
                    self._fail(request, error)
                continue
            rows: dict[int, list[int]] = {}
            for row, (request, _) in enumerate(members):
                rows.setdefault(id(request), []).append(row)
            for own in rows.values():
                self._deliver(members[own[0]][0], [members[row][1] for row in own], pooled[own])

    def _deliver(self, request: _Request, indices: list[int], pooled: NDArray[np.float32]) -> None:
        try:
            request.vectors[indices] = self._model.finish(pooled, request.prepared)
            request.left -= len(indices)
            if request.left == 0 and request.future.set_running_or_notify_cancel():
                request.future.set_result(request.prepared.assemble(request.vectors))
        except Exception as error:
            self._fail(request, error)

    def _fail(self, request: _Request, error: Exception) -> None:
        with self._changed:
            if request in self._requests:
                self._drop(request)
        if not request.future.done():
            request.future.set_exception(error)
