"""Whether SQLite will read a write-ahead log to its end. https://sqlite.org/fileformat2.html#walformat

A log is a header of 32 bytes and frames: 24 bytes and a page. Each frame carries the two salts of the header and a
sum of everything before it, so what is left of earlier rounds behind the last frame is told from what counts. SQLite
stops at the first frame that does not fit and drops the commits behind it without a word.
"""

from __future__ import annotations

import struct
import time
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from turboprop.files import open_regular

_HEAD, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)
"""The last bit says whether the words that are summed are big-endian."""
_PAGES = [1 << power for power in range(9, 17)]
_AGAIN_SECONDS = 0.05


def lost_frames(path: Path) -> int:
    """How many whole frames of a log SQLite would not read though they belong to it; 0 for a log that is not there.

    A frame in the making looks like a damaged one, so what counts is what is still so a moment later. Raises nothing.
    """
    try:
        if lost := _lost(path):
            time.sleep(_AGAIN_SECONDS)
            lost = min(lost, _lost(path))
    except OSError:  # who opens the database is told
        return 0
    return lost


def _lost(path: Path) -> int:
    try:
        stream = open_regular(path)
    except FileNotFoundError:
        return 0
    with stream:
        head = stream.read(_HEAD)
        if len(head) < _HEAD:
            return 0
        frames = -(-(path.stat().st_size - _HEAD) // (_FRAME + _PAGES[-1]))  # at least
        magic, _, size = struct.unpack_from(">III", head)
        if magic not in _MAGIC or size not in _PAGES:
            return frames
        words = np.dtype(">u4" if magic & 1 else "<u4")
        total = _summed((0, 0), head[:24], words)
        if total != struct.unpack_from(">II", head, 24):
            return frames
        return _lost_behind(stream, head[16:24], total, size, words)


def _lost_behind(stream: IO[bytes], salts: bytes, total: tuple[int, int], size: int, words: np.dtype[np.uint32]) -> int:
    """Frames of commits behind the last one that fits.

    One salt alone is damage: an earlier round differs in both, as the first counts up and the second is drawn. Frames
    without a commit behind them are of a process that was killed in the middle of one, and never counted.
    """
    lost = waiting = 0
    sound = True
    while len(frame := stream.read(_FRAME + size)) == _FRAME + size:
        one, other = frame[8:12] == salts[:4], frame[12:16] == salts[4:]
        if sound:
            total = _summed(_summed(total, frame[:8], words), frame[_FRAME:], words)
            sound = one and other and total == struct.unpack_from(">II", frame, 16)
        if not sound and (one or other):
            waiting += 1
            if any(frame[4:8]):
                lost += waiting
                waiting = 0
    return lost


def _summed(total: tuple[int, int], data: bytes, words: np.dtype[np.uint32]) -> tuple[int, int]:
    """SQLite's sum, carried on: for each two words x, y it is `a += x + b; b += y + a`, modulo 2^32.

    One step is linear, so a page is two products with the powers of [[1, 1], [1, 2]] instead of 2,048 steps.
    """
    values = np.frombuffer(data, words).astype(np.uint32)
    powers, last = _powers(len(values) // 2)
    a, b = total
    with np.errstate(over="ignore"):
        added = [int(np.sum(row * values, dtype=np.uint32)) for row in powers]
    return (
        (last[0][0] * a + last[0][1] * b + added[0]) & 0xFFFFFFFF,
        (last[1][0] * a + last[1][1] * b + added[1]) & 0xFFFFFFFF,
    )


@cache
def _powers(steps: int) -> tuple[NDArray[np.uint32], tuple[tuple[int, int], tuple[int, int]]]:
    """What each word adds to a and to b, uint32 [2, 2 * steps], and the power for what was there before."""
    found = np.empty((2, 2 * steps), np.uint32)
    (p, q), (r, s) = (1, 0), (0, 1)
    for step in range(steps - 1, -1, -1):
        # x and y enter as [[1, 0], [1, 1]] times (x, y).
        found[:, 2 * step] = (p + q) & 0xFFFFFFFF, (r + s) & 0xFFFFFFFF
        found[:, 2 * step + 1] = q, s
        p, q, r, s = (x & 0xFFFFFFFF for x in (p + q, p + 2 * q, r + s, r + 2 * s))
    return found, ((p, q), (r, s))
