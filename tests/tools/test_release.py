"""What a package says of itself: by the hook that builds it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture
def hatch_build(monkeypatch: pytest.MonkeyPatch) -> object:
    pytest.importorskip("hatchling")
    monkeypatch.syspath_prepend(str(PROJECT))
    monkeypatch.delitem(sys.modules, "hatch_build", raising=False)
    import hatch_build

    return hatch_build


def test_the_readme_of_a_release_leads_to_its_repository(hatch_build: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_PROJECT_URL", "https://example.org/someone/turboprop/")
    metadata: dict[str, object] = {}
    hatch_build.Metadata(str(PROJECT), {}).update(metadata)  # type: ignore[attr-defined]
    text = metadata["readme"]["text"]  # type: ignore[index]
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(targets) > 20
    assert all(re.match(r"https?://", target) for target in targets)
    at = "https://example.org/someone/turboprop"
    assert f"]({at}/blob/v" in text and f"]({at}/raw/v" in text and f"]({at}/tree/v" in text
    assert metadata["urls"]["Issues"] == f"{at}/issues"  # type: ignore[index]


def test_no_address_is_invented(hatch_build: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_PROJECT_URL", raising=False)
    metadata: dict[str, object] = {}
    hatch_build.Metadata(str(PROJECT), {}).update(metadata)  # type: ignore[attr-defined]
    assert "urls" not in metadata
    assert metadata["readme"]["text"] == (PROJECT / "README.md").read_text("utf-8")  # type: ignore[index]


def test_links_that_stay(hatch_build: object) -> None:
    links = hatch_build.absolute_links  # type: ignore[attr-defined]
    text = "[a](https://x.org/y) [b](#here) `c](d)` [e](mailto:f@g.org)\n\n[h](i.md#j) ![k](docs/l.png) [m](docs/n/)"
    assert links(text, "https://r.org/o/p", "v1") == (
        "[a](https://x.org/y) [b](#here) `c](d)` [e](mailto:f@g.org)\n\n[h](https://r.org/o/p/blob/v1/i.md#j) "
        "![k](https://r.org/o/p/raw/v1/docs/l.png) [m](https://r.org/o/p/tree/v1/docs/n/)"
    )
