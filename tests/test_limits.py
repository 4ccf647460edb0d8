"""One bad value, refused through every edge in the same sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx
import pytest
from mcp import Client
from pydantic import TypeAdapter, ValidationError

from edges.http.conftest import InProcess
from edges.http.conftest import start_limited as start_limited
from reference import reference
from turboprop import GenerationOptions, Index, limits
from turboprop.answer import AnswerSession
from turboprop.edges.cli.entry import main
from turboprop.edges.http.limits import Limits
from turboprop.edges.mcp.server import make_server
from turboprop.errors import UsageError
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.workspace import Workspace

LONG = "how " * 2_501


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files({"a.py": "def start():\n    return 1\n"})
    Index.create(root).close()
    return root


@pytest.fixture
def served(start_limited: Callable[..., InProcess], repo: Path) -> Iterator[httpx.Client]:
    server = start_limited(Limits(), repos=(str(repo),), models=(str(reference("gguf/stories260K.gguf")),))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


class Edges:
    """What each edge says of a call that is refused."""

    def __init__(self, repo: Path, client: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
        self._repo, self._client, self._capsys = repo, client, capsys

    def python(self, call: Callable[[Index], object]) -> str:
        with Index.open(self._repo) as index, pytest.raises(UsageError) as error:
            call(index)
        return str(error.value)

    def cli(self, *arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--repo", str(self._repo)])
        assert end.value.code == 2
        return self._capsys.readouterr().err

    def http(self, path: str, body: dict[str, Any]) -> str:
        answer = self._client.post(path, json=body)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"]["message"])

    def mcp(self, tool: str, **arguments: object) -> str:
        models = ModelManager()
        pool = IndexPool(models)
        workspace = Workspace(pool, [self._repo])

        async def call() -> str:
            async with Client(make_server(workspace, refresh=False)) as client:
                result = await client.call_tool(tool, arguments)
            assert result.is_error
            return str(result.content[0].text)

        try:
            return anyio.run(call)
        finally:
            workspace.close()
            pool.clear()
            models.close()


@pytest.fixture
def edges(repo: Path, served: httpx.Client, capsys: pytest.CaptureFixture[str]) -> Edges:
    return Edges(repo, served, capsys)


def test_a_search_is_refused_alike_everywhere(edges: Edges) -> None:
    many, none = "limit is a whole number from 1 to 1000, not", "the query is empty"
    for query, more, sentence in (
        ("x", {"limit": 0}, f"{many} 0"),
        ("x", {"limit": 1001}, f"{many} 1001"),
        ("", {}, none),
        (" ", {}, none),
        (100 * LONG, {}, "the query has 1000400 characters and may have 1000000"),
    ):
        options = [text for name, value in more.items() for text in (f"--{name}", str(value))]
        for said in (
            edges.python(lambda index, query=query, more=more: index.search(query, **more)),  # type: ignore[misc]
            edges.cli("search", query, *options),
            edges.http("/api/search", {"query": query, **more}),
            edges.mcp("search_code", query=query, **more),
        ):
            assert sentence in said
    for said in (
        edges.python(lambda index: index.search("x", mode="psychic")),  # type: ignore[arg-type]
        edges.cli("search", "x", "--mode", "psychic"),
        edges.http("/api/search", {"query": "x", "mode": "psychic"}),
        edges.mcp("search_code", query="x", mode="psychic"),
    ):
        assert all(mode in said for mode in limits.MODES)
    for said in (
        edges.python(lambda index: index.search("x", by="folder")),  # type: ignore[arg-type]
        edges.cli("search", "x", "--by", "folder"),
        edges.http("/api/search", {"query": "x", "by": "folder"}),
    ):
        assert all(unit in said for unit in limits.UNITS)
    for said in (
        edges.python(lambda index: index.similar("a.py", 1, 0)),
        edges.cli("similar", "a.py:1", "--limit", "0"),
        str(edges._client.get("/api/similar", params={"path": "a.py", "line": 1, "limit": 1001}).json()),
        edges.mcp("similar_code", path="a.py", line=1, limit=0),
    ):
        assert many in said
    rerank = "rerank_top is a whole number from 1 to 1000, not 0"
    assert rerank in edges.python(lambda index: index.search("x", rerank="any", rerank_top=0))
    assert rerank in edges.cli("search", "x", "--rerank", "any", "--rerank-top", "0")


def test_a_question_is_refused_alike_everywhere(edges: Edges) -> None:
    long = "the question has 10004 characters and may have 10000"
    for said in (
        edges.python(lambda index: next(AnswerSession(index, None).ask(LONG))),  # type: ignore[arg-type]
        edges.cli("ask", LONG),
        edges.http("/api/ask", {"question": LONG}),
        edges.mcp("ask_code", question=LONG),
    ):
        assert long in said
    for said in (
        edges.python(lambda index: AnswerSession(index, None, 63)),  # type: ignore[arg-type]
        edges.cli("ask", "x", "--source-tokens", "63"),
        edges.http("/api/ask", {"question": "x", "source_tokens": 63}),
    ):
        assert "source_tokens is a whole number from 64 to 1048576, not 63" in said


def test_sampling_is_refused_alike_everywhere(edges: Edges) -> None:
    message = {"role": "user", "content": "x"}
    for name, value, sentence in (
        ("temperature", 5.5, "temperature is a number from 0 to 5, not 5.5"),
        ("top_p", -0.5, "top_p is a number from 0 to 1, not -0.5"),
        ("top_k", -1, "top_k is a whole number from 0 to 1048576, not -1"),
        ("min_p", 1.5, "min_p is a number from 0 to 1, not 1.5"),
        ("repetition_penalty", 0.0, "repetition_penalty is a number above 0 to 2, not 0.0"),
        ("presence_penalty", -2.5, "presence_penalty is a number from -2 to 2, not -2.5"),
        ("frequency_penalty", 2.5, "frequency_penalty is a number from -2 to 2, not 2.5"),
        ("max_tokens", 0, "max_tokens is a whole number from 1 to 16777216, not 0"),
    ):
        options: dict[str, Any] = {name: value}
        with pytest.raises(UsageError) as error:
            GenerationOptions(**options)
        for said in (
            str(error.value),
            edges.cli("ask", "x", f"--{name.replace('_', '-')}", str(value)),
            edges.http("/v1/chat/completions", {"messages": [message], **options}),
            edges.http("/v1/completions", {"prompt": "x", **options}),
            edges.http("/api/ask", {"question": "x", "options": options}),
        ):
            assert sentence in said


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, 0.5])
def test_what_is_no_whole_number_of_the_range(value: object) -> None:
    with pytest.raises(UsageError, match="limit is a whole number from 1 to 1000, not"):
        limits.HITS.check(value)


def test_a_limit_in_an_annotation_checks_and_is_documented() -> None:
    penalty = TypeAdapter(Annotated[float, limits.REPETITION_PENALTY])
    assert penalty.json_schema() == {"type": "number", "exclusiveMinimum": 0, "maximum": 2}
    assert penalty.validate_python(1) == 1
    with pytest.raises(ValidationError) as error:
        penalty.validate_python(0)
    (found,) = error.value.errors(include_url=False, include_input=False, include_context=False)
    assert found == {
        "type": limits.OUT_OF_RANGE,
        "loc": (),
        "msg": "repetition_penalty is a number above 0 to 2, not 0.0",
    }
    text = TypeAdapter(Annotated[str, limits.QUERY])
    assert text.json_schema() == {"type": "string", "minLength": 1, "maxLength": limits.QUERY.most}
    assert text.validate_python("x" * 10_000)


def test_the_page_offers_nothing_that_is_refused() -> None:
    form = (Path(limits.__file__).parent / "edges/web/assets/js/sampling.js").read_text("utf-8")
    fields = re.findall(r"^  (\w+): \[\"[^\"]+\", ([^,]+), ([^,]+),", form, re.MULTILINE)
    assert len(fields) == 6
    for name, *bounds in fields:
        limit: limits.Range = getattr(limits, name.upper())
        for bound in bounds:
            base, _, power = bound.partition(" ** ")
            limit.check((float if limit.real else int)(float(base) ** int(power or 1)))
