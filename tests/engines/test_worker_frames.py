"""Frames come out as they went in, and nothing else comes out."""

from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.engines.worker_frames import MAX_HEADER, Frame, FrameError, read_frame, write_frame

HEADERS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()))


@given(st.lists(st.tuples(HEADERS, st.binary())))
def test_frames_come_back_in_order(frames: list[tuple[dict[str, object], bytes]]) -> None:
    stream = io.BytesIO()
    for header, payload in frames:
        write_frame(stream, Frame(header, payload))
    stream.seek(0)
    for header, payload in frames:
        assert read_frame(stream) == Frame(header, payload)
    assert read_frame(stream) is None


@given(st.binary(min_size=1, max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(data))


@given(HEADERS, st.binary(max_size=20), st.data())
def test_a_frame_that_is_cut_off_is_refused(header: dict[str, object], payload: bytes, data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_frame(stream, Frame(header, payload))
    whole = stream.getvalue()
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(whole[: data.draw(st.integers(1, len(whole) - 1))]))


@pytest.mark.parametrize(
    "lead", [(b"TPW1", MAX_HEADER + 1, 0), (b"TPW1", 2, 1 << 40), (b"GGUF", 2, 0)], ids=["header", "payload", "magic"]
)
def test_lengths_are_checked_before_anything_is_read(lead: tuple[bytes, int, int]) -> None:
    with pytest.raises(FrameError, match="no message"):
        read_frame(io.BytesIO(struct.pack("<4sIQ", *lead) + b"{}"))


@pytest.mark.parametrize("body", [b"[]", b"\xff\xff", b"{", json.dumps("text").encode()])
def test_a_header_is_a_json_object(body: bytes) -> None:
    with pytest.raises(FrameError, match="header"):
        read_frame(io.BytesIO(struct.pack("<4sIQ", b"TPW1", len(body), 0) + body))


def test_a_header_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(FrameError, match="too long"):
        write_frame(io.BytesIO(), Frame({"text": "a" * MAX_HEADER}))
