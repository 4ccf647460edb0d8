"""The short way of `tp search`: what it imports, and what it sends and takes."""

from __future__ import annotations

import _socket
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import turboprop
from turboprop.edges.warm import client
from turboprop.edges.warm.client import json_of

# As file names come: with lone surrogates for bytes that are no UTF-8.
TEXTS = st.text(st.characters(codec=None, exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=30,
)


def test_it_imports_next_to_nothing() -> None:
    source = str(Path(turboprop.__file__).parent.parent)
    code = f"import sys; sys.path.append({source!r}); import turboprop.edges.warm.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"json", "socket", "re", "enum", "collections", "typing", "pathlib", "subprocess"}
    assert heavy & set(loaded.stdout.split()) == set()


@given(VALUES)
def test_what_is_sent_is_json(value: object) -> None:
    text = json_of(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == json.loads(json.dumps(value))


def test_a_state_without_a_port_is_no_server_where_there_are_no_local_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(_socket, "AF_UNIX")  # as on Windows
    with pytest.raises(ConnectionError, match="no local sockets"):
        client._connect(str(tmp_path), None)
