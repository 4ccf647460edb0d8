"""Where a user's server is found, and what it has in common with those who may use it.

Part of the short way of `tp search`, so it imports next to nothing. For the same reason the variables are read here
and not by `turboprop.settings`, whose import takes longer than the whole search.
"""

from __future__ import annotations

import _socket
import os
import stat
import sys

STATE_FILE = "server.json"
SOCKET_FILE = "socket"
LOCK_FILE = "lock"
LOG_FILE = "server.log"
STARTING = "starting-"  # before a number of its own: the file of a server that is starting, with its process
OLDER_LOG = ".1"  # added to the name: the log of the process before

# What a model, an engine or a library may have read when it was loaded: who differs in it gets another server.
_SHARED_PREFIXES = (
    "TP_",
    "HF_",
    "HUGGING",
    "PYTHON",
    "ORT_",
    "OMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "GGML_",
    "LLAMA_",
    "CUDA_",
    "NVIDIA_",
    "TOKENIZERS_",
    "RAYON_",
    "LANCE_",
    "RUST_",
    "LD_",
    "DYLD_",
    "TMP",
    "TEMP",
    "MALLOC_",
)
_SHARED_NAMES = frozenset(
    ["HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"]
)
_NOT_SHARED = frozenset(["TP_SERVER", "TP_SERVER_IDLE", "TP_DEBUG"])
_SECRETS = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")  # the server never uses the network, so it needs none
# What the look of an answer depends on: the server takes it over for each request.
_DISPLAY_PREFIXES = ("LC_", "TTY_", "JUPYTER_", "CLICOLOR")
_DISPLAY_NAMES = frozenset(
    """
    TERM COLORTERM NO_COLOR FORCE_COLOR COLUMNS LINES LANG LANGUAGE TERM_PROGRAM VTE_VERSION KITTY_WINDOW_ID WT_SESSION
    KONSOLE_VERSION DOMTERM WEZTERM_PANE GHOSTTY_RESOURCES_DIR FORCE_HYPERLINK CI
    """.split()  # noqa: SIM905  a list of words reads better than a list of literals
)


def folder() -> str:
    """The folder of the server of this user, machine and view of the file system; it need not exist."""
    if cache := os.environ.get("TP_CACHE"):
        base = os.path.join(cache, "server")
    elif (runtime := os.environ.get("XDG_RUNTIME_DIR")) and sys.platform != "win32":
        base = os.path.join(runtime, "turboprop")
    elif cache := os.environ.get("XDG_CACHE_HOME"):
        base = os.path.join(cache, "turboprop", "server")
    elif sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or os.path.join(os.path.expanduser("~"), "AppData", "Local")
        base = os.path.join(home, "turboprop", "server")
    else:
        base = os.path.join(os.path.expanduser("~"), ".cache", "turboprop", "server")
    return os.path.join(base, _machine())


def is_private(path: str) -> bool:
    """Whether a folder is ours and closed to others; True on Windows, where a profile's folders are."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if sys.platform == "win32":
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def make_private(path: str) -> bool:
    """Make the folder where there is none; whether it is private then."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    return is_private(path)


def identity(version: str) -> dict[str, object]:
    """What a client and its server must have in common: the package, Python, and the variables that count."""
    return {
        "version": version,
        "package": os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        "python": [sys.version, sys.prefix],
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if (name in _SHARED_NAMES or name.startswith(_SHARED_PREFIXES))
            and name not in _NOT_SHARED
            and not name.endswith(_SECRETS)
        },
    }


def display() -> dict[str, str]:
    """The variables that the look of an answer depends on."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _DISPLAY_NAMES or name.startswith(_DISPLAY_PREFIXES)
    }


def peer(connection: _socket.socket) -> tuple[int | None, int | None]:
    """Process and user at the other end of a Unix socket, as far as the system tells."""
    linux = getattr(_socket, "SO_PEERCRED", None)
    try:
        if linux is not None:
            credentials = connection.getsockopt(_socket.SOL_SOCKET, linux, 12)  # pid, uid, gid
            return int.from_bytes(credentials[:4], sys.byteorder), int.from_bytes(credentials[4:8], sys.byteorder)
        if hasattr(_socket, "LOCAL_PEERCRED"):  # macOS and BSD: version, uid, groups
            credentials = connection.getsockopt(0, _socket.LOCAL_PEERCRED, 76)
            return None, int.from_bytes(credentials[4:8], sys.byteorder)
    except OSError:
        return None, -1
    return None, None


def peer_is_us(connection: _socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket runs as this user; elsewhere the folder's mode says so."""
    user = peer(connection)[1]
    return user is None or user == os.getuid()


def _machine() -> str:
    """A home may be shared by machines, and by containers that see other files under the same paths."""
    if sys.platform == "win32":
        return "loopback"
    host = "".join(letter for letter in os.uname().nodename[:24] if letter.isalnum() or letter in "-_.")
    try:
        files = "".join(letter for letter in os.readlink("/proc/self/ns/mnt") if letter.isdigit())
    except OSError:
        files = "0"
    return f"{os.getuid()}-{host}-{files}"
