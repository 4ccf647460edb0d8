"""The short way of `tp search`: ask the server that runs, and print what it answers.

Imports neither the command framework nor the terminal library, and neither `json` nor `socket`: what these two bring
along (`re`, `enum`, `selectors`) took 9 of the 24 ms in which this process starts. Whatever is not an answer (no
server, another version, a dead one, an error) is None: the command itself then runs in this process.
"""

from __future__ import annotations

import _socket
import os
import sys

from turboprop import TYPE_CHECKING, __version__
from turboprop.edges.warm import place

if TYPE_CHECKING:
    from typing import Any

CONNECT_SECONDS = 1.5
"""For the server to say that it takes the request: it does so in a millisecond unless it hangs, or the machine is so
busy that a search without it would take longer still (0.5 s from cold on a quiet one)."""
ANSWER_SECONDS = 60.0
"""A server that loads a large model for a request takes as long as the command itself would."""
_COLD = frozenset(["--no-server", "--build", "--help", "-h", "--debug", "-"])
"""What a server may not do for another process; `-` reads that one's standard input."""
_PATTERN_FILES = ("-f", "--file=")
"""Options of `tp grep` whose file may be `-` in the same word: `-f-`, `-if-`, `--file=-`."""
_ON = frozenset(["1", "true", "yes", "on"])


class Refused(Exception):  # noqa: N818  no error: the server said no
    """The server takes no request; `replace` where it gives way to another."""

    def __init__(self, replace: bool) -> None:
        super().__init__()
        self.replace = replace


def takes(arguments: list[str]) -> bool:
    """Whether a command line is a search that a server may answer."""
    if arguments[:1] not in (["search"], ["grep"]) or not _COLD.isdisjoint(arguments):
        return False
    if arguments[0] == "grep" and any(
        part.startswith(_PATTERN_FILES) or (part[:1] == "-" and part[1:2] != "-" and part.endswith("f-"))
        for part in arguments
    ):
        return False
    environment = os.environ
    if "_TP_COMPLETE" in environment or environment.get("TP_DEBUG", "") not in ("", "0"):
        return False
    if environment.get("TP_SERVER", "1").lower() not in _ON or None in (sys.stdin, sys.stdout, sys.stderr):
        return False
    # A Windows console is written to by its own calls, which no bytes stand for.
    return sys.platform != "win32" or not (os.isatty(1) or os.isatty(2))


def hands_over(arguments: list[str]) -> bool:
    """Whether a command line leaves work to the server once its own part has ended well."""
    return arguments[:1] == ["index"] and "--background" in arguments


def hand_over(arguments: list[str]) -> bool:
    """Have the server that runs do the rest of such a command line; False where none takes it."""
    try:
        return bool(ask("search", **request(arguments))["code"] == 0)
    except (Refused, OSError, ValueError, KeyError, IndexError, TypeError):
        return False


