"""The latest responses of `/v1/responses`, which `previous_response_id` goes back to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from turboprop.edges.http.failures import RequestError

_KEPT = 256
_KEPT_CHARACTERS = 16_000_000
"""Of all that is kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """`messages` are all that was said up to its end, as a prompt takes them; `items` its own input, `answer` what its
    client was given."""

    messages: list[dict[str, Any]]
    items: list[dict[str, Any]]
    answer: dict[str, Any]


class Kept:
    """The latest responses by their ids. Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, KeptResponse] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, number: str, param: str | None = None) -> KeptResponse:
        """A response; `param` is the field that names it. Raises `RequestError`."""
        if number not in self._all:
            what = f"the response {number[:80]!r} is not kept here (any more)"
            if param is not None:
                what += "; give the items that it had as input"
                raise RequestError(404, what, "previous_response_not_found", param)
            raise RequestError(404, what, "response_not_found")
        return self._all[number]

    def keep(self, number: str, response: KeptResponse) -> None:
        """Keep one, and let the oldest go."""
        size = sum(len(str(each)) for each in (response.messages, response.items, response.answer))
        if size > _KEPT_CHARACTERS:
            return  # all others would go for it, and then itself
        self._all[number], self._sizes[number] = response, size
        while len(self._all) > _KEPT or sum(self._sizes.values()) > _KEPT_CHARACTERS:
            self.forget(next(iter(self._all)))

    def forget(self, number: str) -> None:
        """Let one go. Raises `RequestError` where it is not kept."""
        self.get(number)
        del self._all[number], self._sizes[number]
