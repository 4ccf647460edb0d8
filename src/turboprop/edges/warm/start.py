"""Starting a server after a search that found none."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys

from turboprop.edges.warm import place
from turboprop.edges.warm.client import request
from turboprop.machine import available_bytes
from turboprop.settings import load_settings

_ENOUGH = 2
"""So many times the memory of this process, which is about what a server takes, must be free."""


def start(arguments: list[str], environment: dict[str, str]) -> None:
    """Start a server that warms up with this search, where the settings and the memory allow one.

    `environment` is that of the command when it began: packages that were imported since have set variables. The
    server is a session of its own and holds none of our files, so a terminal or a pipe that we leave is left.
    """
    if not load_settings().server or not _has_room():
        return
    home = place.folder()
    if not place.make_private(home):
        return
    source = os.path.dirname(str(place.identity("")["package"]))
    code = f"import sys; sys.path.insert(0, {source!r}); from turboprop.__main__ import main; main()"
    with contextlib.suppress(OSError):
        file = os.path.join(home, place.LOG_FILE)
        if os.path.exists(file) and os.path.getsize(file):  # one that wrote nothing leaves the older one in place
            os.replace(file, file + place.OLDER_LOG)
        mark = os.path.join(home, f"{place.STARTING}{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(file, flags, 0o600)
        with open(descriptor, "wb") as log:
            process = subprocess.Popen(
                # -P: nothing is imported from the folder that happens to be the current one.
                [sys.executable, "-P", "-c", code, "daemon", "run"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
            )
        # It waits for what it is told here, so the file is there before it looks: without the file it was called off.
        with open(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file_of_it:
            file_of_it.write(str(process.pid))
        if process.stdin is not None:
            with process.stdin as stream:
                told = {**request(arguments), "starting": os.path.basename(mark)}
                stream.write(json.dumps(told).encode("ascii"))
        process.returncode = 0  # it outlives us: nobody waits for it


def _has_room() -> bool:
    free = available_bytes()
    if free is None or sys.platform == "win32":
        return True
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return free > _ENOUGH * peak
