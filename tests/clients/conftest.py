"""A server that `scripts/clients` has started, with SmolLM2 (135M) and MiniLM; without it nothing here runs."""

from __future__ import annotations

import os

import pytest

LANGUAGE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDING = "minilm"


@pytest.fixture(scope="session")
def url() -> str:
    found = os.environ.get("TP_CLIENTS_URL")
    if not found:
        pytest.skip("scripts/clients starts the server that this asks")
    return found
