"""Running a command line for another process: in its folder, for its terminal, with its output caught."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from turboprop.edges.warm import place

Run = Callable[..., None]
"""The entry point of the command line: takes the arguments and ends with `SystemExit`."""


class _Caught(io.RawIOBase):
    """Bytes of one stream, put in order with those of the other."""

    def __init__(self, number: int, frames: list[tuple[int, bytearray]]) -> None:
        self._number = number
        self._frames = frames

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        data = bytes(content)
        if data and (not self._frames or self._frames[-1][0] != self._number):
            self._frames.append((self._number, bytearray()))
        if data:
            self._frames[-1][1].extend(data)
        return len(data)


class _Stream(io.TextIOWrapper):
    """Looks to the command like the client's own stream."""

    def __init__(self, raw: io.RawIOBase, encoding: str, errors: str, terminal: bool) -> None:
        super().__init__(raw, encoding=encoding, errors=errors, write_through=True)  # type: ignore[arg-type]
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def run_for(request: Mapping[str, Any], run: Run, services: Mapping[str, Any]) -> tuple[int, list[tuple[int, bytes]]]:
    """The exit code and what was printed, as `(1 or 2, bytes)` in order.

    One at a time in a process: folder, variables and streams belong to the whole of it, and are put back.
    """
    frames: list[tuple[int, bytearray]] = []
    _, out, err = request["streams"]
    with _as_client(request, _Stream(_Caught(1, frames), *out), _Stream(_Caught(2, frames), *err)):
        try:
            run(request["arguments"], services=services)
            code: Any = 0
        except SystemExit as done:
            code = done.code
    return code if isinstance(code, int) else 0, [(number, bytes(content)) for number, content in frames]


@contextmanager
def _as_client(request: Mapping[str, Any], out: _Stream, err: _Stream) -> Iterator[None]:
    streams, folder, measure = (sys.stdout, sys.stderr), os.getcwd(), os.get_terminal_size
    own, theirs = place.display(), request["display"]
    os.chdir(request["folder"])
    try:
        _replace_environment(own, theirs)
        sys.stdout, sys.stderr = out, err
        os.get_terminal_size = _sizes(request["sizes"])  # type: ignore[assignment]
        yield
    finally:
        os.get_terminal_size = measure
        sys.stdout, sys.stderr = streams
        _replace_environment(theirs, own)
        os.chdir(folder)


def _replace_environment(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name in old.keys() - new.keys():
        os.environ.pop(name, None)
    for name, value in new.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _sizes(sizes: Sequence[Sequence[int] | None]) -> Callable[[int], os.terminal_size]:
    def get_terminal_size(descriptor: int = 1, /) -> os.terminal_size:
        size = sizes[descriptor] if 0 <= descriptor < len(sizes) else None
        if size is None:
            raise OSError(25, "Inappropriate ioctl for device")
        return os.terminal_size(size)

    return get_terminal_size
