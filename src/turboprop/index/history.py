"""`history.json`: what an index keeps of its repository's commits, as evidence for long queries.

Two lines of JSON, the newest commit first:

    {"format": "turboprop-history", "signature": that of the second line}
    [[hash, time, [term, ...], [file, ...], [[old name, new name], ...]], ...]

It is read from `git log` once; a later run reads only commits that are not there yet, and what the branch no longer has
(after a forced push, say) goes. It is signed as a manifest is: a history that came with a repository is not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turboprop.code.git import GitError
from turboprop.code.gitview import Commit, commit_hashes, commits
from turboprop.code.terms import counted_terms
from turboprop.code.walk import shown
from turboprop.files import open_regular, replace_file
from turboprop.index.schema import HISTORY
from turboprop.settings import user_data_home
from turboprop.settings.trust import is_signed, sign

FORMAT = "turboprop-history"
MOST_COMMITS = 2_000
MOST_FILES = 30
"""Files from which a commit says nothing of any of them: a move, a formatter, a licence header."""
ALIKE = 20
"""Commits that speak for their files."""
K1, B = 1.2, 0.75
"""As usual for BM25 (Robertson and Zaragoza, 2009); a term counts once in a message."""
DIGITS = 12
"""Of a hash, where commits are only told apart. All 40 would be 60% of an adapter, which a cold search reads."""
_MOST_RENAMES = 2_000
_MOST_MESSAGE = 4_000
"""Characters of a message whose words are kept."""
_MOST_HEAD, _MOST_BYTES = 1_000, 100_000_000


@dataclass(frozen=True, slots=True)
class PastCommit:
    """One commit. `time` in seconds since the epoch, `terms` as hashes, `files` by the names that they had then."""

    hash: str
    time: int
    terms: tuple[int, ...]
    files: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()


def keep_history(directory: Path, root: Path) -> None:
    """Bring the history in an index folder up to the repository's. Commits that Git does not tell in time and size are
    kept without anything to say, so that no later run tries again. Raises `GitError`, `OSError` and `SettingsError`."""
    hashes = commit_hashes(str(root), MOST_COMMITS)
    known = {one.hash: one for one in _read(directory)}
    if list(known) == hashes:
        with suppress(FileNotFoundError):
            os.utime(directory / HISTORY, follow_symlinks=False)  # that it was looked at: `Survey.history_is_behind`
        return
    missing = [at for at, commit in enumerate(hashes) if commit not in known]
    read: dict[str, PastCommit] = {}
    stopped = None
    try:
        if missing:
            read = {one.hash: one for one in map(past_commit, commits(str(root), missing[-1] + 1))}
    except GitError as error:
        if not error.stopped:
            raise
        stopped = error
    unknown = [PastCommit(commit, 0, (), ()) for commit in hashes] if stopped else []
    known = {one.hash: one for one in unknown} | known | read
    found = [known[commit] for commit in hashes if commit in known]
    rows = [[one.hash, one.time, one.terms, one.files, one.renamed] for one in found]
    body = json.dumps(rows, separators=(",", ":")).encode()
    if len(body) > _MOST_BYTES:
        body = b"[]"
    head = {"format": FORMAT, "signature": sign(user_data_home(), body)}
    replace_file(directory / HISTORY, json.dumps(head).encode() + b"\n" + body)
    if stopped:
        raise stopped


def digits_of(commits: Sequence[PastCommit]) -> str:
    """Which commits there were: the first `DIGITS` digits of each one's hash, one after the other."""
    return "".join(one.hash[:DIGITS] for one in commits)


def commits_since(directory: Path, known: Iterable[str]) -> int:
    """How many commits an index folder keeps that are none of those, by the first `DIGITS` digits of each."""
    seen = set(known)
    return sum(one.hash[:DIGITS] not in seen for one in _read(directory))


