"""`chunks_<key>.adapter`: what `tp tune` learnt for the queries of one table, beside it in the index folder.

    {"format": "turboprop-adapter", "signature": that of all that follows}
    {"fingerprint": ..., "created": ..., "dimensions": d, "rank": r, "gained": {...}}
    float32, little-endian: left [d, r], then right [r, d]
    the first 12 digits of each commit that it saw, the newest first

A query's vector q becomes q + left (right q): identity, and a change of low rank. In full such a matrix would have
51 MB at 3,584 dimensions; of rank 16 it has 0.5 MB. The vectors of chunks stay as they are.

It holds for the model whose `fingerprint` it names and for the table `created` then, and it is signed as a manifest
is: one of another model, of another index, one that came with a repository or was damaged is not used. One of rank 0
changes nothing: it notes for the setting `tune` that nothing was won, so that the next run does not try again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turboprop.files import open_regular, replace_file
from turboprop.index.history import DIGITS
from turboprop.index.schema import adapter_file
from turboprop.settings import user_data_home
from turboprop.settings.trust import is_signed, sign

if TYPE_CHECKING:
    from turboprop.index.manifest import Header

FORMAT = "turboprop-adapter"
_MOST_HEAD, _MOST_BYTES = 1_000, 64_000_000
_NOT_OURS = "is damaged, or was not written here by this user"


class AdapterError(ValueError):
    """An adapter that is not used, and why: a part of a sentence that begins with its file's name."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a query's vector is changed by: `left` float32 [dimensions, rank] and `right` float32 [rank, dimensions].

    `commits` are those that were there when it learnt, the newest first, as `digits_of`; `gained` what was measured.
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    commits: str = ""
    gained: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing: a note that nothing was won."""
        return not self.left.shape[1]

    @property
    def saw(self) -> list[str]:
        """`commits`, one by one."""
        return [self.commits[at : at + DIGITS] for at in range(0, len(self.commits), DIGITS)]

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries' vectors, float32 [dimensions] or [n, dimensions], as they are compared with chunks; each keeps its
        length, so that cosines and what is made of them mean the same."""
        # Not `@`, which wakes threads: see `search.candidates.cosine_statistics`.
        turned = np.einsum("...d,rd->...r", vectors, self.right)
        turned = vectors + np.einsum("...r,dr->...d", turned, self.left)
        before, after = (np.sqrt(np.square(each).sum(-1, keepdims=True)) for each in (vectors, turned))
        changed: NDArray[np.float32] = turned * (before / np.maximum(after, np.float32(1e-12)))
        return changed


def keep_adapter(directory: Path, header: Header, adapter: Adapter) -> None:
    """Write it beside the table of `header`. Raises `OSError` and `SettingsError`."""
    facts = {
        "fingerprint": header.spec.fingerprint,
        "created": header.created,
        "dimensions": adapter.left.shape[0],
        "rank": adapter.left.shape[1],
        "gained": dict(adapter.gained),
    }
    numbers = adapter.left.astype("<f4").tobytes() + adapter.right.astype("<f4").tobytes()
    body = json.dumps(facts, separators=(",", ":")).encode() + b"\n" + numbers + adapter.commits.encode()
    head = {"format": FORMAT, "signature": sign(user_data_home(), body)}
    replace_file(adapter_file(directory, header.table), json.dumps(head).encode() + b"\n" + body)


def remove_adapter(directory: Path, table: str) -> bool:
    """Search without it from now on; returns whether there was one. Raises `OSError`."""
    with suppress(FileNotFoundError):
        adapter_file(directory, table).unlink()
        return True
    return False


def read_adapter(directory: Path, header: Header) -> Adapter | None:
    """The adapter of a table, None where there is none. Raises `AdapterError` for one that is not used."""
    path = adapter_file(directory, header.table)
    try:
        with open_regular(path) as stream:
            first, body = stream.readline(_MOST_HEAD), stream.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AdapterError(f"{path.name} cannot be read ({error.strerror})") from error
    try:
        head = json.loads(first)
        sound = head["format"] == FORMAT and is_signed(user_data_home(), body, head["signature"])
        line, _, numbers = body.partition(b"\n")
        facts = json.loads(line) if sound else {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{path.name} {_NOT_OURS}") from error
    if not sound:
        raise AdapterError(f"{path.name} {_NOT_OURS}")
    if facts["fingerprint"] != header.spec.fingerprint or facts["dimensions"] != header.spec.dimensions:
        raise AdapterError(f"{path.name} is of another model")
    if facts["created"] != header.created:
        raise AdapterError(f"{path.name} is of another index, or of one that was made anew since")
    width, rank = facts["dimensions"], facts["rank"]
    both = np.frombuffer(numbers, "<f4", 2 * width * rank).astype(np.float32)
    left, right = both[: width * rank].reshape(width, rank), both[width * rank :].reshape(rank, width)
    return Adapter(left, right, numbers[4 * len(both) :].decode(), facts["gained"])
