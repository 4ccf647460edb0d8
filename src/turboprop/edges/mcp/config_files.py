"""The configuration files of agents: an entry is put in, taken out or looked for; everything else stays as it is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from turboprop.edges.mcp import jsonc, toml_text, yaml_text
from turboprop.edges.mcp.clients import CLIENTS, AgentClient, Place, entry, is_ours, served
from turboprop.errors import StorageError, TurboPropError, UsageError
from turboprop.files import open_regular, replacing

_MOST_BYTES = 50_000_000
_BY_HAND = "add what --print shows by hand"


def place(client: AgentClient, root: Path, user: bool) -> Place:
    """The file to write: in the repository where the agent reads one there and `user` is off, else in the home.

    Raises `UsageError` where the repository's file is a link that leads out of it.
    """
    if user or not client.project:
        return Place(client, _resolved(Path.home() / client.user), None)
    file = _resolved(root / client.project)
    if not file.is_relative_to(root):
        raise UsageError(f"{root / client.project} leads out of the repository; write the user's file with --user")
    return Place(client, file, root)


def snippet(where: Place, name: str, made: dict[str, Any]) -> str:
    """The part of the configuration that is ours, as text."""
    return _with(where.file, "", (*where.agent.keys, name), made)


def install(where: Place, name: str, repos: Sequence[Path], *, absolute: bool = False) -> bool:
    """Write the entry into the file, where everything else stays as it is; False where it stood there already.

    An entry of this name keeps its other keys, and the repositories that it serves. Raises `UsageError` for a file
    that cannot be understood and `StorageError` for one that cannot be written.
    """
    text, encoding = _read(where.file)
    base = None if absolute else where.root
    try:
        keys = (*_keys(where, text), name)
        there = _there(where.file, text, keys)
        before = served(there, where.root)
        made = {**there, **entry(where.agent, name, [*before, *(each for each in repos if each not in before)], base)}
        if made == there:
            return False
        changed = _with(where.file, text, keys, made)
    except (ValueError, UsageError) as error:
        raise _not_understood(where.file, error) from error
    _replace(where.file, changed, encoding)
    return True


def uninstall(where: Place, name: str) -> bool:
    """Take the entry out of the file; False where it has none. A file that says nothing else then is removed."""
    text, encoding = _read(where.file)
    if not text.strip():
        return False
    try:
        keys = (*_keys(where, text), name)
        if not _there(where.file, text, keys):
            return False
        changed = _without(where.file, text, keys)
    except (ValueError, UsageError) as error:
        raise _not_understood(where.file, error) from error
    if "".join(changed.split()) in ("", "{}"):
        try:
            where.file.unlink()
        except OSError as error:
            raise StorageError(f"cannot remove {where.file}: {error.strerror}") from error
    else:
        _replace(where.file, changed, encoding)
    return True


def installed(root: Path) -> Iterator[tuple[Place, str, list[Path]]]:
    """Every entry of ours that agents read in this repository and in the home: its place, name and repositories. A
    file that cannot be understood has none."""
    seen = set()
    for client in CLIENTS.values():
        for user in (False, True):
            try:
                where = place(client, root, user)
                text, _ = _read(where.file)
                found = _there(where.file, text, _keys(where, text)) if text.strip() else {}
            except (TurboPropError, ValueError):
                continue
            for name, made in found.items():
                if is_ours(made) and (where.file, client.title, name) not in seen:
                    seen.add((where.file, client.title, name))
                    yield where, name, served(made, where.root)


def _keys(where: Place, text: str) -> tuple[str, ...]:
    """The path to the servers; in a file of opencode's first version they are one level higher."""
    keys = where.agent.keys
    if keys == ("mcp", "servers") and text.strip():
        mcp = _there(where.file, text, ("mcp",))
        if any(isinstance(each, dict) and "type" in each for each in mcp.values()):
            return ("mcp",)
    return keys


def _there(file: Path, text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """What stands at a path of keys, {} for nothing. Raises `UsageError` where that, or one above it, is no mapping."""
    whole: Any = _value(file, text)
    for depth in range(len(keys) + 1):
        if not isinstance(whole, dict):
            raise UsageError(f"{'.'.join(keys[:depth]) or 'the whole'} does not hold names and values there")
        if depth < len(keys):
            whole = whole.get(keys[depth], {})
    return dict(whole)


def _value(file: Path, text: str) -> Any:
    if file.suffix == ".toml":
        return tomllib.loads(text)
    if file.suffix == ".yaml":
        return yaml_text.parse(text)
    return jsonc.parse(text).value if text.strip() else {}


def _with(file: Path, text: str, keys: tuple[str, ...], made: dict[str, Any]) -> str:
    """The text with the entry, and nothing else changed. Raises `ValueError` where that cannot be done."""
    if file.suffix == ".toml":
        ours = {key: value for key, value in made.items() if key in ("command", "args")}
        return toml_text.with_table(text, (keys[0], keys[1]), ours)
    if file.suffix == ".yaml":
        return yaml_text.with_member(text, (keys[0], keys[1]), made)
    changed = jsonc.with_member(text, keys, made)
    expected = _value(file, text)
    node = expected
    for key in keys[:-1]:
        node = node.setdefault(key, {})
    node[keys[-1]] = made
    return _checked(file, changed, expected)


def _without(file: Path, text: str, keys: tuple[str, ...]) -> str:
    """The text without the entry, and without what holds nothing then."""
    expected = _value(file, text)
    way = [expected]
    for key in keys[:-1]:
        way.append(way[-1][key])
    depth = len(keys)
    while depth > 1 and len(way[depth - 1]) == 1:
        depth -= 1
    del way[depth - 1][keys[depth - 1]]
    if file.suffix == ".toml":
        changed = toml_text.without_table(text, (keys[0], keys[1]))
        if keys[0] in tomllib.loads(changed):
            expected.setdefault(keys[0], {})  # its own head line stays
    elif file.suffix == ".yaml":
        changed = yaml_text.without_member(text, keys[:depth])
    else:
        changed = jsonc.without_member(text, keys[:depth])
    return _checked(file, changed, expected)


def _checked(file: Path, changed: str, expected: Any) -> str:
    if _value(file, changed) != expected:
        raise ValueError("the change would not be what was meant")
    return changed


def _not_understood(file: Path, error: Exception) -> UsageError:
    return UsageError(f"{file} is not changed, because it cannot be understood: {error}. {_BY_HAND.capitalize()}")


def _resolved(file: Path) -> Path:
    """Where a link leads; one that leads to itself is found when it is opened (`Path.resolve` raises RuntimeError)."""
    return Path(os.path.realpath(file))


def _read(file: Path) -> tuple[str, str]:
    try:
        with open_regular(file, follow=True) as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{file} has more than {_MOST_BYTES:,} bytes; {_BY_HAND}")
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text; {_BY_HAND}") from error


def _replace(file: Path, text: str, encoding: str) -> None:
    try:
        file = _resolved(file)  # people keep such files elsewhere and link to them: the link stays
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o777 if file.exists() else None
        with replacing(file, mode=0o644 if mode is None else mode) as stream:
            if mode is not None:
                os.chmod(stream.name, mode)  # noqa: PTH101  whatever the umask
            stream.write(text.encode(encoding))
    except (OSError, UnicodeEncodeError) as error:
        raise StorageError(f"cannot write {file}: {error}. {_BY_HAND.capitalize()}") from error
