"""Tables as macOS's kernel writes them. On macOS itself `test_peer.py` asks the real one."""

from __future__ import annotations

import contextlib
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from turboprop.edges.http.peer_macos import user_in_table

OWN = socket.inet_aton("127.0.0.1")
ESTABLISHED, CLOSE_WAIT, SYN_SENT, FIN_WAIT_2, TIME_WAIT = 4, 5, 2, 9, 10


def record(kind: int, length: int, fields: dict[int, bytes]) -> bytes:
    content = bytearray(length + -length % 8)
    struct.pack_into("=II", content, 0, length, kind)
    for at, value in fields.items():
        content[at : at + len(value)] = value
    return bytes(content)


def row(port: int, other_port: int, user: int, state: int = ESTABLISHED, own: bytes = OWN, other: bytes = OWN) -> bytes:
    """One connection: addresses, socket, two buffers, counters, TCP's own."""
    addresses = {
        16: struct.pack("!HH", other_port, port),
        44: b"\x01" if len(own) == 4 else b"\x02",
        64 - len(other): other,
        80 - len(own): own,
    }
    return b"".join(
        (
            record(0x10, 104, addresses),
            record(0x01, 100, {64: struct.pack("=I", user), 68: b"\xff" * 8}),
            record(0x02, 32, {}),
            record(0x04, 32, {}),
            record(0x08, 112, {}),
            record(0x20, 204, {36: struct.pack("=i", state)}),
        )
    )


def table(*rows: bytes) -> bytes:
    head = struct.pack("=IIQQ", 24, len(rows), 7, 7)
    return head + b"".join(rows) + head


def test_the_socket_of_the_client_is_found_and_not_our_own_end() -> None:
    both = table(row(8321, 50_000, 501), row(50_000, 8321, 502), row(50_001, 8321, 503))
    assert user_in_table(both, OWN, 50_000, OWN, 8321) == 502
    assert user_in_table(both, OWN, 50_001, OWN, 8321) == 503
    assert user_in_table(both, OWN, 50_002, OWN, 8321) is None
    assert user_in_table(both, OWN, 50_000, OWN, 8322) is None
    assert user_in_table(both, socket.inet_aton("127.0.0.2"), 50_000, OWN, 8321) is None
    assert user_in_table(table(), OWN, 50_000, OWN, 8321) is None


def test_addresses_of_ipv6() -> None:
    own = socket.inet_pton(socket.AF_INET6, "::1")
    assert user_in_table(table(row(50_000, 8321, 501, own=own, other=own)), own, 50_000, own, 8321) == 501
    assert user_in_table(table(row(50_000, 8321, 501, own=own, other=own)), OWN, 50_000, OWN, 8321) is None


def test_only_a_connected_socket_counts() -> None:
    for state, user in ((CLOSE_WAIT, 501), (FIN_WAIT_2, 501), (SYN_SENT, None), (TIME_WAIT, None), (0, None)):
        assert user_in_table(table(row(50_000, 8321, 501, state)), OWN, 50_000, OWN, 8321) == user


def test_two_sockets_of_one_connection_are_not_believed() -> None:
    assert user_in_table(table(row(5, 6, 501), row(5, 6, 502)), OWN, 5, OWN, 6) is None


@given(st.binary(min_size=4, max_size=3_000), st.integers(0, 700))
def test_what_is_no_table_names_nobody(noise: bytes, cut: int) -> None:
    for each in (noise, table(row(5, 7, 501))[:cut], table(row(5, 7, 501)) + noise):
        with contextlib.suppress(struct.error, IndexError):
            assert user_in_table(each, OWN, 5, OWN, 6) is None
