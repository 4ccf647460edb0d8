"""Questions about a repository: retrieve, pack the context, generate, and check every citation.

Sources come before the question and earlier turns stay as they were, so a follow-up shares their prefix and
the model reads only what is new.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from turboprop import limits
from turboprop.code.inside import is_inside
from turboprop.errors import UsageError
from turboprop.generate.citations import Citation, CitationFilter
from turboprop.generate.events import DoneEvent, GenerationEvent, ReasoningEvent, TextEvent
from turboprop.generate.grounding import unknown_names
from turboprop.generate.options import GenerationOptions
from turboprop.generate.repetition import RepetitionGuard
from turboprop.printable import printable, printable_name
from turboprop.search.analysis import STOP_WORDS
from turboprop.search.excerpt import whole_definitions

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from turboprop.index.read import IndexReader
    from turboprop.types import Hit

SYSTEM = (
    "You answer questions about a repository from the numbered source lines that you are given. "
    "After each statement cite the lines it rests on as [path:start-end], with the paths and line numbers as shown, "
    "for example [src/server.py:10-14]. Use nothing that the sources do not show. Where they do not answer the "
    "question, say so. Be brief."
)
SOURCE_TOKENS = 3000
"""Tokens of sources for one question: 7 to 14 s of reading on two cores with a 0.6B model (220 to 450 a second)."""
ANSWER_TOKENS = 700
_HEADING = "Sources:\n\n"
_NEXT = "#"
"""How what follows a source begins: at the end of a text, many tokenizers make one token of two line ends."""
_DEFINITION_CHARS = 6000
"""Characters of a definition that is shown whole; of a longer one, what lies around the hit is shown."""
_CANDIDATES = 24
_SYMBOL_CHARS = 200
_WEAK_COSINE = 0.3
"""The best of 24 hits had 0.36 to 0.65 for ten questions about the code of our engines, 0.11 to 0.29 for ten about
other things (all-MiniLM-L6-v2)."""
_WEAK_WORDS = 0.6
_ASKING_WORDS = frozenset(
    """
    also because but class code doing explain file files function get give had has have just like made make makes
    many more most much now off only out own please same show tell them through use used uses using way whose work
    works
    """.split()  # noqa: SIM905  a list of words reads better than a list of literals
)
"""Further words of questions that say nothing of what is asked; in a search `class` or `file` may be what is meant."""


class Retriever(Protocol):
    """What an answer needs of an index: `turboprop.Index` is one."""

    @property
    def repo(self) -> Path:
        """The repository's root."""

    @property
    def reader(self) -> IndexReader:
        """The version of the index that `search` searches."""

    def search(self, query: str, limit: int = 10, *, threshold: float | None = None, below: str = "") -> list[Hit]:
        """The best chunks of a folder (all, for '') for a query, best first."""


class ChatStream(Protocol):
    """The events of one generation; what a `with` leaves is ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def reading(self) -> Iterator[int]:
        """How many tokens of the prompt are read, until the first event."""

    def __iter__(self) -> Iterator[GenerationEvent]: ...

    def cancel(self) -> None:
        """End the generation; its `DoneEvent` follows."""


class ChatModel(Protocol):
    """What an answer needs of a language model: `turboprop.LanguageModel` is one."""

    @property
    def name(self) -> str: ...

    @property
    def context(self) -> int: ...

    def count_tokens(self, prompt: str | Sequence[dict[str, str]]) -> int: ...

    def stream(self, prompt: Sequence[dict[str, str]], options: GenerationOptions) -> ChatStream: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Lines that the model is shown; `text` is theirs."""

    path: str
    start_line: int
    end_line: int
    symbol: str
    score: float
    text: str

    @property
    def name(self) -> str:
        """The path as the model sees and cites it, and people see it."""
        return printable_name(self.path)

    def numbered(self) -> str:
        """As the model sees it: a head, and each line with its number."""
        # No file can write a head of its own: its lines have numbers, and its name stands on one line.
        symbol = f" ({printable_name(self.symbol[:_SYMBOL_CHARS])})" if self.symbol else ""
        head = f"### {self.name}:{self.start_line}-{self.end_line}{symbol}"
        lines = printable(self.text.removesuffix("\n")).split("\n")
        return "\n".join([head, *(f"{number}| {line}" for number, line in enumerate(lines, self.start_line))])


