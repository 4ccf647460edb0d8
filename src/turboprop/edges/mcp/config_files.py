"""The configuration files of agents: an entry is put in, taken out or looked for; everything else stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turboprop.edges.mcp import jsonc, toml_text, yaml_text
from turboprop.edges.mcp.clients import CLIENTS, AgentClient, Place, entry, is_ours, served
from turboprop.errors import StorageError, TurboPropError, UsageError
from turboprop.files import open_regular, replacing

_MOST_BYTES = 50_000_000
_BY_HAND = "add what --print shows by hand"
_OF_COMMAND = ("command", "cmd", "args")


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install` did. `kept` names the members of the entry that stood there and are not ours, such as `env`;
    `left_out` are the repositories outside of this one that it served and does not serve any more."""

    changed: bool
    kept: list[str]
    left_out: list[Path]


def place(client: AgentClient, root: Path, user: bool) -> Place:
    """The file to write: in the repository where the agent reads one there and `user` is off, else in the home.

    It has the agent's own name for it, whose suffix says the format, wherever a link in the home leads. Raises
    `UsageError` where the repository's file is a link, or lies behind one that leads out of it or into `.git`: a
    repository comes from others, and hooks are run.
    """
    if user or not client.project:
        return Place(client, Path.home() / client.user, None)
    file = root / client.project
    if wrong := why_not_written(root, file):
        raise UsageError(f"{file} {wrong}, so it is left alone; write the user's file with --user")
    return Place(client, file, root)


def why_not_written(root: Path, file: Path) -> str:
    """Why a file of the repository `root` is left alone, '' where it may be written."""
    target = _resolved(file)
    if not target.is_relative_to(root):
        return "leads out of the repository"
    if any(part.casefold() == ".git" for part in target.relative_to(root).parts):
        return "leads into .git"
    return "is a link" if file.is_symlink() else ""


def snippet(where: Place, name: str, made: dict[str, Any]) -> str:
    """The part of the configuration that is ours, as text."""
    return _with(where.file, "", (*where.agent.keys, name), made)


def install(where: Place, name: str, repos: Sequence[Path], *, absolute: bool = False) -> Installed:
    """Write the entry into the file, where everything else stays as it is.

    An entry of ours keeps its other members, and the repositories that it serves; in a repository's file, which others
    may have written, only those inside. Raises `UsageError` for a file that cannot be understood and for an entry of
    this name that is not ours, and `StorageError` for a file that cannot be written.
    """
    text, encoding = read_text(where.file)
    base = None if absolute else where.root
    keys, there = _found(where, text, name)
    if there and not is_ours(there):
        raise UsageError(f"{name} in {where.file} is another server, so it is left alone; choose a name with --name")
    try:
        named = served(there, where.root)
        before = [each for each in named if where.root is None or _resolved(each).is_relative_to(where.root)]
        ours = entry(where.agent, name, [*before, *(each for each in repos if each not in before)], base)
        made = {**ours, **there, **{key: ours[key] for key in _OF_COMMAND if key in ours}}
        changed = text if made == there else _with(where.file, text, keys, made)
    except (ValueError, UsageError) as error:
        raise _not_understood(where.file, error) from error
    if made != there:
        replace_text(where.file, changed, encoding)
    kept = [_named(key, value) for key, value in made.items() if key not in ours or ours[key] != value]
    return Installed(made != there, kept, [each for each in named if each not in before and each not in repos])


def uninstall(where: Place, name: str) -> bool:
    """Take the entry out of the file; False where it has none. The file stays, and what the entry stood in.

    Raises as `install` does.
    """
    text, encoding = read_text(where.file)
    keys, there = _found(where, text, name)
    if not there:
        return False
    if not is_ours(there):
        raise UsageError(
            f"{name} in {where.file} is another server, so it is left alone; `tp mcp list` shows the names of ours"
        )
    try:
        changed = _without(where.file, text, keys)
    except (ValueError, UsageError) as error:
        raise _not_understood(where.file, error) from error
    replace_text(where.file, changed, encoding)
    return True


def installed(root: Path) -> Iterator[tuple[Place, str, list[Path]]]:
    """Every entry of ours that agents read in this repository and in the home: its place, name and repositories. A
    file that cannot be understood has none."""
    seen = set()
    for client in CLIENTS.values():
        for user in (False, True):
            try:
                where = place(client, root, user)
                text, _ = read_text(where.file)
                found = _there(where.file, text, _keys(where, text)) if text.strip() else {}
            except (TurboPropError, ValueError):
                continue
            for name, made in found.items():
                key = (_resolved(where.file), client.title, name)
                if is_ours(made) and key not in seen:
                    seen.add(key)
                    yield where, name, served(made, where.root)


def _found(where: Place, text: str, name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The path to the entry of a name, and what stands there, {} for nothing. Raises `UsageError`."""
    try:
        keys = (*_keys(where, text), name)
        return keys, _there(where.file, text, keys)
    except (ValueError, UsageError) as error:
        raise _not_understood(where.file, error) from error


def _named(key: str, value: Any) -> str:
    """A member for the screen: the names in it and no values, which may be secrets."""
    return f"{key} ({', '.join(map(str, value))})" if isinstance(value, dict) else str(key)


def _keys(where: Place, text: str) -> tuple[str, ...]:
    """The path to the servers; in a file of opencode's first version they are one level higher."""
    keys = where.agent.keys
    if keys == ("mcp", "servers") and text.strip():
        mcp = _there(where.file, text, ("mcp",))
        if any(isinstance(each, dict) and "type" in each for each in mcp.values()):
            return ("mcp",)
    return keys


def _there(file: Path, text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """What stands at a path of keys, {} for nothing and for null. Raises `UsageError` where that, or one above it, is
    no mapping."""
    whole: Any = _value(file, text)
    for depth in range(len(keys) + 1):
        if whole is None:
            return {}
        if not isinstance(whole, dict):
            raise UsageError(f"{'.'.join(keys[:depth]) or 'the whole'} does not hold names and values there")
        if depth < len(keys):
            whole = whole.get(keys[depth], {})
    return dict(whole)


def _value(file: Path, text: str) -> Any:
    if file.suffix == ".toml":
        return toml_text.parse(text)
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
    there = _there(file, text, keys)
    changed = text if there else jsonc.with_member(text, keys, made)
    for key in (each for each in made if there and (each not in there or there[each] != made[each])):
        changed = jsonc.with_member(changed, (*keys, key), made[key])  # the others keep their comments
    expected = _value(file, text) or {}
    node = expected
    for key in keys[:-1]:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
    node[keys[-1]] = made
    return _checked(file, changed, expected)


def _without(file: Path, text: str, keys: tuple[str, ...]) -> str:
    """The text without the entry; what it stood in stays, with the comments there."""
    expected = _value(file, text)
    node = expected
    for key in keys[:-1]:
        node = node[key]
    del node[keys[-1]]
    if file.suffix == ".toml":
        changed = toml_text.without_table(text, (keys[0], keys[1]))
        if not node and keys[0] not in toml_text.parse(changed):
            del expected[keys[0]]  # it had no head line of its own
    elif file.suffix == ".yaml":
        changed = yaml_text.without_member(text, (keys[0], keys[1]))
    else:
        changed = jsonc.without_member(text, keys)
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


def read_text(file: Path) -> tuple[str, str]:
    """The text of a file, '' of none, and its encoding. Raises `StorageError`, and `UsageError` for what is no text."""
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


def replace_text(file: Path, text: str, encoding: str) -> None:
    """Write a file whose mode stays. Raises `StorageError`."""
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
