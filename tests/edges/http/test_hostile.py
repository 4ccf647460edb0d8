"""The server after requests that nobody means well with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edges.http.hostile import attack_all
from reference import reference
from turboprop import Index
from turboprop.settings import load_settings


@pytest.fixture(scope="module")
def target(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    repo: Path = tmp_path_factory.mktemp("hostile") / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("def a():\n    return 1\n")
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    Index.create(repo, settings=load_settings()).close()
    model = reference("gguf/stories260K.gguf")
    return start_server("--repo", repo, "--model", "minilm", "--model", model)


def test_it_stays_up_and_keeps_its_memory(target: Any) -> None:
    # Until every thread has its own heap: 227, 275, 278 MB after 1,500, 4,500 and 9,000 requests.
    attack_all(target.url, range(5_000))
    before = target.resident_bytes
    found = attack_all(target.url, range(5_000, 9_000))
    assert not [outcome for outcome in found if outcome.startswith("5")], found
    assert "TimeoutError" not in found
    assert target.resident_bytes < before * 1.1
    with target.http() as client:
        assert client.get("/health").status_code == 200
        assert client.post("/v1/embeddings", json={"input": "still here"}).status_code == 200
        assert client.post("/v1/completions", json={"prompt": "Once", "max_tokens": 2}).status_code == 200
    assert not [line for line in target.log if "Traceback" in line], "".join(target.log)[-4000:]
    assert target.stop() == 0
