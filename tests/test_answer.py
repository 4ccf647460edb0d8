"""Answers about a repository: real index and search; the model is scripted, so that what it cites is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference import reference
from turboprop import GenerationOptions, Index
from turboprop.answer import (
    REPEATED,
    UNCITED,
    AnsweredEvent,
    AnswerSession,
    SourcesEvent,
    TextEvent,
    is_weak,
    widened,
)
from turboprop.errors import UsageError
from turboprop.generate.citations import Citation
from turboprop.generate.events import DoneEvent, GenerationEvent, ReasoningEvent, Timings, Usage
from turboprop.generate.prompts import PromptMaker
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.tokenizer.load import tokenizer_from_path
from turboprop.types import Hit

LONG = "def start_server(port):\n    '''Listen on a port.'''\n" + "".join(
    f"    step_{n} = prepare_the_server(port, {n})\n" for n in range(60)
)
FILES = {
    "app/server.py": LONG + "    return bind(port)\n",
    "app/client.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}
DONE = DoneEvent("stop", Usage(10, 5), Timings(0.1, 0.2, 100, 50))


class ScriptedStream:
    """The events of a text, four characters at a time."""

    def __init__(self, text: str) -> None:
        self.left = [TextEvent(text[start : start + 4]) for start in range(0, len(text), 4)]

    def __enter__(self) -> ScriptedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def reading(self) -> Iterator[int]:
        yield from (0, 7, 10)

    def __iter__(self) -> Iterator[GenerationEvent]:
        yield ReasoningEvent("hm")
        while self.left:
            yield self.left.pop(0)
        yield DONE

    def cancel(self) -> None:
        self.left.clear()


class Scripted:
    """Says what the script says, four characters at a time, and remembers what it was asked."""

    name = "scripted"

    def __init__(self, *answers: str, context: int = 4000) -> None:
        self.context = context
        self.answers = list(answers)
        self.asked: list[list[dict[str, str]]] = []

    def count_tokens(self, prompt: str | Sequence[dict[str, str]]) -> int:
        if isinstance(prompt, str):
            return len(prompt) // 4
        return sum(len(message["content"]) // 4 + 4 for message in prompt)

    def stream(self, prompt: Sequence[dict[str, str]], options: GenerationOptions) -> ScriptedStream:
        assert self.count_tokens(prompt) < self.context
        self.asked.append(list(prompt))
        return ScriptedStream(self.answers.pop(0))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("repo")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    with Index.create(root) as made:
        yield made


QUESTION = "How does the server listen on a port?"


def answered(session: AnswerSession, question: str = QUESTION) -> AnsweredEvent:
    *_, last = session.ask(question)
    assert isinstance(last, AnsweredEvent)
    return last


def test_real_citations_stay_and_invented_ones_go(index: Index) -> None:
    model = Scripted("It binds [app/server.py:1-2]. It also flies [app/wings.py:3-4], see [app/server.py:900].")
    events = list(AnswerSession(index, model).ask(QUESTION))
    first, last = events[0], events[-1]
    assert isinstance(first, SourcesEvent)
    assert isinstance(last, AnsweredEvent)
    assert last.text == "It binds [app/server.py:1-2]. It also flies, see."
    assert "".join(event.text for event in events if isinstance(event, TextEvent)) == last.text
    assert last.citations == (Citation("app/server.py", 1, 2),)
    assert last.removed == ("app/wings.py:3-4", "app/server.py:900")
    assert last.sources == first.sources
    assert last.done == DONE
    assert any(isinstance(event, ReasoningEvent) for event in events)


def test_the_model_sees_numbered_lines_of_whole_definitions(index: Index) -> None:
    model = Scripted("ok")
    sources = answered(AnswerSession(index, model)).sources
    shown = model.asked[0][-1]["content"]
    server = next(source for source in sources if source.path == "app/server.py")
    assert (server.start_line, server.end_line) == (1, 63)
    assert "### app/server.py:1-63 (start_server)\n1| def start_server(port):\n2| " in shown
    assert "\n63|     return bind(port)" in shown
    assert shown.endswith(f"Question: {QUESTION}")
    lines = {(source.path, line) for source in sources for line in range(source.start_line, source.end_line + 1)}
    assert len(lines) == sum(source.end_line - source.start_line + 1 for source in sources)


def test_a_follow_up_shares_the_beginning_and_shows_what_is_new(index: Index) -> None:
    model = Scripted("It binds [app/server.py:1].", "As said [app/server.py:2].")
    session = AnswerSession(index, model)
    answered(session)
    second = answered(session, "And which port does it listen on?")
    assert model.asked[1][: len(model.asked[0])] == model.asked[0]
    assert model.asked[1][len(model.asked[0])]["content"] == "It binds [app/server.py:1]."
    assert second.citations == (Citation("app/server.py", 2, 2),)  # shown with the first question
    assert not {source.path for source in second.sources} & {"app/server.py"}


def test_old_turns_go_when_the_context_is_full(index: Index) -> None:
    model = Scripted(" ".join(map(str, range(700))), "short", context=2200)
    session = AnswerSession(index, model)
    answered(session)
    last = answered(session, "Where does the client dial the server?")
    assert len(model.asked[1]) == 2
    assert "app/server.py" in {source.path for source in last.sources}  # it went with the turn that showed it


def test_the_budget_of_sources_holds(index: Index) -> None:
    model = Scripted("ok")
    sources = answered(AnswerSession(index, model, source_tokens=100)).sources
    assert [source.path for source in sources]
    assert all(source.path != "app/server.py" for source in sources)
    with pytest.raises(UsageError, match="no room"):
        list(AnswerSession(index, Scripted(context=120)).ask(QUESTION))


def test_weak_evidence_is_said_and_the_model_not_asked(index: Index) -> None:
    model = Scripted()
    last = answered(AnswerSession(index, model), "Which chocolate goes into walnut cakes?")
    assert last.weak
    assert last.text.startswith("The index holds nothing")
    assert last.sources
    assert not model.asked


def hit(text: str, cosine: float | None = None) -> Hit:
    return Hit("a.py", 1, 1, 1.0, "python", "", text, "", {} if cosine is None else {"cosine": cosine})


@pytest.mark.parametrize(
    ("question", "hits", "weak"),
    [
        ("How is the lock released?", [], True),
        ("How is the lock released?", [hit("pass", 0.5)], False),
        ("How is the lock released?", [hit("def release_lock(): pass", 0.1)], False),
        ("How is the lock released?", [hit("pass", 0.1)], True),
        ("How is locking released?", [hit("def release_lock(): pass")], False),
        ("what is this", [hit("pass", 0.1)], True),
        ("what is this", [hit("pass")], True),
    ],
)
def test_what_is_weak(question: str, hits: list[Hit], weak: bool) -> None:
    assert is_weak(question, hits) == weak


def test_a_definition_is_shown_as_it_was_indexed(write_files: Callable[[dict[str, str]], Path]) -> None:
    """Whatever its file is by now; a longer one is shown around the lines that were found."""
    longer = "def run_all():\n" + "".join(f"    outcome_{n} = run_the_step(number={n})\n" for n in range(300))
    root = write_files({"server.py": FILES["app/server.py"], "longer.py": longer})
    with Index.create(root) as index:
        for path in ("server.py", "longer.py"):
            (root / path).write_text("secret = 1\n")
        (source,) = widened(index.search("bind the port", 1, "lexical", freshness="none"), index.reader)
        assert (source.start_line, source.end_line, source.text) == (1, 63, FILES["app/server.py"])
        hits = index.search("outcome_150", 1, "lexical", freshness="none")
        (source,) = widened(hits, index.reader)
        assert source.text == "".join(longer.splitlines(True)[source.start_line - 1 : source.end_line])
        assert source.start_line < hits[0].start_line < hits[0].end_line < source.end_line
        assert len(hits[0].text) < len(source.text) <= 6000
        (source,) = widened([replace(hits[0], start_line=2)], index.reader)  # a place that this version has not
        assert source.text == hits[0].text


class Counted(Scripted):
    """Counts as a real tokenizer does, by the model's own chat template."""

    def __init__(self, prompts: PromptMaker, context: int) -> None:
        super().__init__("ok", context=context)
        self._prompts = prompts

    def count_tokens(self, prompt: str | Sequence[dict[str, str]]) -> int:
        return len(self._prompts.tokenize(prompt).ids)


