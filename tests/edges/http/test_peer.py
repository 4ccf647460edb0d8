"""The user behind a connection, by each way that Linux has, with real sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.edges.http import peer
from turboprop.edges.http.peer import Ends, can_tell, user_in_table, user_of

pytestmark = pytest.mark.skipif(sys.platform not in peer._WAYS, reason="users are told on Linux and macOS alone")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may be another user")
WAYS = peer._WAYS.get(sys.platform, ())  # `user_of` takes the first that works, and each has to
HOSTS = ("127.0.0.1", "::1")
OTHER = 12_345

Way = Callable[[Ends], int | None]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__.removeprefix("_by_"))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@contextlib.contextmanager
def listening(host: str, backlog: int = 10) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family, backlog=backlog)
    except OSError as error:
        pytest.skip(f"there is no {host}: {error}")
    with server:
        yield server


@contextlib.contextmanager
def connected(host: str, user: int | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client, of another user where one is given, and the server's end of its connection."""
    with listening(host) as server:
        if user is not None:
            os.seteuid(user)  # a socket belongs to whoever makes it
        try:
            client = socket.socket(server.family)
        finally:
            os.seteuid(os.getuid())
        with client:
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            with accepted:
                yield client, accepted


def ends_of(client: socket.socket) -> Ends:
    (address, port, *_), (server_address, server_port, *_) = client.getsockname(), client.getpeername()
    packed = [socket.inet_pton(client.family, each) for each in (address, server_address)]
    return Ends(packed[0], port, packed[1], server_port)


def test_this_system_tells() -> None:
    assert can_tell()


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_of_ours(way: Way, host: str) -> None:
    with connected(host) as (_, accepted):
        assert peer._user(accepted, way) == os.geteuid()
        assert user_of(accepted) == os.geteuid()


@as_root
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("user", [1, OTHER, 4_000_000_000])
def test_a_client_of_another_user(way: Way, host: str, user: int) -> None:
    with connected(host, user) as (_, accepted):
        assert peer._user(accepted, way) == user


@as_root
def test_users_without_a_number_of_their_own_are_nobody(way: Way) -> None:
    with connected("127.0.0.1", 65_534) as (_, accepted):
        assert peer._user(accepted, way) is None


def test_a_client_that_speaks_ipv6_to_an_address_of_ipv4(way: Way) -> None:
    with listening("127.0.0.1") as server, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        accepted, _ = server.accept()
        with accepted:
            assert peer._user(accepted, way) == os.geteuid()


def test_a_client_that_sends_no_more_is_known_and_one_that_left_is_not(way: Way) -> None:
    with connected("127.0.0.1") as (client, accepted):
        client.shutdown(socket.SHUT_WR)
        assert accepted.recv(1) == b""
        assert peer._user(accepted, way) == os.geteuid()
        client.close()
        assert peer._user(accepted, way) is None


def test_a_later_client_from_the_same_place_is_not_taken_for_one_that_was_reset(way: Way) -> None:
    with listening("127.0.0.1") as server, socket.socket() as first, socket.socket() as later_client:
        # Both are bound before either connects: a port that `connect` chose may be in others' use beside it.
        place = ("127.0.0.1", 0)
        for client in (first, later_client):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind(place)
            place = client.getsockname()
        first.connect(server.getsockname())
        first.sendall(b"a request of a stranger")
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        later_client.connect(server.getsockname())
        (reset, reset_place), (later, later_place) = server.accept(), server.accept()
        with reset, later:
            assert reset_place == later_place == place
            assert reset.recv(100) == b"a request of a stranger"  # it would be answered
            assert peer._user(reset, way) is None
            assert peer._user(later, way) == os.geteuid()


def test_who_only_tries_to_connect_is_behind_no_connection(way: Way) -> None:
    with listening("127.0.0.1", backlog=0) as server, contextlib.ExitStack() as stack:
        trying = []
        for _ in range(4):  # one or two wait to be accepted, and the next have no answer
            client = stack.enter_context(socket.socket())
            client.bind(("127.0.0.1", 0))
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            trying.append(Ends(b"\x7f\0\0\1", client.getsockname()[1], b"\x7f\0\0\1", server.getsockname()[1]))
        assert way(trying[0]) == os.geteuid()
        assert way(trying[-1]) is None


