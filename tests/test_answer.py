"""Answers about a repository: real index and search; the model is scripted, so that what it cites is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from turboprop import GenerationOptions, Index
from turboprop.answer import AnsweredEvent, Asker, SourcesEvent, TextEvent, is_weak, widened
from turboprop.errors import UsageError
from turboprop.generate.citations import Citation
from turboprop.generate.events import DoneEvent, GenerationEvent, ReasoningEvent, Timings, Usage
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


class Scripted:
    """Says what the script says, four characters at a time, and remembers what it was asked."""

    def __init__(self, *answers: str, context: int = 4000) -> None:
        self.context = context
        self.answers = list(answers)
        self.asked: list[list[dict[str, str]]] = []

    def count_tokens(self, prompt: Sequence[dict[str, str]]) -> int:
        return sum(len(message["content"]) // 4 + 4 for message in prompt)

    @contextmanager
    def stream(
        self, prompt: Sequence[dict[str, str]], options: GenerationOptions
    ) -> Iterator[Iterator[GenerationEvent]]:
        assert self.count_tokens(prompt) < self.context
        self.asked.append(list(prompt))
        text = self.answers.pop(0)
        pieces = [TextEvent(text[start : start + 4]) for start in range(0, len(text), 4)]
        yield iter([ReasoningEvent("hm"), *pieces, DONE])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("repo")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    with Index.create(root) as made:
        yield made


QUESTION = "How does the server listen on a port?"


def answered(asker: Asker, question: str = QUESTION) -> AnsweredEvent:
    *_, last = asker.ask(question)
    assert isinstance(last, AnsweredEvent)
    return last


def test_real_citations_stay_and_invented_ones_go(index: Index) -> None:
    model = Scripted("It binds [app/server.py:1-2]. It also flies [app/wings.py:3-4], see [app/server.py:900].")
    events = list(Asker(index, model).ask(QUESTION))
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
    sources = answered(Asker(index, model)).sources
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
    asker = Asker(index, model)
    answered(asker)
    second = answered(asker, "And which port does it listen on?")
    assert model.asked[1][: len(model.asked[0])] == model.asked[0]
    assert model.asked[1][len(model.asked[0])]["content"] == "It binds [app/server.py:1]."
    assert second.citations == (Citation("app/server.py", 2, 2),)  # shown with the first question
    assert not {source.path for source in second.sources} & {"app/server.py"}


def test_old_turns_go_when_the_context_is_full(index: Index) -> None:
    model = Scripted("x" * 3000, "short", context=2200)
    asker = Asker(index, model)
    answered(asker)
    answered(asker, "Where does the client dial the server?")
    assert len(model.asked[1]) == 2


def test_the_budget_of_sources_holds(index: Index) -> None:
    model = Scripted("ok")
    sources = answered(Asker(index, model, source_tokens=100)).sources
    assert [source.path for source in sources]
    assert all(source.path != "app/server.py" for source in sources)
    with pytest.raises(UsageError, match="no room"):
        list(Asker(index, Scripted(context=120)).ask(QUESTION))


def test_weak_evidence_is_said_and_the_model_not_asked(index: Index) -> None:
    model = Scripted()
    last = answered(Asker(index, model), "Which chocolate goes into walnut cakes?")
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


def test_a_changed_file_is_shown_as_it_was_indexed(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files({"a.py": "x = 2\n"})
    found = Hit("a.py", 1, 1, 1.0, "python", "x", "x = 1\n")
    (source,) = widened([found, found], root)
    assert source.text == "x = 1\n"
    text = "def shown():\n    return 1\n"
    for path in ("outside.py", "repo/there.py"):
        (root.parent / path).write_text(text)
    (root / "link.py").symlink_to("there.py")
    os.mkfifo(root / "pipe.py")

    def lines(path: str) -> int:
        return widened([Hit(path, 1, 1, 1.0, "python", "shown", "def shown():\n")], root)[0].end_line

    assert lines("there.py") == 2  # grown to the definition in the file
    for path in ("../outside.py", str(root.parent / "outside.py"), "link.py", "pipe.py", "gone.py"):
        assert lines(path) == 1


def test_an_empty_question(index: Index) -> None:
    with pytest.raises(UsageError, match="empty"):
        list(Asker(index, Scripted()).ask(" "))
