"""A guard against loops: small models write the same lines again until their tokens are used up."""

from __future__ import annotations

_TIMES = 4
_LEAST = 160
"""Characters that the repetitions take up together: four lines of a table's rule or of closing brackets are no loop."""
_LONGEST = 400
"""Characters of a passage that is repeated; SmolLM2-135M's loops had 30 to 250."""


class RepetitionGuard:
    """Is told of a text piece by piece, and says when its end is one passage `_TIMES` times over."""

    def __init__(self) -> None:
        self._tail = ""

    def push(self, piece: str) -> bool:
        """Whether the text is in a loop by now."""
        self._tail = (self._tail + piece)[-_TIMES * _LONGEST :]
        return _is_loop(self._tail)


def _is_loop(tail: str) -> bool:
    # A passage that repeats ends as the text does, so its length is the distance to where its last characters stood
    # before: those alone are tried.
    end = tail[-_LEAST // _TIMES :]
    at = tail.rfind(end, 0, len(tail) - 1)
    while at >= 0:
        length = len(tail) - len(end) - at
        if length > _LONGEST:
            return False
        times = max(_TIMES, -(-_LEAST // length))
        whole = tail[-times * length :]
        if len(whole) == times * length and whole == whole[:length] * times and any(map(str.isalnum, whole)):
            return True
        at = tail.rfind(end, 0, at + len(end) - 1)
    return False
