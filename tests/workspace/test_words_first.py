"""An index whose vectors are not all made, and one of words alone, as everything above the index sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.edges.mcp.tools import Tools
from turboprop.errors import UsageError
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.diagnosis import diagnose
from turboprop.workspace.location import Location
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.preflight import preflight
from turboprop.workspace.survey import survey
from turboprop.workspace.workspace import Workspace


def tp(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "turboprop", *map(str, arguments)]
    environment = {**os.environ, "TP_SERVER": "0"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


def test_a_search_says_how_far_the_vectors_are_and_an_edit_leaves_them(partly_embedded: Path) -> None:
    root = partly_embedded
    with Index.open(root) as index:
        before = index.reader.header
        assert index.vectors_note == (
            f"{before.vectors} of {before.rows} chunks have vectors, the others are found by their words alone"
        )
        assert index.status().vectors == before.vectors
        assert index.search("plum_19", limit=1)[0].path == "src/plum_19.py"
        (root / "src" / "new.py").write_text("def cherry(value):\n    return value\n")
        assert index.search("cherry", limit=1)[0].path == "src/new.py"
        after = index.reader.header
        assert (after.waiting, after.vectors) == (before.waiting, before.vectors + 1)
        assert not survey(index.location, index.scope).is_current
        assert index.update().waiting_chunks == 0
        assert index.vectors_note == ""
        assert (index.status().stale, index.reader.header.complete) == ((), True)


def test_commands_say_how_far_the_vectors_are(partly_embedded: Path) -> None:
    root = partly_embedded
    done = tp("search", "plum_19", "--json", cwd=root)
    assert json.loads(done.stdout)["hits"][0]["path"] == "src/plum_19.py"
    assert 0 < json.loads(done.stdout)["vectors"] < 1
    assert "chunks have vectors, the others are found by their words alone; `tp index` goes on" in done.stderr
    assert "chunks have vectors" in tp("status", cwd=root).stdout
    assert "`tp index` goes on" in tp("similar", "src/apple_0.py:1", cwd=root).stderr
    found = tp("doctor", cwd=root)
    assert "chunks have none yet" in found.stdout + found.stderr
    assert tp("index", cwd=root).returncode == 0
    done = tp("search", "plum_19", "--json", cwd=root)
    assert (json.loads(done.stdout)["vectors"], done.stderr) == (1.0, "")
    assert tp("doctor", cwd=root).returncode == 0


def test_agents_are_told_and_the_rest_is_made_beside_the_search(partly_embedded: Path) -> None:
    with ModelManager() as models, Workspace(IndexPool(models), [partly_embedded]) as workspace:
        found = workspace.search("plum_19")
        assert list(found.vectors) == ["repo"]
        assert 0 < found.vectors["repo"] < 1
        with workspace.get(None).opened() as index:
            assert index.reader.header.vectors < index.reader.rows == len(workspace.get(None).map())
        tools = Tools(workspace, None)
        told = tools.search_code("plum_19")
        assert "chunks have vectors, the others are found by their words alone" in told
        # That search began the rest.
        assert workspace.get(None).job is not None
        assert "up to date" in tools.reindex(wait_seconds=300)
        assert "note: " not in tools.search_code("plum_19")
        assert workspace.search("plum_19").vectors == {}


def test_a_cancelled_run_goes_on(partly_embedded: Path) -> None:
    with Index.open(partly_embedded) as index:
        before = index.reader.header.vectors

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index.create(partly_embedded, progress=stop)
    with Index.open(partly_embedded) as index:
        assert index.reader.header.vectors > before
        assert index.reader.header.complete
    with Index.create(partly_embedded) as index:
        assert index.reader.header.waiting == 0


def test_an_index_of_words_alone(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files({"a.py": "def start(port):\n    return bind(port)\n", "b.md": "# Starting\n\nBind it.\n"})
    with Index.create(root, "none") as index:
        assert (index.model_name, index.has_model, index.vectors_note) == ("none", False, "")
        assert index.search("start the port", limit=1)[0].path == "a.py"
        with pytest.raises(UsageError, match="has no model"):
            index.embedding()
        with pytest.raises(UsageError, match="no vectors"):
            index.search("start", mode="semantic")
        (root / "c.py").write_text("def another_thing():\n    pass\n")
        assert index.search("another_thing", limit=1)[0].path == "c.py"
        assert index.update().waiting_chunks == 0
    with Index.create(root) as again:  # its own kind is taken again
        assert again.model_name == "none"
    with Index.open(root, "none") as opened:
        assert opened.search("another_thing", limit=1)[0].path == "c.py"
        assert opened.status().dimensions == 0
    location = Location.at(root)
    found = diagnose(location)
    assert [finding for finding in found.findings if finding.subject not in ("memory", "disk")] == []
    assert preflight(location, scope=location.scope()).estimate.model == "none"
    with ModelManager() as models, Workspace(IndexPool(models), [root], model="none") as workspace:
        assert workspace.search("another_thing").hits[0].hit.path == "c.py"
        assert "words alone" in Tools(workspace, None).index_status()
        assert [file.path for file in workspace.get(None).map()] == ["a.py", "b.md", "c.py"]
    with Index.create(root, "minilm") as index:
        assert index.has_model
        assert index.reader.header.vectors == index.reader.rows == 3
        assert index.search("start the port", limit=1, mode="semantic")
