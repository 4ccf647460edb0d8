"""Which responses are kept, and which go."""

from __future__ import annotations

import pytest

from turboprop.edges.http import kept
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.kept import Kept, KeptResponse


def response(size: int) -> KeptResponse:
    return KeptResponse([{"role": "user", "content": "a" * size}], [], {})


def test_the_oldest_goes_for_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_KEPT_CHARACTERS", 1_000)
    all_of_them = Kept()
    for number in ("one", "two", "three"):
        all_of_them.keep(number, response(400))
    with pytest.raises(RequestError, match="not kept"):
        all_of_them.get("one")
    assert all_of_them.get("three").messages


def test_one_that_is_larger_than_all_that_is_kept_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_KEPT_CHARACTERS", 1_000)
    all_of_them = Kept()
    all_of_them.keep("small", response(400))
    all_of_them.keep("large", response(2_000))
    assert all_of_them.get("small").messages
    with pytest.raises(RequestError, match="not kept"):
        all_of_them.get("large")