@dataclass(frozen=True, slots=True)
class SourcesEvent:
    """What was found, before the answer. `weak`: it does not carry an answer, so the model is not asked."""

    sources: tuple[Source, ...]
    weak: bool
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class ReadingEvent:
    """How many of the `prompt_tokens` the model has read, those that it knew from an earlier prompt among them."""

    tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class AnsweredEvent:
    """The end. `removed` are citations that the model invented; they were taken out of the text. `unknown` are names in
    code marks that nothing which the model was shown has. `repeated`: it went round in a loop and was ended. `model`
    is the one that answered, '' where none was asked."""

    text: str
    citations: tuple[Citation, ...]
    removed: tuple[str, ...]
    sources: tuple[Source, ...]
    weak: bool
    done: DoneEvent | None
    unknown: tuple[str, ...] = ()
    repeated: bool = False
    model: str = ""

    @property
    def uncited(self) -> bool:
        """Whether a model's answer cites no line: nothing shows then that it rests on the sources."""
        return not self.weak and not self.citations

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the answer should not be taken as it stands, a sentence each, safe to show; every edge shows them."""
        said = [UNCITED] if self.uncited else []
        if self.unknown:
            names = ", ".join(f"`{printable_name(name)}`" for name in self.unknown)
            said.append(f"None of the sources has {names}.")
        return (*said, REPEATED) if self.repeated else tuple(said)


UNCITED = "This answer cites none of its sources: treat it as a guess."
REPEATED = "The model began to repeat itself and was stopped there."
AnswerEvent = SourcesEvent | ReadingEvent | ReasoningEvent | TextEvent | AnsweredEvent
WEAK_ANSWER = "The index holds nothing that answers this with confidence. The nearest places are listed as sources."


class AnswerSession:
    """A session of questions about one repository."""

    def __init__(
        self,
        index: Retriever,
        model: ChatModel,
        source_tokens: int = SOURCE_TOKENS,
        history: Sequence[tuple[str, str]] = (),
        *,
        below: str = "",
    ) -> None:
        """Sources are taken from the folder `below` of the repository, from all of it for ''. `history` are earlier
        questions with their answers, whose sources are not shown again."""
        limits.SOURCE_TOKENS.check(source_tokens)
        self._index = index
        self._model = model
        self._source_tokens = source_tokens
        self._below = below
        self._turns: list[dict[str, str]] = []
        self._questions: list[str] = []
        for question, answer in history:
            self._questions.append(question)
            self._turns.append({"role": "user", "content": f"Question: {question}"})
            self._turns.append({"role": "assistant", "content": answer})
        self._shown: dict[str, set[int]] = {}
        self._paths: dict[str, str] = {}
        self._texts: list[str] = []

    def ask(self, question: str, options: GenerationOptions | None = None) -> Iterator[AnswerEvent]:
        """Answer one question; a later one knows the earlier ones. Closing the iterator ends the generation."""
        limits.QUESTION.check(question)
        # A follow-up such as "and where is it closed?" says too little by itself.
        query = question if not self._questions else f"{self._questions[-1]} {question}"[-limits.QUERY.most :]
        # Also what the search is not sure of: whether it carries an answer is judged below, and it is shown if not.
        hits = self._index.search(query, _CANDIDATES, threshold=0, below=self._below)
        weak = is_weak(query, hits)
        found = widened(hits, self._index.reader)
        if weak:
            sources = tuple(found[:5])
            yield SourcesEvent(sources, True, 0)
            yield TextEvent(WEAK_ANSWER)
            yield AnsweredEvent(WEAK_ANSWER, (), (), sources, True, None)
            return
        messages, sources, prompt_tokens = self._packed(question, found)
        yield SourcesEvent(sources, False, prompt_tokens)
        for source in sources:
            self._shown.setdefault(source.name, set()).update(range(source.start_line, source.end_line + 1))
            self._paths[source.name] = source.path
        self._texts += [question, *(f"{source.name}\n{source.symbol}\n{source.text}" for source in sources)]
        guard, repeated = RepetitionGuard(), False
        checked, thought = (CitationFilter(self._shown, self._is_file) for _ in range(2))
        text: list[str] = []
        done: DoneEvent | None = None
        wishes = options or GenerationOptions(temperature=0.2, max_tokens=ANSWER_TOKENS)
        with self._model.stream(messages, wishes) as stream:
            for tokens in stream.reading():
                yield ReadingEvent(tokens, prompt_tokens)
            for event in stream:
                if isinstance(event, DoneEvent):
                    done = event
                elif isinstance(event, ReasoningEvent):
                    if piece := thought.push(event.text):
                        yield ReasoningEvent(piece, event.logprobs)
                elif not repeated:
                    if piece := checked.push(event.text):
                        text.append(piece)
                        yield TextEvent(piece)
                    if guard.push(event.text):
                        repeated = True
                        stream.cancel()
        if piece := thought.finish():
            yield ReasoningEvent(piece)
        if piece := checked.finish():
            text.append(piece)
            yield TextEvent(piece)
        answer = "".join(text)
        self._turns = [*messages[1:], {"role": "assistant", "content": answer}]
        self._questions.append(question)
        citations = tuple(dataclasses.replace(one, path=self._paths[one.path]) for one in checked.citations)
        unknown = unknown_names(answer, self._texts)
        yield AnsweredEvent(
            answer, citations, checked.removed, sources, False, done, unknown, repeated, self._model.name
        )

    def _is_file(self, name: str) -> bool:
        return is_inside(self._index.repo, name)

    def _knows(self, source: Source) -> bool:
        known = self._shown.get(source.name, set())
        return all(line in known for line in range(source.start_line, source.end_line + 1))

    def _packed(self, question: str, found: Sequence[Source]) -> tuple[list[dict[str, str]], tuple[Source, ...], int]:
        """The conversation with as many of the best sources as fit, and its tokens; earlier turns go when nothing
        else does.

        Each source is counted once, by itself, and the whole decides: a tokenizer may need more tokens for a text
        than for its parts. Of 400 prompts of code and odd characters, none to 42 with eight tokenizers did, by up to 9.
        """
        count = self._model.count_tokens
        room = self._model.context - min(ANSWER_TOKENS, self._model.context // 3)
        heading = count(_HEADING + _NEXT)
        sized = [(source, count(_shown(source) + _NEXT)) for source in found]
        while True:
            bare = count(self._messages(question, ()))
            most = min(room, bare + self._source_tokens)
            left = most - bare - heading
            new = [(source, size) for source, size in sized if not self._knows(source)]
            chosen: list[Source] = []
            for source, size in new:
                if size <= left:
                    chosen.append(source)
                    left -= size
            tokens = count(self._messages(question, chosen)) if chosen else bare
            while chosen and tokens > most:
                chosen.pop()
                tokens = count(self._messages(question, chosen))
            if (chosen or not new) and bare <= room:
                return self._messages(question, chosen), tuple(chosen), tokens
            if not self._turns:
                raise UsageError(
                    f"a context of {self._model.context} tokens has no room for this question and a source; "
                    "load the model with a larger context, or ask for more tokens of sources"
                )
            self._turns, self._shown, self._paths, self._texts = [], {}, {}, []

    def _messages(self, question: str, sources: Sequence[Source]) -> list[dict[str, str]]:
        told = [{"role": "system", "content": SYSTEM}, *self._turns]
        content = (
            f"{_HEADING}{''.join(map(_shown, sources))}Question: {question}" if sources else f"Question: {question}"
        )
        return [*told, {"role": "user", "content": content}]


def _shown(source: Source) -> str:
    """A source and the blank line after it."""
    return f"{source.numbered()}\n\n"


def is_weak(question: str, hits: Sequence[Hit]) -> bool:
    """Whether the hits do not carry an answer: far from the question by meaning, and without most of its words."""
    if not hits:
        return True
    cosines = [hit.parts["cosine"] for hit in hits if "cosine" in hit.parts]
    if cosines and max(cosines) >= _WEAK_COSINE:
        return False
    words = {word.lower() for word in re.findall(r"\w{3,}", question)} - STOP_WORDS - _ASKING_WORDS
    if not words:
        return True
    texts = "\n".join(f"{hit.path} {hit.symbol} {hit.text}" for hit in hits[:10]).lower()
    # The beginning of a word stands for its other forms: "locking", "locked" and "locks" share "lock".
    met = sum(word[: max(4, len(word) - 3)] in texts for word in words)
    return met < _WEAK_WORDS * len(words)


def widened(hits: Sequence[Hit], reader: IndexReader) -> list[Source]:
    """Sources of the hits, best first: each grown to its whole definition as it is indexed, what overlaps once."""
    found: list[Source] = []
    for hit in whole_definitions(reader, hits, _DEFINITION_CHARS):
        source = Source(hit.path, hit.start_line, hit.end_line, hit.symbol, hit.score, hit.text)
        overlapping = [other for other in found if other.path == source.path and _overlap(other, source)]
        if not overlapping:
            found.append(source)
        elif len(overlapping) == 1 and _inside(overlapping[0], source):
            found[found.index(overlapping[0])] = source
    return found


def _overlap(one: Source, other: Source) -> bool:
    return one.start_line <= other.end_line and other.start_line <= one.end_line


def _inside(inner: Source, outer: Source) -> bool:
    return outer.start_line <= inner.start_line and inner.end_line <= outer.end_line
