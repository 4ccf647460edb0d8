"""Which model a client's word means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from architectures.tiny_models import MODELS
from models.checkpoint.test_gguf import with_tokenizer
from models.other_programs import lm_studio, ollama
from turboprop.edges.http.limits import Limits
from turboprop.edges.http.names import ModelNames
from turboprop.runtime.manager import ModelManager


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return with_tokenizer(MODELS["qwen3"], tmp_path / "Tiny-Chat.gguf")


def test_models_that_no_catalogue_knows(own_places: Path, tiny: Path, start_limited: Callable[[Limits], Any]) -> None:
    ollama(own_places, tiny, "library/tiny", "0.1b")
    studio = lm_studio(own_places, tiny, "maker/Tiny-GGUF")
    named = f"maker/Tiny-GGUF:{tiny.name}"
    with httpx.Client(base_url=start_limited(Limits()).url, timeout=60) as client:
        rows = {row["id"]: row["meta"]["kind"] for row in client.get("/v1/models").json()["data"]}
        assert rows == {"minilm": "embedding", named: "language", "tiny:0.1b": "language"}
        assert client.get("/v1/models/TINY:0.1B").json()["id"] == "tiny:0.1b"
        library = {row["name"]: row["state"] for row in client.get("/api/models").json()["models"]}
        assert library[named] == library["tiny:0.1b"] == "installed" and library["qwen3-1.7b"] == "remote"

        def chat(**more: str) -> httpx.Response:
            body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, **more}
            return client.post("/v1/chat/completions", json=body)

        for model in ("tiny:0.1b", "tiny-chat", "TINY-chat.gguf"):
            assert chat(model=model).status_code == 200, model
        loaded = {model["name"] for model in client.get("/api/status").json()["models"]}
        assert loaded - {"minilm"} == {named, "tiny:0.1b"}  # that one loads meanwhile
        assert chat().json()["model"] == named  # without a name the first that is here
        unknown = chat(model="nowhere")
        assert unknown.status_code == 404
        assert f"here are minilm, {named}, tiny:0.1b;" in unknown.json()["error"]["message"]
        for name, owner in (("tiny:0.1b", "Ollama"), (named, "LM Studio")):
            refused = client.delete(f"/api/models/{name}")
            assert refused.status_code == 400 and f"belongs to {owner}" in refused.json()["error"]["message"]
        assert studio.exists()


def test_a_model_of_the_start_is_listed_once(own_places: Path, tiny: Path) -> None:
    ollama(own_places, tiny, "library/tiny", "0.1b")
    with ModelManager() as manager:
        names = ModelNames(manager, ("TINY:0.1B", "all-minilm-l6-v2", str(tiny)))
        assert [model.name for model in names.listed()] == ["minilm", "tiny:0.1b", tiny.name]
        assert names.language() == names.language("tiny:0.1b") == "tiny:0.1b"
        assert names.language(tiny.name) == str(tiny)
