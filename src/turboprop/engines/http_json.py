"""JSON over HTTP to one server: tried again where that helps, never to another host, errors that say what to do.

The HTTP library is the one that huggingface_hub brings. It honours `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
`NO_PROXY`; a CA is looked for where OpenSSL, requests and curl do.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from turboprop import __version__
from turboprop.closing import Closing
from turboprop.errors import EndpointError
from turboprop.models.hub.http import httpx
from turboprop.printable import printable_name

if TYPE_CHECKING:
    from httpx2 import Response

T = TypeVar("T")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try, half of them by chance: who were refused together do not come back together."""
LONGEST_WAIT = 120.0
"""The most that a Retry-After is waited for; a longer one is told."""
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504, 529)
CONNECT_SECONDS = 5.0
MOST_BYTES = 256_000_000
"""Of one answer: 2,048 vectors of 4,096 dimensions as text are 170 MB."""
_LONGEST_ANSWER = 10
"""Times the time-out that an answer may take which arrives in drops."""
_LONGEST_EVENT = 4_000_000
"""Bytes: a piece of a text, with the log probabilities of its tokens."""
_SHOWN = 300
_WOKEN = 0.2
"""Seconds between looks for an interrupt, which a wait without end never sees on Windows."""
_REDIRECTS = 3


