"""The short way of `tp search`: ask the server that runs, and print what it answers.

Imports neither the command framework nor the terminal library. Whatever is not an answer (no server, another
version, a dead one, an error) is None: the command itself then runs in this process.
"""

from __future__ import annotations

import json
import os
import socket
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
        state = json.load(file)
    connection = _connect(home, state["port"])
    try:
        facts.update(question=question, key=state["key"], identity=place.identity(__version__))
        connection.sendall(json.dumps(facts).encode("ascii") + b"\n")
        stream = connection.makefile("rb")
        said = stream.readline(1000)
        if said != f"yes {state['proof']}\n".encode("ascii"):
            if said in (b"replace\n", b"no\n"):
                raise Refused(said == b"replace\n")
            raise ConnectionError("the server did not answer")
        connection.settimeout(ANSWER_SECONDS)
        answer: dict[str, Any] = json.loads(stream.readline())
        if "frames" in answer:
            answer["frames"] = [(number, _exactly(stream, size)) for number, size in answer["frames"]]
        return answer
    finally:
        connection.close()


def hanging_process(seconds: float) -> int | None:
    """The process of a server that takes connections and says nothing for so long; None where there is none."""
    home = place.folder()
    if not hasattr(socket, "AF_UNIX") or not place.is_private(home):
        return None
    try:
        connection = _connect(home, None)
    except OSError:
        return None
    with connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(b"\n")  # no request: a server that lives closes the connection at once
            connection.recv(1)
        except TimeoutError:
            return place.peer(connection)[0]
        except OSError:
            pass
    return None


def _connect(home: str, port: int | None) -> socket.socket:
    if port is not None:
        return socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(os.path.join(home, place.SOCKET_FILE))
        if not place.peer_is_us(connection):
            raise ConnectionError("the server is another user's")
    except BaseException:
        connection.close()
        raise
    return connection


def _exactly(stream: Any, size: int) -> bytes:
    content: bytes = stream.read(size)
    if len(content) != size:
        raise ConnectionError("the server ended in the middle of an answer")
    return content


def _write(stream: Any, content: bytes) -> None:
    stream.buffer.write(content)
    stream.buffer.flush()


def _terminal_size(number: int) -> list[int] | None:
    try:
        return list(os.get_terminal_size(number))
    except OSError:
        return None
