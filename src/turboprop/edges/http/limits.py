"""How much one request, and all of them together, may ask of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from turboprop.errors import BusyError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server. Sizes in bytes, times in seconds."""

    body_bytes: int = 32_000_000
    """2,048 texts of 15,000 characters; a larger request is refused with 413."""
    body_seconds: float = 60.0
    """A body that takes longer to arrive is refused with 408."""
    header_seconds: float = 20.0
    """A connection that has not sent the head of a request by then is closed."""
    rest_seconds: float = 5.0
    """What is left of a body whose request was answered may arrive for so long; then the connection is closed."""
    connections: int = 1_024
    requests: int = 256
    """Requests at work or waiting, those for the page and for the server's health aside; more get 429."""
    generations: int = 8
    """Answers written at the same time; as many again and three times more may wait."""
    stall_seconds: float = 30.0
    """A client that takes nothing of a stream for so long is let go."""
    request_seconds: float = 1_800.0
    """The longest that one answer may take."""
    load_seconds: float = 120.0
    """How long a request waits for its model to be loaded before it gets 503."""
    shutdown_seconds: int = 60
    """How long a server that was told to end lets requests finish."""
    inputs: int = 2_048
    """Texts of one request, as at OpenAI."""


class Slots:
    """So many at a time, and so many more that wait; the next one is refused."""

    def __init__(self, count: int, waiting: int, what: str) -> None:
        self._count, self._most_waiting, self._what = count, waiting, what
        self._free = asyncio.Semaphore(count)
        self.used = 0
        self.waiting = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a slot. Raises `BusyError` where too many wait."""
        if self._free.locked() and self.waiting >= self._most_waiting:
            raise BusyError(f"{self.used} {self._what} run and {self.waiting} wait, the most there may be; try again")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1
            self._free.release()
