"""Queries from a repository's own words, and what settings make of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from turboprop import Index
from turboprop.code.gitview import commits
from turboprop.errors import UsageError
from turboprop.evaluate import Query, evaluate, interval
from turboprop.index.adapter import Adapter, keep_adapter
from turboprop.index.history import DIGITS
from turboprop.types import Hit

Write = Callable[[dict[str, str]], Path]

THINGS = {
    "invoice": ("Add up what a customer owes this month", "return sum(line.price for line in lines)"),
    "weather": ("Ask the service how much rain will fall", "return get(city)['rain']"),
    "queue": ("Put a job at the end of the waiting list", "jobs.append(job)"),
    "mail": ("Send a letter to everybody who subscribed", "for address in people: deliver(address)"),
    "image": ("Make a picture smaller without changing its shape", "return picture.resize(width, height)"),
    "password": ("Check that a secret is long enough to be safe", "return len(secret) >= 12"),
    "backup": ("Copy the whole database to another disk", "shutil.copy(database, disk)"),
    "chess": ("Tell whether the king can be captured next move", "return any(hits(king, piece) for piece in pieces)"),
}


@pytest.fixture
def repo(write_files: Write) -> Path:
    files = {
        f"src/{name}.py": f'def handle_{name}(value):\n    """{said}."""\n    {code}\n'
        for name, (said, code) in THINGS.items()
    }
    root = write_files(files)

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", root, *arguments],
            check=True,
            capture_output=True,
        )

    git("init")
    for name in THINGS:
        git("add", f"src/{name}.py")
        git("commit", "-m", f"feat(core): handle every {name} that customers send us (#12)")
    return root


def test_models_and_modes_are_compared(repo: Path) -> None:
    found = evaluate(repo, modes=("semantic", "lexical"))
    assert (found.files, found.documentation_queries, found.commit_queries) == (8, 8, 8)
    semantic, lexical = found.outcomes
    assert (semantic.mode, lexical.mode, semantic.queries) == ("semantic", "lexical", 16)
    for outcome in found.outcomes:
        assert 0 <= outcome.low <= outcome.mrr <= outcome.high <= 1
        assert outcome.first <= outcome.found
        assert outcome.p50_ms <= outcome.p95_ms
    assert semantic.by_source["commit"] > 0.8  # the file is named like the subject
    assert not (repo / ".turboprop").exists()


def test_what_became_a_query_is_not_indexed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from turboprop import Index

    texts: list[str] = []
    create = Index.create

    def watched(root: Path, *arguments: object, **options: object) -> Index:
        texts.extend(path.read_text() for path in Path(root).rglob("*.py"))
        return create(root, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("turboprop.evaluate.Index.create", watched)
    evaluate(repo, modes=("lexical",))
    assert len(texts) == 8
    for said, code in THINGS.values():
        assert any(code in text for text in texts)
        assert not any(said in text for text in texts)


def test_too_little_to_ask(write_files: Write) -> None:
    with pytest.raises(UsageError, match="too few"):
        evaluate(write_files({"a.py": "x = 1\n"}))


def test_a_subject_without_end_is_passed_over(repo: Path) -> None:
    """Two million spaces in a subject, as a clone may have: the search for an issue's number took hours."""
    (repo / "src/chess.py").write_text((repo / "src/chess.py").read_text() + "x = 1\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        ["git", *identity, "-C", repo, "commit", "-aq", "--cleanup=verbatim", "-F", "-"],
        input="tell the king" + " " * 2_000_000 + "what comes",
        text=True,
        check=True,
    )
    assert evaluate(repo, modes=("lexical",)).commit_queries == 8


def test_rank_is_of_the_definition_or_the_file() -> None:
    def hit(path: str, symbol: str) -> Hit:
        return Hit(path, 1, 2, 1.0, "python", symbol, "")

    hits = [hit("a.py", "Other"), hit("b.py", "Account.withdraw"), hit("a.py", "Account.close, Account.open")]
    assert Query("x", "commit", ("b.py", "c.py")).rank(hits) == 2
    assert Query("x", "documentation", ("a.py",), "Account.open").rank(hits) == 3
    assert Query("x", "documentation", ("c.py",), "Account.open").rank(hits) is None


def test_the_interval_holds_the_mean() -> None:
    values = [0.0, 1.0, 0.5, 0.25] * 20
    low, high = interval(values)
    assert low < sum(values) / len(values) < high
    assert interval([0.5] * 10) == (0.5, 0.5)


def test_the_command(repo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", "bench", "--repo", str(repo), "--json", "--mode", "lexical"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [row["mode"] for row in answer["outcomes"]] == ["lexical"]
    assert "8 queries from documentation" in done.stderr


def test_a_tuned_index_is_measured_without_and_with_what_it_learnt(repo: Path) -> None:
    with Index.create(repo) as index:
        header = index.reader.header
        chance = np.random.default_rng(0)
        shapes = ((header.spec.dimensions, 2), (2, header.spec.dimensions))
        left, right = (chance.standard_normal(shape).astype(np.float32) for shape in shapes)
        newest = next(commits(str(repo), 1)).hash[:DIGITS]
        keep_adapter(index.location.directory, header, Adapter(left, right, newest))
    found = evaluate(repo, modes=("semantic", "lexical"))
    name = index.model_name
    assert [(each.model, each.mode) for each in found.outcomes] == [
        (name, "semantic"),
        ("(no model)", "lexical"),
        (f"{name}, tuned", "semantic"),
    ]
    assert found.outcomes[0].mrr > found.outcomes[2].mrr, "chance teaches nothing"
    assert found.commit_queries == evaluate(repo, modes=("lexical",)).commit_queries
    shutil.rmtree(index.location.directory)
    assert found.commit_queries == evaluate(repo, modes=("lexical",)).commit_queries - 1
