"""The key of a running server, where programs of its user find it that need one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from turboprop.files import open_regular, replace_file

_MOST_BYTES = 10_000


class KeyFile:
    """`serve/HOST-PORT.json` in the cache: url, key and process of a server. Homes are shared by machines, so HOST."""

    def __init__(self, cache: Path, url: str) -> None:
        self.path = cache / "serve" / f"{socket.gethostname().replace('/', '_')}-{urlsplit(url).port}.json"
        self._url = url
        self._content: bytes | None = None

    def write(self, key: str) -> bool:
        """Write it for this user alone; whether it could be written."""
        content = json.dumps({"url": self._url, "key": key, "pid": os.getpid()}).encode("ascii")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self.path, content, mode=0o600)
        except OSError:
            return False
        self._content = content
        return True

    def remove(self) -> None:
        """Take it away, unless it is another server's by now."""
        with contextlib.suppress(OSError):
            with open_regular(self.path) as stream:
                own = stream.read(_MOST_BYTES) == self._content
            if own:
                self.path.unlink()
