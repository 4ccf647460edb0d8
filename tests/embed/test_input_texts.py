"""Columns of other libraries are lists of texts, and what is no text is named by its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from turboprop.embed.input_texts import input_texts
from turboprop.errors import UsageError


@pytest.mark.parametrize(
    "given",
    [
        ["a", "b"],
        ("a", "b"),
        iter(["a", "b"]),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        pa.array(["a", "b"]),
        pa.array(["a", "b"], pa.large_string()),
        pa.chunked_array([["a"], ["b"]]),
        pa.array(["a", "b"]).dictionary_encode(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_columns_are_lists(given: Any) -> None:
    found = input_texts(given, "embed_documents")
    assert found == ["a", "b"]
    assert all(isinstance(text, str) for text in found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a", None], "text 2 is None: leave it out"),
        (["a", float("nan")], "text 2 is NaN"),
        ([np.float64("nan")], "text 1 is NaN"),
        ([b"a"], "text 1 is bytes: decode it"),
        (["a", "b", 3], "text 3 is of the type int"),
        ([["a", "b"]], "text 1 is of the type list"),
        (np.array([["a", "b"]]), "text 1 is of the type list"),
        (np.array(["a", None], object), "text 2 is None"),
        (pa.array(["a", None]), "text 2 is None"),
        (pa.array([b"a"]), "text 1 is bytes"),
        (pa.array([1.5]), "text 1 is of the type float"),
        (np.array("a"), "for one text give"),
        ("a", "for one text give"),
        (b"a", "not bytes"),
        ({"a": "b"}, "not dict"),
        ({"a"}, "not set"),
        (None, "not NoneType"),
        (7, "not int"),
    ],
    # No `repr` with an address in it: the processes of a run have to name a test alike.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_text_is_named(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        input_texts(given, "embed_documents")
