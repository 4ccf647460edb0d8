"""Chat templates are programs from strangers' files: they run with limits on time, size and vocabulary.

jinja2's ImmutableSandboxedEnvironment keeps them from Python's objects. It does not keep them from making a
text of a terabyte or from looping for a year, so every operation that makes a larger value out of a smaller
one is checked before it runs, and a trace ends the rendering when its time is over.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import TemplateError, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from turboprop.errors import ModelFormatError, UsageError

LONGEST_TEMPLATE = 1 << 18
"""Characters: no template is a quarter of a megabyte."""
LONGEST_OUTPUT = 1 << 22
SECONDS = 2.0
"""A template formats a few messages; one that runs so long loops."""
_MOST_ITEMS = 1 << 16
_LARGEST_NUMBER = 1 << 63
_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "tojson",
        "trim",
        "unique",
        "upper",
    ]
)
_STRING_METHODS = frozenset(
    [
        "capitalize",
        "count",
        "endswith",
        "find",
        "index",
        "isalnum",
        "isalpha",
        "isdecimal",
        "isdigit",
        "islower",
        "isnumeric",
        "isspace",
        "istitle",
        "isupper",
        "join",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "replace",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    ]
)


class _TooMuchError(SecurityError):
    """A template wants more than any chat needs."""


class _RaisedError(TemplateError):
    """The template refuses the conversation with words of its own (`raise_exception`)."""


class _Generator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  jinja2's name
        """`a ~ b`, which otherwise is no call that a sandbox sees."""
        self.write("environment.concat((")
        for part in node.nodes:
            self.write("environment.finalize(")
            self.visit(part, frame)
            self.write("), ")
        self.write("))")


class _Generation(Extension):
    """`{% generation %}`, with which transformers marks what a training is to learn: of a prompt, what is inside."""

    tags = {"generation"}  # noqa: RUF012  jinja2's name

    def parse(self, parser: Parser) -> nodes.Node:
        next(parser.stream)
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    intercepted_binops = frozenset(("+", "*", "**", "%", "//", "/", "-"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            extensions=[loopcontrols, _Generation],
            finalize=_text,
            autoescape=False,
            cache_size=0,
        )
        self.concat = _joined  # type: ignore[method-assign]
        self.filters = {name: checked for name, checked in self.filters.items() if name in _FILTERS}
        self.filters |= {
            "join": _join_filter,
            "replace": _replace_filter,
            "string": _text,
            "tojson": _tojson,
        }
        self.globals = {
            "range": self.globals["range"],
            "namespace": self.globals["namespace"],
            "dict": self.globals["dict"],
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def wrap_str_format(self, value: Any) -> None:
        """jinja2 would offer a checked `str.format`, whose widths it does not check; so there is none."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr not in _STRING_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "join":
            return _join_filter(args[0] if args else (), owner)
        if isinstance(owner, str) and name == "replace":
            return _replace_filter(owner, *args)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for value in (left, right):
            if isinstance(value, int | float) and abs(value) >= _LARGEST_NUMBER:
                raise _TooMuchError(f"a number of {value!s:.20}")
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "+" and not numbers:
            _check(_size(left) + _size(right))
        elif operator == "**" or (operator in ("*", "%") and not numbers):
            raise _TooMuchError(f"the operator {operator} of these values")
        return super().call_binop(context, operator, left, right)


def _size(value: Any, budget: int = LONGEST_OUTPUT) -> int:
    """About the characters of the value written out. Raises where they are more than `budget`."""
    if isinstance(value, str):
        size = len(value)
    elif isinstance(value, Mapping):
        size = 2
        for key, item in value.items():
            size += _size(key, budget - size) + _size(item, budget - size) + 4
            _check(size, budget)
    elif isinstance(value, list | tuple | set | frozenset):
        size = 2
        for item in value:
            size += _size(item, budget - size) + 2
            _check(size, budget)
    else:
        size = 32
    _check(size, budget)
    return size


def _check(size: int, most: int = LONGEST_OUTPUT) -> None:
    if size > most:
        raise _TooMuchError(f"a value of more than {LONGEST_OUTPUT} characters")


def _text(value: Any) -> str:
    _size(value)
    return str(value)


def _joined(parts: Iterable[str]) -> str:
    parts, size = list(parts), 0
    for part in parts:
        size += len(part)
        _check(size)
    return "".join(parts)


def _join_filter(value: Iterable[Any], d: Any = "", attribute: str | None = None) -> str:
    if attribute is not None:
        raise _TooMuchError("join by an attribute")
    items = []
    for item in value:
        items.append(_text(item))
        if len(items) > _MOST_ITEMS:
            raise _TooMuchError(f"a list of more than {_MOST_ITEMS} items")
    separator = _text(d)
    _check(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _replace_filter(s: Any, old: Any, new: Any, count: int = -1) -> str:
    text, old, new = _text(s), _text(old), _text(new)
    found = text.count(old)
    _check(len(text) + (found if count < 0 else min(count, found)) * len(new))
    return text.replace(old, new, count)


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    _size(value)
    if isinstance(value, Undefined):
        raise _TooMuchError("tojson of nothing")
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(int(indent), 8))


def _raise_exception(message: object) -> NoReturn:
    raise _RaisedError(_text(message)[:300])


def _strftime_now(form: object) -> str:
    text = _text(form)
    _check(len(text), 100)
    return datetime.datetime.now().strftime(text)


class ChatTemplate:
    """A compiled template. `name` says whose it is, for errors."""

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self.source = source
        if len(source) > LONGEST_TEMPLATE:
            raise ModelFormatError(f"the chat template of {name} has {len(source)} characters: it is none")
        environment = _Environment()
        self._template = self._guarded(lambda: environment.from_string(source))

    def render(self, messages: Sequence[Mapping[str, Any]], **names: Any) -> str:
        """Raises `UsageError` where the template refuses the conversation, `ModelFormatError` where it is
        broken, takes more than `SECONDS` or makes more than `LONGEST_OUTPUT` characters."""

        def render() -> str:
            return _joined(self._template.generate(messages=[dict(message) for message in messages], **names))

        return str(self._guarded(lambda: _within(SECONDS, render)))

    def _guarded(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except _RaisedError as error:
            raise UsageError(f"the chat template of {self._name} refuses this conversation: {error}") from None
        except _TimeIsOverError:
            raise ModelFormatError(f"the chat template of {self._name} ran longer than {SECONDS:g} s") from None
        except RecursionError:
            raise ModelFormatError(f"the chat template of {self._name} calls itself without end") from None
        except MemoryError:
            raise ModelFormatError(f"the chat template of {self._name} takes all memory") from None
        except Exception as error:  # whatever a stranger's program can raise
            raise ModelFormatError(f"the chat template of {self._name} fails: {error!s:.300}") from None


class _TimeIsOverError(BaseException):
    """No handler of jinja2 or of a filter may take it for an error of the template."""


def _within(seconds: float, run: Callable[[], str]) -> str:
    """Run in this thread, and end it when the time is over: at the next line of Python."""
    deadline = time.monotonic() + seconds
    before = sys.gettrace()

    def trace(*_: Any) -> Any:
        if time.monotonic() > deadline:
            raise _TimeIsOverError
        return trace

    sys.settrace(trace)
    try:
        return run()
    finally:
        sys.settrace(before)
