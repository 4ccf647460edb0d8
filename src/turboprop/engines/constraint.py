"""Answers that keep to a JSON schema or a grammar: before each draw, which ids may come next.

The automaton is the package `llguidance` (3 MB, no dependencies), which knows the bytes of each token, so what
it allows is whole in the end whatever the vocabulary is. It is imported when the first constraint comes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.errors import EngineError, UsageError

if TYPE_CHECKING:
    from turboprop.engines.generation_contract import TokenRequest

Kind = Literal["json_schema", "grammar"]
LONGEST = 1 << 18
"""Characters of a schema or grammar."""

SPACING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One space: where any white space is allowed, a small model writes nothing else until its tokens end."""


def supported() -> frozenset[Kind]:
    """What can be kept here: all of it where `llguidance` is installed."""
    return frozenset(("json_schema", "grammar")) if importlib.util.find_spec("llguidance") else frozenset()


class _NoAnswerError(UsageError, EngineError):
    """Whoever wrote the constraint is at fault, and sometimes only the engine's loop finds it out."""


class Constraint:
    """One answer's automaton."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary

    @property
    def complete(self) -> bool:
        """Whether nothing may follow any more."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> NDArray[np.bool_]:
        """Which ids may come next, [vocabulary]. Raises `UsageError` where nothing may, or it grows too large."""
        bits = self._matcher.compute_bitmask()
        self._check()
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=self._vocabulary, bitorder="little").view(np.bool_)

    def accept(self, number: int) -> None:
        """This id came."""
        self._matcher.consume_token(number)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _NoAnswerError(
                "the json_schema or grammar leads to no answer: it refers to itself without an end, or grows too "
                "large; simplify it"
            )


class Constraints:
    """Makes the automata of one model. The tokenizer is read once, when the first is wanted."""

    def __init__(self, tokenizer_path: Path, vocabulary: int) -> None:
        self._path = tokenizer_path
        self._vocabulary = vocabulary
        self._lock = Lock()
        self._tokenizers: dict[frozenset[int], Any] = {}

    def make(self, request: TokenRequest) -> Constraint | None:
        """The request's automaton; None where it has no constraint. Raises `UsageError` for one that is wrong."""
        if checked_grammar(request) is None:
            return None
        import llguidance

        tokenizer = self._tokenizer(request.stop_ids)
        grammar = checked_grammar(request, tokenizer) or ""

        matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise UsageError(f"the constraint cannot be used: {matcher.get_error():.300}")
        made = Constraint(matcher, self._vocabulary)
        made.allowed()  # `root ::= root` is well formed, and fails at the first id
        return made

    def _tokenizer(self, stop_ids: frozenset[int]) -> Any:
        """The vocabulary's bytes: 1.6 s for 152,000 tokens."""
        import llguidance

        from turboprop.models.tokenizer.load import tokenizer_from_path

        with self._lock:
            if stop_ids not in self._tokenizers:
                text = tokenizer_from_path(self._path).to_str()
                ends = sorted(stop_ids) or None
                try:
                    made = llguidance.LLTokenizer(text, n_vocab=self._vocabulary, eos_token=ends)
                except ValueError as error:
                    raise UsageError(f"this model's tokenizer takes no constraint: {error!s:.300}") from None
                self._tokenizers[stop_ids] = made
            return self._tokenizers[stop_ids]


def checked_grammar(request: TokenRequest, tokenizer: Any = None) -> str | None:
    """The request's constraint in llguidance's words, None where it has none; raises `UsageError` for a wrong one."""
    kind: Kind = "json_schema" if request.json_schema is not None else "grammar"
    text = request.json_schema if request.json_schema is not None else request.grammar
    if text is None:
        return None
    if request.json_schema is not None and request.grammar is not None:
        raise UsageError("json_schema and grammar exclude each other; give one")
    if kind not in supported():
        raise UsageError(f"{kind} needs the package llguidance: pip install llguidance")
    if len(text) > LONGEST:
        raise UsageError(f"{kind} has {len(text)} characters, more than the {LONGEST} that are taken")
    import llguidance

    try:
        if kind == "grammar":
            grammar: str = llguidance.grammar_from("gbnf", text)
        else:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=SPACING)
        problem = llguidance.LLMatcher.validate_grammar(grammar, tokenizer)
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise UsageError(f"{kind} cannot be used: {problem:.300}")
    return grammar