class History:
    """The commits of one index that change files which it holds, ready to be compared with a query."""

    def __init__(self, commits: Sequence[PastCommit], paths: Sequence[str]) -> None:
        numbers = {path: number for number, path in enumerate(paths)}
        touched = [(one.terms, [numbers[name] for name in one.files if name in numbers]) for one in as_today(commits)]
        kept = [(terms, files) for terms, files in touched if files]
        self.commits = len(kept)
        self._files = len(paths)
        self._lengths = np.array([len(terms) for terms, _ in kept], np.int64)
        self._touched = np.array([len(files) for _, files in kept], np.int64)
        self._commit_of_term = np.repeat(np.arange(len(kept)), self._lengths)
        self._commit_of_file = np.repeat(np.arange(len(kept)), self._touched)
        self._terms = np.array([term for terms, _ in kept for term in terms], np.uint32)
        self._numbers = np.array([number for _, files in kept for number in files], np.int64)

    @classmethod
    def read(cls, directory: Path, paths: Sequence[str]) -> History:
        """What an index folder keeps, for the files `paths`."""
        return cls(_read(directory), paths)

    def of_alike_messages(self, terms: Mapping[int, float]) -> NDArray[np.float64]:
        """How much the `ALIKE` commits whose messages are most like weighted terms (BM25) speak for each file, 0 to 1,
        float64 [files]; a commit speaks for each of n files by the n-th part's root.

        The "similar bugs" of BugLocator (Zhou, Zhang and Lo, ICSE 2012), with messages for reports.
        """
        wanted = np.array(sorted(terms), np.uint32)
        if not self.commits or not len(wanted):
            return np.zeros(self._files)
        at = np.minimum(np.searchsorted(wanted, self._terms), len(wanted) - 1)
        found = wanted[at] == self._terms
        at, commit = at[found], self._commit_of_term[found]
        held = np.bincount(at, minlength=len(wanted))
        rarity = np.log(1 + (self.commits - held + 0.5) / (held + 0.5))
        worth = np.array([terms[term] for term in wanted.tolist()]) * rarity
        norms = 1 + K1 * (1 - B + B * self._lengths / max(float(self._lengths.mean()), 1.0))
        scores = np.bincount(commit, worth[at], self.commits) / norms
        likest = np.argsort(-scores, kind="stable")[:ALIKE]
        alike = np.zeros(self.commits)
        alike[likest] = (scores[likest] / (float(scores.max()) or 1.0)) ** 2 / np.sqrt(self._touched[likest])
        total = np.bincount(self._numbers, alike[self._commit_of_file], self._files)
        return total / (float(total.max()) or 1.0)


def last_changes(directory: Path) -> dict[str, int]:
    """When each file was last changed by a commit, by today's names, in seconds since the epoch.

    Commits of more than `MOST_FILES` files, and the first one, are not among them; {} where nothing is kept.
    """
    changes: dict[str, int] = {}
    for one in as_today(_read(directory)):
        for name in one.files:
            changes.setdefault(name, one.time)
    return changes


def as_today(commits: Sequence[PastCommit]) -> Iterator[PastCommit]:
    """The commits, the newest first, with the names that their files have today."""
    today: dict[str, str] = {}
    for one in commits:
        # A rename holds for what is older than it.
        for old, new in one.renamed:
            today[old] = today.get(new, new)
        yield replace(one, files=tuple(today.get(name, name) for name in one.files))


def past_commit(commit: Commit) -> PastCommit:
    """What is kept of a commit: nothing of one that says nothing of its files."""
    says = not commit.is_first and len(commit.files) <= MOST_FILES
    terms = tuple(counted_terms(commit.message[:_MOST_MESSAGE])) if says else ()
    renamed = tuple((shown(old), shown(new)) for old, new in commit.renamed[:_MOST_RENAMES])
    return PastCommit(commit.hash, commit.time, terms, tuple(map(shown, commit.files)) if says else (), renamed)


def _read(directory: Path) -> list[PastCommit]:
    """What is kept; [] where that is nothing, damaged, or not of this user: the next run makes it again."""
    try:
        with open_regular(directory / HISTORY) as stream:
            head, body = json.loads(stream.readline(_MOST_HEAD)), stream.read(_MOST_BYTES)
        if head["format"] != FORMAT or not is_signed(user_data_home(), body, head["signature"]):
            return []
        return [
            PastCommit(commit, time, tuple(terms), tuple(files), tuple((old, new) for old, new in renamed))
            for commit, time, terms, files, renamed in json.loads(body)
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
