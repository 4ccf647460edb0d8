"""One model and one index for the adapters of every framework that is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from turboprop import EmbeddingModel, Index, Settings


@pytest.fixture(scope="module")
def model(shared_cache: Path) -> Iterator[EmbeddingModel]:
    with EmbeddingModel.load("minilm", settings=Settings(cache_home=shared_cache, offline=True)) as loaded:
        yield loaded


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "session.py").write_text("def sign_session(token):\n    return hmac(token)\n")
    (tmp_path / "cart.py").write_text("class Cart:\n    items = []\n")
    with Index.create(tmp_path, "minilm") as made:
        yield made