@pytest.mark.parametrize("host", HOSTS)
def test_what_listens_at_an_address_is_behind_no_connection(way: Way, host: str) -> None:
    with connected(host) as (client, _), listening(host) as other:
        ends = ends_of(client)
        assert way(ends) == os.geteuid()
        assert way(ends._replace(port=other.getsockname()[1])) is None
        assert way(ends._replace(server_port=other.getsockname()[1])) is None
        assert way(Ends(ends.server_address, ends.server_port, ends.address, 1)) is None


def test_a_socket_bound_to_the_loopback_interface(way: Way) -> None:
    with listening("127.0.0.1") as server, socket.socket() as client:
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        except OSError as error:
            pytest.skip(f"sockets cannot be bound to interfaces here: {error}")
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            assert peer._user(accepted, way) == os.geteuid()


IN_ANOTHER_NAMESPACE = """
import os, socket, subprocess, sys, time
from turboprop.edges.http import peer

holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE)
there = ["nsenter", "-t", str(holder.pid), "-n"]
while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
    time.sleep(0.01)
for command in (
    ["ip", "link", "set", "lo", "up"],
    ["ip", "link", "add", "one", "type", "veth", "peer", "name", "two", "netns", str(holder.pid)],
    ["ip", "address", "add", "198.51.100.1/30", "dev", "one"],
    ["ip", "link", "set", "one", "up"],
    [*there, "ip", "address", "add", "198.51.100.2/30", "dev", "two"],
    [*there, "ip", "link", "set", "two", "up"],
):
    subprocess.run(command, check=True)
for way in (peer._by_sock_diag, peer._by_table):
    with socket.create_server(("198.51.100.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; s = socket.create_connection(('198.51.100.1', {port})); s.recv(1)"
        for where in ([], there):
            with subprocess.Popen([*where, sys.executable, "-c", code]) as client:
                accepted, place = server.accept()
                with accepted:
                    print(place[0], peer._user(accepted, way), flush=True)
holder.communicate()
"""


def test_a_client_in_another_network_namespace_cannot_be_told() -> None:
    """In namespaces of their own, which leave the network of the machine as it is."""
    if not all(shutil.which(program) for program in ("unshare", "nsenter", "ip")):
        pytest.skip("there is no `unshare`, `nsenter` or `ip`")
    if subprocess.run(["unshare", "-rn", "ip", "link", "add", "x", "type", "veth"], capture_output=True).returncode:
        pytest.skip("no network namespaces can be made here")
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", IN_ANOTHER_NAMESPACE], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:4] == ["198.51.100.1 0", "198.51.100.2 None"] * 2


ROW = "   0: 0100007F:C350 0100007F:2081 {state} 00000000:00000000 00:00000000 00000000 {user} 0 {inode} 1 00 20\n"
ENDS = Ends(b"\x7f\0\0\1", 50_000, b"\x7f\0\0\1", 8_321)


@pytest.mark.skipif(sys.byteorder != "little", reason="the row was printed by a little-endian machine")
@pytest.mark.parametrize(
    ("state", "inode", "user"),
    [("01", 77, 1000), ("05", 77, 1000), ("06", 0, None), ("05", 0, None), ("02", 77, None), ("0A", 77, None)],
)
def test_a_row_of_the_table(state: str, inode: int, user: int | None) -> None:
    table = ROW.format(state=state, user=1000 if inode else 0, inode=inode).encode()
    assert user_in_table(table, ENDS) == user
    assert user_in_table(table.replace(b"C350", b"C351"), ENDS) is None
    assert user_in_table(table.replace(b"2081", b"2082"), ENDS) is None
    assert user_in_table(table.replace(b"0100007F:C", b"0200007F:C"), ENDS) is None


@given(st.lists(st.tuples(st.integers(1, 65_535), st.integers(0, 60_000)), max_size=30, unique_by=lambda row: row[0]))
def test_the_row_of_each_of_many(rows: list[tuple[int, int]]) -> None:
    words = f"{struct.unpack('=I', ENDS.address)[0]:08X}"
    table = b"".join(
        f"{at:4}: {words}:{port:04X} {words}:{ENDS.server_port:04X} 01 0:0 00:0 0 {user:5} 0 {at + 9} 1\n".encode()
        for at, (port, user) in enumerate(rows)
    )
    for port, user in rows:
        assert user_in_table(table, ENDS._replace(port=port)) == user
    assert user_in_table(table, ENDS._replace(server_port=1)) is None
