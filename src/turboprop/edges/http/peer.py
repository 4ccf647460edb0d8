"""Which user of this machine is behind a TCP connection, as its kernel says.

The kernel knows whose socket each end of a loopback connection is. It is asked for the other end's: for one socket
where it can be (Linux's sock_diag, 20 µs however many there are), else its table is searched (`/proc/net/tcp*`, macOS's
`net.inet.tcp.pcblist_n`). A socket of another network namespace, such as a container's, is in neither.
A way counts only once it has named the user of this process for a connection of its own.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

# include/net/tcp_states.h: both ends have shaken hands. Not SYN_SENT: somebody may try to connect from the address of
# a connection whose client is gone. Not TIME_WAIT either, which no process holds any more.
_CONNECTED = frozenset([1, 4, 5, 8, 9, 11])  # ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING
_NO_USER_IN_PARTICULAR = 65_534
"""`/proc/sys/kernel/overflowuid`: what users look like who have no number in a user namespace."""
# include/uapi/linux/{netlink,sock_diag,inet_diag}.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_ID = struct.Struct("!HH16s16s")  # ports and addresses, own first; then interface and cookie, in the machine's order
_ID_REST = struct.Struct("=I8s")
_ANY_COOKIE = b"\xff" * 8
_LOOPBACK_INTERFACE = 1  # in each namespace; also finds a socket that was bound to it
_STATE_AT = _HEAD.size + 1
_ID_AT = _HEAD.size + 4
_USER_AT = _ID_AT + _ID.size + _ID_REST.size + 12  # after expires, rqueue, wqueue; the inode follows
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPED = b"\0" * 10 + b"\xff\xff"
"""How an IPv4 address begins that is written as one of IPv6."""


class Ends(NamedTuple):
    """A connection as its client sees it. Addresses are 4 bytes, or 16 of IPv6, and IPv4's where either is meant."""

    address: bytes
    port: int
    server_address: bytes
    server_port: int


class Connection(Protocol):
    """The server's end: a socket, or what asyncio shows of one."""

    @property
    def family(self) -> int: ...
    def getpeername(self) -> tuple[str, int]: ...
    def getsockname(self) -> tuple[str, int]: ...


def user_of(connection: Connection) -> int | None:
    """The number of the user whose process holds the other end; None where that cannot be told.

    To be asked as soon as the connection is accepted: a client that left by then is nobody.
    """
    way = _way()
    return None if way is None else _user(connection, way)


def can_tell() -> bool:
    """Whether this system tells the users behind loopback connections."""
    return _way() is not None


def _user(connection: Connection, way: Callable[[Ends], int | None]) -> int | None:
    try:
        user = way(_ends(connection))
        # While our end lives, no other client can have connected from the same address and port: what was found
        # before this is the socket of this connection, not of a later one. It raises where our end was reset.
        connection.getpeername()
    except (OSError, ValueError, IndexError, AttributeError, struct.error):
        return None
    return None if user == _NO_USER_IN_PARTICULAR else user


def _ends(connection: Connection) -> Ends:
    packed = []
    for host, port, *_ in (connection.getpeername(), connection.getsockname()):
        address = socket.inet_pton(connection.family, host.partition("%")[0])
        packed.append((address.removeprefix(_MAPPED), port))
    return Ends(*packed[0], *packed[1])


@cache
def _way() -> Callable[[Ends], int | None] | None:
    """The first way that knows who is behind a connection of our own; None where there is none."""
    ways = _WAYS.get(sys.platform, ())
    if ways:
        try:
            with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
                accepted, _ = server.accept()
                with accepted:
                    return next((way for way in ways if _user(accepted, way) == os.geteuid()), None)
        except OSError:
            pass  # no loopback interface
    return None


def _by_sock_diag(ends: Ends) -> int | None:
    """Ask Linux for one socket. Raises `OSError` where it cannot be asked."""
    family = socket.AF_INET if len(ends.address) == 4 else socket.AF_INET6
    wanted = _ID.pack(ends.port, ends.server_port, ends.address, ends.server_address)
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0xFFFF_FFFF) + wanted
    question += _ID_REST.pack(_LOOPBACK_INTERFACE, _ANY_COOKIE)
    head = _HEAD.pack(_HEAD.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.setblocking(False)  # it answers while it is asked
        kernel.sendto(head + question, (0, 0))
        answer, sender = kernel.recvfrom(1_024)
    if sender[0] != 0 or _HEAD.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None  # an error: no such socket
    own, other, address, server_address = _ID.unpack_from(answer, _ID_AT)
    if Ends(_short(address, answer), own, _short(server_address, answer), other) != ends:
        return None  # one that listens at the address is found where none is connected
    user, inode = struct.unpack_from("=II", answer, _USER_AT)
    return user if answer[_STATE_AT] in _CONNECTED and inode else None


def _short(address: bytes, answer: bytes) -> bytes:
    return address[:4] if answer[_HEAD.size] == socket.AF_INET else address.removeprefix(_MAPPED)


def _by_table(ends: Ends) -> int | None:
    """Search Linux's tables of all connections: a line of 150 bytes each. Raises `OSError` where there are none."""
    for path in _TABLES:
        try:
            with open(path, "rb") as stream:
                table = stream.read()
        except FileNotFoundError:
            continue  # a system without IPv6
        if (user := user_in_table(table, ends)) is not None:
            return user
    return None


def _by_macos_table(ends: Ends) -> int | None:
    """Search macOS's table of all connections: 800 bytes each. Raises `OSError` and `struct.error`."""
    from turboprop.edges.http import peer_macos

    return peer_macos.user_in_table(peer_macos.read_table(), *ends)


_WAYS: dict[str, tuple[Callable[[Ends], int | None], ...]] = {
    "linux": (_by_sock_diag, _by_table),
    "darwin": (_by_macos_table,),
}


def user_in_table(table: bytes, ends: Ends) -> int | None:
    """The user of a connection in the text of `/proc/net/tcp` or `tcp6`."""
    forms = [(ends.address, ends.server_address)]
    if len(ends.address) == len(ends.server_address) == 4:
        forms.append((_MAPPED + ends.address, _MAPPED + ends.server_address))
    for address, server_address in forms:
        place = f": {_words(address)}:{ends.port:04X} {_words(server_address)}:{ends.server_port:04X} ".encode("ascii")
        _, found, rest = table.partition(place)
        if found:
            state, _, _, _, user, _, inode = rest.split(None, 7)[:7]
            return int(user) if int(state, 16) in _CONNECTED and int(inode) else None
    return None


def _words(address: bytes) -> str:
    """Words of 32 bits, each printed as the machine reads it."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(address) // 4}I", address))
