from __future__ import annotations

from pathlib import Path

from reference import reference
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.runtime.memory import default_budgets, estimated_need
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
        device, needed = estimated_need(local, kind, settings, None, None)
        size = sum(path.stat().st_size for path in ([local.path] if local.path.is_file() else local.path.iterdir()))
        assert (device, needed > size / 4) == ("cpu", True)
    assert default_budgets()["cpu"] > 0