class Given:
    """Finds the hits that it was given."""

    def __init__(self, index: Index, hits: list[Hit]) -> None:
        self.repo, self.reader, self._hits = index.repo, index.reader, hits

    def search(self, query: str, limit: int = 10, *, threshold: float | None = None, below: str = "") -> list[Hit]:
        return self._hits[:limit]


@pytest.fixture(scope="module", params=["qwen2", "llama-spm", "gpt-2", "bert-bge"])
def prompts(request: pytest.FixtureRequest) -> PromptMaker:
    path = reference(f"tokenizers/ggml-vocab-{request.param}.gguf")
    with GGUFFile.open(path) as file:  # it has no weights, so it is no checkpoint
        source: Any = SimpleNamespace(name=request.param, origin="gguf", config=file.metadata, tokenizer_path=path)
        return PromptMaker(source, tokenizer_from_path(path))


PIECES = st.sampled_from(
    ["\n", " ", "\t", "#", "### a:1-2", "<|im_end|>", "</s>", "|", "12", "größe", "😀", "return x"]
)


@given(
    texts=st.lists(st.lists(PIECES | st.text(max_size=12), max_size=60).map("".join), min_size=1, max_size=12),
    context=st.integers(900, 4000),
    source_tokens=st.integers(64, 1500),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_prompt_is_larger_than_its_budget(
    index: Index, prompts: PromptMaker, texts: list[str], context: int, source_tokens: int
) -> None:
    hits = [
        Hit(f"{n}.py", 1, text.count("\n") + 1, 1.0, "", "", text, "", {"cosine": 0.5}) for n, text in enumerate(texts)
    ]
    model = Counted(prompts, context)
    session = AnswerSession(Given(index, hits), model, source_tokens)
    try:
        first, *_ = session.ask(QUESTION)
    except UsageError as error:
        assert "no room" in str(error)
        return
    assert isinstance(first, SourcesEvent)
    (asked,) = model.asked
    tokens = model.count_tokens(asked)
    bare = model.count_tokens([asked[0], {"role": "user", "content": f"Question: {QUESTION}"}])
    assert first.prompt_tokens == tokens <= min(context - min(700, context // 3), bare + source_tokens)
    assert [source.path for source in first.sources] == [
        hit.path for hit in hits if f"### {hit.path}:" in asked[-1]["content"]
    ]


class Dearer(Scripted):
    """A conversation takes more tokens than its parts."""

    def count_tokens(self, prompt: str | Sequence[dict[str, str]]) -> int:
        more = 0 if isinstance(prompt, str) else 30 * prompt[-1]["content"].count("### ")
        return super().count_tokens(prompt) + more


def test_the_whole_prompt_decides(index: Index) -> None:
    model = Dearer("ok")
    hits = [Hit(f"{number}.py", 1, 1, 1.0, "", "", "x" * 380, "", {"cosine": 0.5}) for number in range(9)]
    first, *_ = AnswerSession(Given(index, hits), model, 500).ask(QUESTION)
    assert isinstance(first, SourcesEvent)
    bare = Scripted().count_tokens([*model.asked[0][:1], {"role": "user", "content": f"Question: {QUESTION}"}])
    assert [source.path for source in first.sources] == ["0.py", "1.py", "2.py"]
    assert first.prompt_tokens == model.count_tokens(model.asked[0]) <= bare + 500


def test_an_empty_question(index: Index) -> None:
    with pytest.raises(UsageError, match="empty"):
        list(AnswerSession(index, Scripted()).ask(" "))


def test_what_speaks_against_an_answer_is_said_once_for_every_edge(index: Index) -> None:
    model = Scripted(
        "It calls `bind` and `prepare_the_server(port, 1)` of `app/server.py` [app/server.py:1-2], as `True`.",
        "It calls `bind_all()` of `Server.prepare_the_server`, written in `python`.\n```\nnew_name()\n```\n",
    )
    first = answered(AnswerSession(index, model))
    assert (first.doubts, first.unknown, first.model) == ((), (), "scripted")
    second = answered(AnswerSession(index, model))
    assert second.unknown == ("bind_all()", "Server.prepare_the_server")
    assert second.doubts == (UNCITED, "None of the sources has `bind_all()`, `Server.prepare_the_server`.")
    weak = answered(AnswerSession(index, model), "What do whales eat?")
    assert (weak.weak, weak.doubts, weak.model) == (True, (), "")


def test_an_answer_that_goes_round_in_a_loop_is_ended(index: Index) -> None:
    line = "The server listens on a port [app/server.py:1-2].\n"
    last = answered(AnswerSession(index, Scripted("Well. " + line * 50)))
    assert last.repeated
    assert last.doubts == (REPEATED,)
    assert 4 <= last.text.count("listens") <= 6
    assert last.done == DONE
    rows = "".join(f"| {number} | the same [app/server.py:{number}] |\n" for number in range(1, 50))
    assert not answered(AnswerSession(index, Scripted(rows))).repeated
