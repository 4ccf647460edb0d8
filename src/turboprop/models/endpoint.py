"""A model behind an address: `https://host/v1#name`, or a row of the user's settings file that has a `url`.

Everything here is text: nothing is connected, and no key is read.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, urlsplit

from turboprop.errors import UsageError
from turboprop.types import Prompts

if TYPE_CHECKING:
    from turboprop.models.kind import Kind

API_KEY = "TP_REMOTE_API_KEY"
"""The variable whose key is sent to an endpoint of a row that names no other variable."""
BATCH = 32
"""Texts of one request: the most that a TEI server takes where nobody set it otherwise."""
PARALLEL = 8
"""Requests in flight. 256 texts at once fill the batches of a server of ours four times over."""
TIMEOUT = 60
CONTEXT = {"embedding": 1_024, "reranker": 1_024, "language": 8_192}
"""Tokens of an input, of a language model with its answer, where neither a row nor the server says it. A
chunk of an index is about half of that."""
CHARS_PER_TOKEN = 3
"""What a token is taken for where only the server can count them: code has 2.5 to 4 characters a token."""
_LOCAL_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost")
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carrier-grade and overlay networks; not `is_private` in Python
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, and how it is used. `url` has no slash at its end, no credentials and no query.

    `context` 0 and `dimensions` 0 mean that the server is asked. `kind` None is what it is used for. `api_key_env`
    names the variable that holds the key; '' sends none, as to an address without a row. `timeout` is in seconds.
    """

    url: str
    model: str
    kind: Kind | None = None
    api_key_env: str = API_KEY
    prompts: Prompts = field(default_factory=Prompts)
    context: int = 0
    dimensions: int = 0
    normalize: bool = True
    batch: int = BATCH
    parallel: int = PARALLEL
    timeout: int = TIMEOUT
    requests_per_minute: int = 0
    plain_http: bool = False
    """Whether the key may cross a network without TLS."""

    @property
    def canonical(self) -> str:
        """What the model is called in an index."""
        return f"{self.url}#{self.model}"

    @property
    def host(self) -> str:
        """Host and port, as they stand in the address."""
        return urlsplit(self.url).netloc

    @property
    def reach(self) -> Reach:
        """Where its host is."""
        return reach_of(urlsplit(self.url).hostname or "")

    @property
    def is_encrypted(self) -> bool:
        """Whether what is sent can be read on the way: it cannot under TLS, nor where it does not leave the machine."""
        return self.url.startswith("https://") or self.reach == "loopback"


Reach = Literal["loopback", "private", "public"]


def reach_of(host: str) -> Reach:
    """Where a host is by its name: this machine, a network of the user's, or anywhere. Nothing is looked up."""
    name = host.lower().rstrip(".")
    if name == "localhost":
        return "loopback"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if name[:1].isdigit() and "." not in name:  # 134744072 and 0x08080808 are 8.8.8.8 to a resolver
            return "public"
        return "private" if "." not in name or name.endswith(_LOCAL_NAMES) else "public"
    if address.is_loopback:
        return "loopback"
    is_shared = address.version == 4 and address in _SHARED
    return "private" if address.is_private or address.is_link_local or is_shared else "public"


def is_address(name: str) -> bool:
    """Whether a model's name is meant as an address."""
    return name[:8].lower().startswith(("http://", "https://"))


def split_address(name: str) -> tuple[str, str]:
    """(url, model) of `https://host/v1#model`. Raises `UsageError` that shows nothing of a password in it."""
    url, _, model = name.partition("#")
    checked = checked_url(url)
    if not model.strip() or len(model) > 200 or not model.isprintable():
        raise UsageError(
            f"{checked} names no model: write it behind a #, such as {checked}#all-MiniLM-L6-v2; "
            "GET /v1/models of such a server lists those that it has"
        )
    return checked, model


def checked_url(url: str, *, plain_http: bool = False) -> str:
    """The address in one form: lower-case scheme and host, no slash at the end. Raises `UsageError` for one with
    credentials or a query, and for http to a public host unless `plain_http` allows it."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError("the endpoint's address is none; write https://host/v1 or http://localhost:8080/v1") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise UsageError(
            f"the address of {host} holds a name or a password; leave it away and put the key into {API_KEY}, and "
            "the address into a [[models]] row of your settings file"
        )
    if parts.query:
        raise UsageError(
            f"the address of {host} has a part behind '?', where keys end up in logs; leave it away and put the key "
            f"into {API_KEY}, and the address into a [[models]] row of your settings file"
        )
    if parts.scheme not in ("http", "https") or not _is_host(host):
        raise UsageError("an endpoint's address is https://host/v1, or http://host:port/v1 in a network of your own")
    if parts.scheme == "http" and reach_of(host) == "public" and not plain_http:
        raise UsageError(
            f"http://{host} is no address in a network of yours, and what is sent there could be read on the way: "
            "write https://, or set plain_http = true in a [[models]] row of your settings file"
        )
    return _joined(parts, host, port)


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= 253 and _HOST.fullmatch(host) is not None


def _joined(parts: SplitResult, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    usual = 443 if parts.scheme == "https" else 80
    place = shown if port in (None, usual) else f"{shown}:{port}"
    path = parts.path.rstrip("/")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise UsageError(f"the path of the address at {place} has characters that an address does not have")
    return f"{parts.scheme}://{place}{path}"


def kind_by_name(model: str) -> Kind:
    """What a model is for by its name, where nobody says it and nothing is asked yet."""
    name = model.lower()
    if "rerank" in name:
        return "reranker"
    embeds = ("embed", "minilm", "bge-", "e5-", "gte-", "bert", "arctic")
    return "embedding" if any(word in name for word in embeds) else "language"
