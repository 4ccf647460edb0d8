"""The arguments of a tool: their schema, and what a model wrote read leniently, or refused with what to write instead.

Models write a string where a list is meant, null for what they leave out, and names that no tool has.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from turboprop.errors import UsageError
from turboprop.printable import quoted_name

_MOST_NAMED = 5
_MOST_NAMES = 64
_LONGEST_LIST = 10_000
"""Characters of a string that is read as a list."""


def a_list(value: object) -> object:
    """A string where a list is meant: a JSON list, or items with commas between them; those in braces belong to a
    glob."""
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST_LIST:
        raise ValueError(f"a string of up to {_LONGEST_LIST:,} characters is read as a list; give a JSON list")
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass  # a glob may begin with a bracket
    items, depth = [""], 0
    for letter in value:
        depth += {"{": 1, "}": -1 if depth else 0}.get(letter, 0)
        if letter == "," and not depth:
            items.append("")
        else:
            items[-1] += letter
    return [item for part in items if (item := part.strip())]


class Arguments:
    """What a tool takes, by the signature of its method; `stopped` is not for the caller."""

    def __init__(self, tool: Callable[..., str]) -> None:
        self._tool = tool.__name__
        signature = inspect.signature(tool, eval_str=True)
        self.stoppable = "stopped" in signature.parameters
        shown = {name: each for name, each in signature.parameters.items() if name != "stopped"}
        self._optional = {name for name, each in shown.items() if each.default is not each.empty}
        fields: dict[str, Any] = {
            name: (each.annotation, ... if each.default is each.empty else each.default) for name, each in shown.items()
        }
        self._model = create_model(self._tool, __config__=ConfigDict(extra="ignore"), **fields)
        self.schema = _without_titles(self._model.model_json_schema())

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """The arguments as the tool takes them, and a note on those that it does not know.

        Raises `UsageError` for what cannot be, and for a name that is nearly one of the tool's: to pass over a
        misspelt filter would be to answer another question.
        """
        names = list(self._model.model_fields)
        if len(given) > _MOST_NAMES:
            raise UsageError(f"{self._tool} takes {', '.join(names)}, and not {len(given)} arguments")
        unknown = [name for name in given if name not in names]
        for name in unknown:
            meant = _nearly(name, names)
            if meant:
                raise UsageError(
                    f"there is no argument {quoted_name(name)}; did you mean {meant}? It takes {', '.join(names)}"
                )
        known = {
            name: value
            for name, value in given.items()
            if name in names and not (value is None and name in self._optional)
        }
        try:
            read = self._model.model_validate(known)
        except ValidationError as error:
            raise UsageError(_told(error)) from None
        note = ""
        if unknown:
            few = ", ".join(map(quoted_name, unknown[:_MOST_NAMED])) + (", ..." if len(unknown) > _MOST_NAMED else "")
            note = f"{self._tool} has no argument {few}, which changed nothing; it takes {', '.join(names)}"
        return {name: getattr(read, name) for name in names}, note


def _nearly(name: str, names: list[str]) -> str | None:
    """The argument that a wrong name is nearly: another spelling, singular and plural, or a word of it."""
    words = {word.casefold().rstrip("s") for word in re.findall(r"[A-Z]?[a-z]+", name)}
    for known in names:
        plain = known.replace("_", "").rstrip("s")
        if plain in words or plain == re.sub(r"[\W_]+", "", name).casefold().rstrip("s"):
            return known
    close = difflib.get_close_matches(name, names, 1, 0.75)
    return close[0] if close else None


def _told(error: ValidationError) -> str:
    """What is wrong, in one sentence for each argument."""
    said = []
    for each in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_NAMED]:
        where = ".".join(map(str, each["loc"]))
        said.append(f"{where}: {each['msg']}" if where else each["msg"])
    return "; ".join(said)


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without pydantic's titles, which repeat the names, and without null, which is as leaving it out."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and value is None:
            continue
        made[key] = {name: _plain(each) for name, each in value.items()} if key == "properties" else value
    return made


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    field = _without_titles(field)
    kinds = [kind for kind in field.pop("anyOf", []) if kind != {"type": "null"}]
    return {**kinds[0], **field} if kinds else field
