"""`/api/files`: what is indexed, what changed since, and what is left out and why."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from turboprop.workspace.index import Index


def listed(client: httpx.Client, **query: object) -> dict[str, Any]:
    answer = client.get("/api/files", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_files_by_state(start_server: Callable[..., Any], write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(
        {
            "src/one.py": "def one():\n    return 1\n",
            "src/two.py": "def two():\n    return 2\n",
            "gone.py": "def gone():\n    return 0\n",
            "package-lock.json": "{}\n",
        }
    )
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    with start_server("--repo", root).http() as client:
        fresh = listed(client)
        assert fresh["counts"] == {"indexed": 0, "changed": 3, "left out": 1}
        assert {row["reason"] for row in fresh["files"] if row["state"] == "changed"} == {"not indexed yet"}
        Index.create(root).close()
        (root / "src/two.py").write_text("def two():\n    return 22\n", "utf-8")
        (root / "gone.py").unlink()
        told = {row["path"]: row for row in listed(client)["files"]}
        assert {path: row["state"] for path, row in told.items()} == {
            "gone.py": "changed",
            "package-lock.json": "left out",
            "src/one.py": "indexed",
            "src/two.py": "changed",
        }
        assert told["gone.py"]["reason"] == "gone"
        assert told["src/two.py"]["reason"] == "changed since"
        assert told["src/one.py"]["chunks"] == 1
        assert told["src/one.py"]["language"] == "python"
        assert told["package-lock.json"]["reason"]
        narrowed = listed(client, state="changed", contains="SRC/", limit=1)
        assert [row["path"] for row in narrowed["files"]] == ["src/two.py"]
        assert narrowed["total"] == 1
        assert client.get("/api/files", params={"state": "nonsense"}).status_code == 400
        assert client.get("/api/files", params={"limit": "0"}).status_code == 400
        assert client.get("/api/files", params={"repo": "../other"}).status_code in (400, 404)
