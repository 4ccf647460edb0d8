"""The user behind a connection, from macOS's table of all connections.

The table is what `netstat` reads: records of `bsd/netinet/in_pcb.h`, `tcp_var.h` and `sys/socketvar.h`, each with its
length and kind in front and padded to 8 bytes. A connection is its record of addresses and all up to the next one.
"""

from __future__ import annotations

import ctypes
import struct

_TABLE = b"net.inet.tcp.pcblist_n"
_HEAD_BYTES = 24  # struct xinpgen
_SOCKET, _ADDRESSES, _TCP = 0x001, 0x010, 0x020  # XSO_SOCKET, XSO_INPCB, XSO_TCPCB
_CONNECTED = frozenset(range(4, 10))  # TCPS_ESTABLISHED to TCPS_FIN_WAIT_2: not SYN_SENT, not TIME_WAIT
_PORTS = struct.Struct("!16xHH")  # of xinpcb_n: the other end's first
_FAMILY_AT, _OTHER_END, _OWN_END = 44, 64, 80  # inp_vflag; where the addresses end, IPv4's in the last 4 of 16 bytes
_IPV4 = 0x1  # INP_IPV4
_USER = struct.Struct("=64xI")  # of xsocket_n: so_uid
_STATE = struct.Struct("=36xi")  # of xtcpcb_n: t_state


def read_table() -> bytes:
    """The table as it is now. Raises `OSError`."""
    read = ctypes.CDLL(None, use_errno=True).sysctlbyname
    size = ctypes.c_size_t(0)
    if read(_TABLE, None, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        raise OSError(ctypes.get_errno(), "the table of connections cannot be read")
    size.value += size.value // 8 + 4_096  # connections that are made meanwhile
    table = ctypes.create_string_buffer(size.value)
    if read(_TABLE, table, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        raise OSError(ctypes.get_errno(), "the table of connections cannot be read")
    return table.raw[: size.value]


def user_in_table(table: bytes, address: bytes, port: int, other_address: bytes, other_port: int) -> int | None:
    """The user of the one connected socket with these ends; None where there is none, or more than one.

    Addresses are 4 bytes, or 16 of IPv6. Raises `struct.error` for a table of another layout.
    """
    found: list[int] = []
    matches, user = False, None
    at = struct.unpack_from("=I", table)[0]  # the head of the table has no kind
    while at + 8 <= len(table):
        length, kind = struct.unpack_from("=II", table, at)
        if length <= _HEAD_BYTES:
            break  # the head once more ends it
        record = table[at : at + length]
        if kind == _ADDRESSES:
            width = 4 if record[_FAMILY_AT] & _IPV4 else 16
            matches = _PORTS.unpack_from(record) == (other_port, port) and (
                record[_OTHER_END - width : _OTHER_END],
                record[_OWN_END - width : _OWN_END],
            ) == (other_address, address)
            user = None
        elif kind == _SOCKET and matches:
            user = _USER.unpack_from(record)[0]
        elif kind == _TCP and matches and user is not None and _STATE.unpack_from(record)[0] in _CONNECTED:
            found.append(user)
        at += (length + 7) & ~7
    return found[0] if len(found) == 1 else None