class JsonClient(Closing):
    """Requests to one server, from several threads at once.

    `base` is its address without a slash at the end, `timeout` in seconds how long it may be silent, `headers` go with
    each request and to nobody else. `secret` is taken out of whatever is shown of its answers, `key_advice` says how it
    is given. `per_minute` spaces requests, 0 does not.
    """

    def __init__(
        self,
        base: str,
        *,
        timeout: float,
        connections: int,
        headers: Mapping[str, str] | None = None,
        secret: str = "",
        key_advice: str = "",
        per_minute: int = 0,
        through_proxy: bool = True,
    ) -> None:
        self.base = base
        self.host = urlsplit(base).netloc
        self._secret, self._key_advice = secret, key_advice
        self._timeout = timeout
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._lock = threading.Lock()
        self._next = 0.0
        self._closed = threading.Event()
        self._client = httpx.Client(
            headers={"user-agent": f"turboprop/{__version__}", "accept": "application/json", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            verify=_trusted(),
            trust_env=through_proxy,
        )

    def get(self, path: str, *, patient: bool = True) -> Any:
        """What it answers to a GET. Raises `EndpointError`, which has the status."""
        return self._asked("GET", path, None, patient)

    def post(self, path: str, body: Mapping[str, Any], *, patient: bool = True) -> Any:
        """What it answers to a POST. Without `patient` a server that cannot be reached is not tried again."""
        return self._asked("POST", path, _encoded(body), patient)

    def events(self, path: str, body: Mapping[str, Any]) -> EventStream:
        """Ask for a stream of events (server-sent, JSON). Raises `EndpointError` before the first of them."""
        content = _encoded(body)

        def opened() -> EventStream:
            stack = ExitStack()
            try:
                return EventStream(self, stack.enter_context(self._open("POST", path, content)), stack)
            except BaseException:
                stack.close()
                raise

        return self._tried(opened, patient=False)

    def close(self) -> None:
        """End what waits; a second call does nothing."""
        self._closed.set()
        self._client.close()

    def _asked(self, method: str, path: str, content: bytes | None, patient: bool) -> Any:
        def once() -> Any:
            with self._open(method, path, content) as answer:
                return self._json(self._body(answer), answer.headers.get("content-type", ""))

        return self._tried(once, patient)

    def _tried(self, once: Callable[[], T], patient: bool) -> T:
        """Run it, again while the server is busy, at fault or gone."""
        timeouts = 0
        for wait in (*WAITS, None):
            self._take_turn()
            try:
                return once()
            except _PassingError as error:
                timeouts += error.timed_out
                if wait is None or timeouts > 1 or (error.unreachable and not patient):
                    raise error.told from error
                pause = max(error.pause or 0.0, wait * random.uniform(0.5, 1))  # noqa: S311
                if pause > LONGEST_WAIT:
                    raise error.told from error
                if error.pause is not None:  # all requests keep to it
                    with self._lock:
                        self._next = max(self._next, time.monotonic() + pause)
                self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _take_turn(self) -> None:
        """Wait until the next request may go."""
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next:
                    if self._gap:
                        self._next = now + self._gap
                    return
                left = self._next - now
            self._sleep(left)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise EndpointError(f"the connection to {self.host} is closed")

    @contextmanager
    def _open(self, method: str, path: str, content: bytes | None) -> Iterator[Response]:
        """The answer, its body not read yet. Raises `EndpointError` or `_PassingError` for any but a good one."""
        if self._closed.is_set():
            raise EndpointError(f"the connection to {self.host} is closed")
        url = self.base + path
        headers = {"content-type": "application/json"} if content is not None else {}
        with self._explained():
            for _ in range(_REDIRECTS):
                with self._client.stream(method, url, content=content, headers=headers) as answer:
                    if answer.has_redirect_location:
                        url = self._same_host(url, answer.headers["location"])
                        continue
                    if not answer.is_success:
                        raise self._refused(answer, path)
                    yield answer
                    return
        raise EndpointError(f"{self.host} redirects in a circle; is {self.base} the right address?")

    def _same_host(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            before, after = urlsplit(url), urlsplit(target)
        except ValueError:
            raise EndpointError(f"{self.host} redirects to what is no address") from None
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            other = printable_name(f"{after.scheme}://{after.netloc.rpartition('@')[2]}"[:_SHOWN])
            raise EndpointError(
                f"{self.host} redirects to {other}, where nothing was sent: neither the texts nor the key. If the "
                "model is there, name that address"
            )
        return target

    def _body(self, answer: Response) -> bytes:
        parts, size, until = [], 0, time.monotonic() + _LONGEST_ANSWER * self._timeout
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise EndpointError(
                    f"{self.host} answers with more than {MOST_BYTES / 1e6:.0f} MB; fewer texts at once?"
                )
            if time.monotonic() > until:
                raise EndpointError(
                    f"{self.host} takes more than {_LONGEST_ANSWER * self._timeout:.0f} s for an answer"
                )
        return b"".join(parts)

    def _json(self, data: bytes, media_type: str) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            pass
        if data.lstrip()[:1] == b"<" or "html" in media_type:
            raise EndpointError(
                f"{self.host} answers with a page ({printable_name(media_type[:60]) or 'no type'}), not with JSON; is "
                f"{self.base} the right address? Most servers' ends in /v1"
            )
        if data.lstrip()[:1] in (b"{", b"["):  # it broke off
            raise _PassingError(EndpointError(f"{self.host} broke off in the middle of an answer; look at its log"))
        raise EndpointError(
            f"{self.host} answers with what is no JSON: {self._shown(data[: 100 * _SHOWN].decode('utf-8', 'replace'))}"
        )

    def _refused(self, answer: Response, path: str) -> Exception:
        status = answer.status_code
        try:
            said = self._shown(_message_of(json.loads(self._body(answer))))
        except (ValueError, RecursionError):
            said = ""
        said = f": {said}" if said else ""
        what = f"{self.host} answers {status} to {path}{said}"
        if status in (401, 403, 407):
            what = f"{self.host} refuses the request ({status}{said}); {self._key_advice}"
        elif status == 404:
            what += f". Is {self.base} the right address, and is the model there?"
        elif status in RETRIED_STATUS:
            pause = retry_after(answer.headers.get("retry-after", ""))
            when = f" in {pause:.0f} s" if pause else " in a while"
            limited = "; lower `parallel` in its row, or set `requests_per_minute`" if status == 429 else ""
            what = f"{self.host} is {'limiting requests' if status == 429 else 'at fault or busy'} ({status}{said}); "
            return _PassingError(EndpointError(f"{what}try again{when}{limited}", status), pause)
        return EndpointError(what, status)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the HTTP library raises, as what it means."""
        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                told = f"{self.host} does not answer; is it switched on, and is {self.base} its address?"
                raise _PassingError(EndpointError(told), unreachable=True) from error
            silent = f"{self.host} was silent for {self._timeout:g} s"
            told = f"{silent}; set a longer `timeout`, or a smaller `batch`, in its row"
            raise _PassingError(EndpointError(told), timed_out=True) from error
        except httpx.ProxyError as error:
            raise EndpointError(f"the proxy refuses the way to {self.host} ({error}); look at HTTPS_PROXY") from error
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise EndpointError(
                    f"the certificate of {self.host} is not trusted here ({_reason(error)}); set SSL_CERT_FILE to a "
                    "file with the certificate of whoever signed it"
                ) from error
            told = f"{self.host} cannot be reached ({error}); is the server running there?"
            raise _PassingError(EndpointError(told), unreachable=True) from error
        except httpx.TransportError as error:
            told = f"the connection to {self.host} broke ({error}); look at the server's log"
            raise _PassingError(EndpointError(told), unreachable=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(f"{self.host} cannot be asked: {error}") from error

    def _shown(self, text: str) -> str:
        """What a server said, on one line and without the key, which some repeat."""
        if self._secret:
            text = text.replace(self._secret, "***")
        text = " ".join(text.split())
        return printable_name(text[:_SHOWN] + ("..." if len(text) > _SHOWN else ""))


class EventStream:
    """The events of one answer as they come, until `[DONE]`. What broke off is not begun again: what was said would be
    said twice."""

    def __init__(self, client: JsonClient, answer: Response, stack: ExitStack) -> None:
        self._client, self._answer, self._stack = client, answer, stack
        self.host = client.host
        self.cancelled = False
        self._begun = False

    def __iter__(self) -> Iterator[Any]:
        """Raises `EndpointError` where the server failed or the connection broke; cancelled it just ends."""
        if self.cancelled:
            return
        self._begun = True
        try:
            with self._client._explained():
                for line in self._lines():
                    data = line[5:].strip()
                    if not data or not line.startswith(b"data:"):
                        continue
                    if data == b"[DONE]":
                        return
                    event = self._client._json(data, "text/event-stream")
                    if isinstance(event, dict) and event.get("error"):
                        said = self._client._shown(_message_of(event))
                        raise EndpointError(f"{self._client.host} broke off: {said}")
                    yield event
        except (_PassingError, EndpointError) as error:
            if not self.cancelled:
                raise error.told if isinstance(error, _PassingError) else error from None
        finally:
            self._stack.close()

    def _lines(self) -> Iterator[bytes]:
        """Lines that end with a newline, and with nothing else that Unicode ends lines with: JSON may hold it."""
        rest = b""
        for part in self._answer.iter_bytes():
            *lines, rest = (rest + part).split(b"\n")
            yield from lines
            if len(rest) > _LONGEST_EVENT:
                raise EndpointError(f"{self.host} sends an event of more than {_LONGEST_EVENT / 1e6:.0f} MB")
        yield rest

    def cancel(self) -> None:
        """End it now, from any thread; a waiting reader is woken."""
        self.cancelled = True
        if not self._begun:  # nobody will come to the end, where the connection is given back
            self._stack.close()
            return
        with suppress(OSError, KeyError, AttributeError):
            stream = self._answer.extensions["network_stream"]
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class _PassingError(Exception):
    """A failure that may pass. `pause` are the seconds that the server asks for, `told` is what the last one means."""

    def __init__(
        self, told: EndpointError, pause: float | None = None, *, unreachable: bool = False, timed_out: bool = False
    ) -> None:
        super().__init__(str(told))
        self.told, self.pause, self.unreachable, self.timed_out = told, pause, unreachable, timed_out


def in_parallel(jobs: Sequence[Callable[[], T]], most: int) -> list[T]:
    """What the jobs return, in their order, up to `most` of them at a time. The first error ends it and is raised;
    so does an interrupt, which waits for nobody: the threads are daemons."""
    if len(jobs) == 1 or most == 1:
        return [job() for job in jobs]
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    todo = iter(enumerate(jobs))
    lock, done = threading.Lock(), threading.Event()
    running = min(most, len(jobs))

    def work() -> None:
        nonlocal running
        while not done.is_set():
            with lock:
                number, job = next(todo, (-1, None))
            if job is None:
                break
            try:
                results[number] = job()
            except BaseException as error:
                errors.append(error)
                done.set()
        with lock:
            running -= 1
            if not running:
                done.set()

    for number in range(running):
        threading.Thread(target=work, name=f"endpoint {number}", daemon=True).start()
    try:
        while not done.wait(_WOKEN):
            pass
    finally:
        done.set()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(jobs))]


def retry_after(value: str) -> float | None:
    """Seconds that a Retry-After asks to wait, which is a number of them or a date; None where it is neither."""
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # a zone of a thousand days
        return None


def _encoded(body: Mapping[str, Any]) -> bytes:
    # A lone surrogate has no UTF-8.
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _message_of(answer: Any) -> str:
    """What an error says, in the forms of OpenAI, TEI, FastAPI and Ollama."""
    for key in ("error", "message", "detail"):
        found = answer.get(key) if isinstance(answer, dict) else None
        if isinstance(found, dict):
            return _message_of(found)
        if found:
            return str(found)
    return ""


def _reason(error: Exception) -> str:
    return str(error).partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0] or "it was not verified"


def _trusted() -> ssl.SSLContext | bool:
    """The CA of the user's own, where a variable names one."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        place = os.environ.get(name)
        if place and Path(place).is_dir():
            return ssl.create_default_context(capath=place)
        if place and Path(place).is_file():
            return ssl.create_default_context(cafile=place)
    return True
