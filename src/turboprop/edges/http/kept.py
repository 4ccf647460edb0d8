"""What was said in the latest responses of `/v1/responses`, which `previous_response_id` goes back to."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from turboprop.edges.http.failures import RequestError

_KEPT = 256
_KEPT_CHARACTERS = 16_000_000
"""Of all conversations that are kept; the oldest go first."""


class Kept:
    """What was said in the latest responses, by their ids. Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, number: str) -> list[dict[str, Any]]:
        """The messages of a response and of all before it. Raises `RequestError`."""
        if number not in self._said:
            what = f"the response {number[:80]!r} is not kept here (any more); give the items that it had as input"
            raise RequestError(404, what, "previous_response_not_found", "previous_response_id")
        return self._said[number]

    def keep(self, number: str, messages: list[dict[str, Any]]) -> None:
        """Keep one, and let the oldest go."""
        self._said[number] = messages
        self._sizes[number] = sum(len(str(each)) for each in messages)
        while len(self._said) > _KEPT or sum(self._sizes.values()) > _KEPT_CHARACTERS:
            oldest, _ = self._said.popitem(last=False)
            del self._sizes[oldest]
