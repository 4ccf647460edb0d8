"""What may be given as a list of texts: any sequence, or a column of NumPy, PyArrow, pandas or Polars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from turboprop.errors import UsageError

_EACH = "leave it out, or give a text in its place"


def input_texts(texts: Iterable[Any], what: str) -> list[str]:
    """The texts as a list. Raises `UsageError` that names the first item that is none; `what` names the caller."""
    # A column's own conversion knows its missing values: a scalar of PyArrow is no str.
    for convert in ("to_pylist", "to_list", "tolist"):
        if hasattr(texts, convert) and not isinstance(texts, bytes | bytearray | memoryview):
            texts = getattr(texts, convert)()
            break
    if isinstance(texts, str):
        raise UsageError(f"{what} takes a list of texts; for one text give [text]")
    if isinstance(texts, bytes | bytearray | memoryview | Mapping | Set) or not isinstance(texts, Iterable):
        raise UsageError(f"{what} takes a list of texts, not {type(texts).__name__}")
    found = list(texts)
    for number, text in enumerate(found, 1):
        if not isinstance(text, str):
            raise UsageError(f"text {number} {_wrong(text)}")
    return found


def _wrong(text: Any) -> str:
    if text is None:
        return f"is None: {_EACH}"
    if isinstance(text, float) and text != text:  # NaN alone differs from itself
        return f"is NaN, a missing value: {_EACH}"
    if isinstance(text, bytes | bytearray | memoryview):
        return "is bytes: decode it, as with .decode()"
    return f"is of the type {type(text).__name__}, which is no text"
