"""The server behind an address: which interface it speaks, which key it gets, what it says of the model."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from turboprop.closing import Closing
from turboprop.engines.http_json import JsonClient
from turboprop.errors import EndpointError
from turboprop.models.endpoint import API_KEY

if TYPE_CHECKING:
    from turboprop.models.endpoint import Endpoint

NOT_TAKEN = (400, 422)
"""What servers answer to a parameter that they do not know."""


class Server(Closing):
    """The server behind an endpoint: which interface it speaks, and what it says of the model."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        key, advice = _key(endpoint)
        self.client = JsonClient(
            endpoint.url,
            timeout=endpoint.timeout,
            connections=endpoint.parallel,
            headers={"authorization": f"Bearer {key}"} if key else {},
            secret=key,
            key_advice=advice,
            per_minute=endpoint.requests_per_minute,
            # A proxy has no way to this machine's own ports.
            through_proxy=endpoint.reach != "loopback",
        )
        self.speaks: Literal["openai", "tei"] = "openai"
        self.is_ours = False
        self.owner = ""
        self.context = endpoint.context
        self.batch = endpoint.batch
        self.listed: list[str] = []
        """The models that it names, where it does."""

    def look(self) -> None:
        """Ask what it is. Raises `EndpointError` where it cannot be reached or refuses."""
        if not urlsplit(self.endpoint.url).path:
            if (info := self._info()) is not None:
                self.speaks = "tei"
                self.context = self.context or as_count(info.get("max_input_length"))
                self.batch = min(self.batch, as_count(info.get("max_client_batch_size")) or self.batch)
                self.listed = [str(info["model_id"])]
                return
            rows = self._asked("/v1/models")
            if rows is not None or (rows := self._asked("/models")) is None:
                self.client.base += "/v1"  # Infinity has its interface at the root
        else:
            rows = self._asked("/models")
        rows = rows.get("data") if isinstance(rows, dict) else None
        rows = rows if isinstance(rows, list) else []
        found = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
        self.listed = [row["id"] for row in found]
        mine = next((row for row in found if row["id"] == self.endpoint.model), None)
        # By another of its names a model of ours is not listed; all of its rows are ours then.
        owners = {str(row.get("owned_by", "")) for row in ([mine] if mine is not None else found)}
        self.owner = owners.pop() if len(owners) == 1 else ""
        self.is_ours = self.owner == "turboprop"
        if mine is not None:
            meta: dict[str, Any] = mine["meta"] if isinstance(mine.get("meta"), dict) else {}
            told = mine.get("max_model_len") or meta.get("n_ctx_train") or meta.get("context")
            self.context = self.context or as_count(told)

    def to_tei(self) -> bool:
        """Whether it is TEI after all, and was named with `/v1`; it is spoken to as such from then on."""
        before, root = self.client.base, self.client.base.removesuffix("/v1")
        self.client.base = root
        if before != root and self._info() is not None:
            self.speaks = "tei"
            return True
        self.client.base = before
        return False

    def error(self, what: str) -> EndpointError:
        """An answer that is none."""
        return EndpointError(f"{self.endpoint.model} at {self.endpoint.url} {what}")

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        self.client.close()

    def _info(self) -> dict[str, Any] | None:
        info = self._asked("/info")
        return info if isinstance(info, dict) and {"model_id", "max_input_length"} <= set(info) else None

    def _asked(self, path: str) -> Any:
        """What a GET answers; None where it has no such thing."""
        try:
            return self.client.get(path, patient=False)
        except EndpointError as error:
            if error.status in (400, 404, 405, 501):
                return None
            raise


def _key(endpoint: Endpoint) -> tuple[str, str]:
    """The key to send, and what to do where the server wants another. Raises `EndpointError` for what is no key."""
    name = endpoint.api_key_env
    if not name:
        return "", (
            "no key was sent, since an address gets one by a [[models]] row of your settings file alone: write one "
            f"with its url and model, and put the key into {API_KEY}"
        )
    key = os.environ.get(name, "").strip()
    if not key:
        return "", f"set {name} to its key"
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EndpointError(
            f"the variable {name} holds signs that a key does not have; set it to the key of {endpoint.host}"
        )
    if not endpoint.is_encrypted and not endpoint.plain_http:
        return "", (
            f"the key in {name} was not sent, since {endpoint.url} is not encrypted: take an https address, or set "
            "plain_http = true in its row where you know the network"
        )
    return key, f"it does not accept the key in {name}"


def as_number(value: object) -> float:
    """A number of an answer; nan for one that no float holds, or what is none."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan


def as_count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else 0
