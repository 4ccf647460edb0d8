"""Messages between this process and a worker, over pipes: length-checked frames, never a pickle.

    magic            4 bytes   "TPW1"
    header length    uint32    at most 1 MiB
    payload length   uint64    at most 2 GiB
    header                     a JSON object, UTF-8; `type` says what it is, `id` which request it belongs to
    payload                    bytes: int32 token ids or float32 values, little-endian

The first request is `load` and its answer `ready`. After that every request has an `id`, and any number of
answers carry it: the last one is `done` or `error`. `cancel` names the request to end and has no answer of
its own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

_LEAD = struct.Struct("<4sIQ")
_MAGIC = b"TPW1"
MAX_HEADER = 1 << 20
MAX_PAYLOAD = 1 << 31


class FrameError(Exception):
    """The bytes are no frame: the other side is broken."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    header: Mapping[str, Any]
    payload: bytes = b""

    @property
    def kind(self) -> str:
        return str(self.header.get("type"))


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write and flush; `FrameError` for a message that the other side would refuse."""
    header = json.dumps(frame.header, separators=(",", ":")).encode()
    if len(header) > MAX_HEADER or len(frame.payload) > MAX_PAYLOAD:
        raise FrameError(f"a message of {len(header)} + {len(frame.payload)} bytes is too long")
    stream.write(_LEAD.pack(_MAGIC, len(header), len(frame.payload)) + header + frame.payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next message; None where the stream ended between two. `FrameError` for anything else."""
    lead = stream.read(_LEAD.size)
    if not lead:
        return None
    if len(lead) < _LEAD.size:
        raise FrameError("the stream ended inside a message")
    magic, header_length, payload_length = _LEAD.unpack(lead)
    if magic != _MAGIC or header_length > MAX_HEADER or payload_length > MAX_PAYLOAD:
        raise FrameError("bytes that are no message")
    body = stream.read(header_length)
    payload = stream.read(payload_length)
    if len(body) < header_length or len(payload) < payload_length:
        raise FrameError("the stream ended inside a message")
    try:
        header = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a header that is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("a header that is no object")
    return Frame(header, payload)