def search(arguments: list[str]) -> tuple[int | None, bool]:
    """The exit code, everything printed; or None, and whether a server should be started."""
    try:
        answer = ask("search", **request(arguments))
    except Refused as refused:
        return None, refused.replace
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None, True
    except KeyboardInterrupt:
        os.write(2, b"tp: interrupted\n")
        return 130, False
    code, frames = answer["code"], answer["frames"]
    if code is None:
        return None, False
    try:
        for stream, text in frames:
            _write(sys.stdout if stream == 1 else sys.stderr, text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0, False
    except OSError as error:
        os.write(2, f"tp: the output cannot be written: {error.strerror}\n".encode())
        return 2, False
    return code, False


def request(arguments: list[str]) -> dict[str, Any]:
    """A command line with everything that its output depends on."""
    return {
        "arguments": arguments,
        "folder": os.getcwd(),
        "display": place.display(),
        "streams": [
            [stream.encoding, stream.errors, stream.isatty()] for stream in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "sizes": [_terminal_size(number) for number in (0, 1, 2)],
    }


def ask(question: str, **facts: Any) -> dict[str, Any]:
    """Ask the server; raises `OSError` where none answers and `Refused`.

    An answer of code and frames, frames as `(stream, bytes)`; of other questions what they say.
    """
    home = place.folder()
    if not place.is_private(home):
        raise FileNotFoundError(home)
    with open(os.path.join(home, place.STATE_FILE), encoding="ascii") as file:
        state = file.read()
    port = _value(state, "port")
    connection = _connect(home, None if port == "null" else int(port))
    try:
        facts.update(question=question, key=_value(state, "key"), identity=place.identity(__version__))
        connection.sendall(json_of(facts).encode("ascii") + b"\n")
        incoming = _Incoming(connection)
        said = incoming.line()
        if said != f"yes {_value(state, 'proof')}".encode("ascii"):
            if said in (b"replace", b"no"):
                raise Refused(said == b"replace")
            raise ConnectionError("the server did not answer")
        connection.settimeout(ANSWER_SECONDS)
        head = incoming.line()
        if question != "search":
            import json

            told: dict[str, Any] = json.loads(head)
            return told
        code, *frames = head.decode("ascii").split()
        pairs = [frame.split(":") for frame in frames]
        return {
            "code": None if code == "none" else int(code),
            "frames": [(int(stream), incoming.exactly(int(size))) for stream, size in pairs],
        }
    finally:
        connection.close()


def search_head(code: int | None, frames: list[tuple[int, bytes]]) -> bytes:
    """The line that comes before what a search printed: its exit code, and stream and size of each frame."""
    sizes = [f"{number}:{len(content)}" for number, content in frames]
    return " ".join(["none" if code is None else str(code), *sizes]).encode("ascii") + b"\n"


def json_of(value: Any) -> str:
    """A value of dicts, lists, strings, whole numbers and None as JSON in ASCII, as `json.dumps` writes it."""
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_of(key)}: {json_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(json_of, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(int(value))


def _escaped(letter: str) -> str:
    if " " <= letter <= "~" and letter not in '"\\':
        return letter
    units = letter.encode("utf-16-be", "surrogatepass").hex()  # a lone surrogate stands for a byte of a file's name
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def hanging_process(seconds: float) -> int | None:
    """The process of a server that takes connections and says nothing for so long; None where there is none."""
    home = place.folder()
    if not hasattr(_socket, "AF_UNIX") or not place.is_private(home):
        return None
    try:
        connection = _connect(home, None)
    except OSError:
        return None
    try:
        connection.settimeout(seconds)
        connection.sendall(b"\n")  # no request: a server that lives closes the connection at once
        connection.recv(1)
    except TimeoutError:
        return place.peer(connection)[0]
    except OSError:
        pass
    finally:
        connection.close()
    return None


def _value(state: str, name: str) -> str:
    """A value of the state, which is one object of JSON that a server wrote: letters, digits or null."""
    _, found, rest = state.partition(f'"{name}": ')
    if not found:
        raise ValueError(f"the state of the server names no {name}")
    return rest.split(",", 1)[0].strip('"')


def _connect(home: str, port: int | None) -> _socket.socket:
    if port is None and not hasattr(_socket, "AF_UNIX"):
        raise ConnectionError("the state of the server names no port, and this system has no local sockets")
    family = _socket.AF_UNIX if port is None else _socket.AF_INET
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(os.path.join(home, place.SOCKET_FILE) if port is None else ("127.0.0.1", port))
        if port is None and not place.peer_is_us(connection):
            raise ConnectionError("the server is another user's")
    except BaseException:
        connection.close()
        raise
    return connection


class _Incoming:
    """What comes in over a connection, in lines and in parts of known size."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._held:
            self._more()
        line = self.exactly(self._held.index(b"\n") + 1)
        return line[:-1]

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        part = bytes(self._held[:size])
        del self._held[:size]
        return part

    def _more(self) -> None:
        received = self._connection.recv(1 << 16)
        if not received:
            raise ConnectionError("the server ended in the middle of an answer")
        self._held += received


def _write(stream: Any, content: bytes) -> None:
    stream.buffer.write(content)
    stream.buffer.flush()


def _terminal_size(number: int) -> list[int] | None:
    try:
        return list(os.get_terminal_size(number))
    except OSError:
        return None
