from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reference import reference
from turboprop.errors import ModelNotFoundError, UsageError
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.runtime.library import known_models, remove_model
from turboprop.runtime.memory import default_budgets, estimated_bytes
from turboprop.settings import load_settings


def test_kinds(minilm_folder: Path) -> None:
    settings = load_settings()
    for name, kind in (
        ("minilm", "embedding"),
        (str(minilm_folder), "embedding"),
        (str(reference("gguf/stories260K.gguf")), "language"),
    ):
        local = resolve(name, settings, download=False)
        assert kind_of(local) == kind
        needed = estimated_bytes(local, kind, settings, None, None)
        size = sum(path.stat().st_size for path in ([local.path] if local.path.is_file() else local.path.iterdir()))
        assert needed > size / 4
    assert default_budgets()["cpu"] > 0


def test_the_library_knows_what_is_here(write_files: Callable[[dict[str, str]], Path]) -> None:
    settings = load_settings()
    models = {model.name: model for model in known_models(settings)}
    assert models["minilm"].state == "installed"
    assert models["minilm"].dimensions == 384
    assert models["coderankembed"].state == "remote"
    assert {model.kind for model in models.values()} == {"embedding", "language", "reranker"}
    with pytest.raises(UsageError, match="pip uninstall"):
        remove_model("minilm", settings)
    with pytest.raises(ModelNotFoundError):
        remove_model("coderankembed", settings)
    with pytest.raises(UsageError, match="is a path"):
        remove_model(str(write_files({"model.gguf": "x"}) / "model.gguf"), settings)
