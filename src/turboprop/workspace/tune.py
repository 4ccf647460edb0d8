"""`tp tune`: learn from a repository's commits how its queries are meant, and keep it only where it finds more.

A commit's message is a query for the code that the commit changed. The newest commits are held out: they are searched
as a user searches (words, vectors, rules, and the history of before them), and the adapter learnt from the older ones
must gain more than chance gives, more than one learnt from shuffled pairs, which knows only what changes often, and
also where the messages of alike commits (`History`) speak for every query.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.code.git import GitError
from turboprop.code.gitview import commits
from turboprop.errors import SettingsError, TurboPropError, UsageError
from turboprop.files import replace_file
from turboprop.index.history import MOST_COMMITS, History, PastCommit, as_today, commits_since, digits_of, past_commit
from turboprop.search.path_rules import place_of
from turboprop.workspace.update import DATA_LANGUAGES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.adapter import Adapter
    from turboprop.index.read import IndexReader
    from turboprop.search.search import Learnt
    from turboprop.workspace.index import Index

    Floats = NDArray[np.float32]

FEWEST = 120
"""Commits below which nothing is tried: a quarter of them is held out, and 30 queries tell little already."""
HELD_OUT = 200
"""Commits that are held out at most, and a quarter at most."""
MOST_FILES = 10
"""Files of code from which a commit says little of each of them."""
RENEWED_EVERY = 50
"""New commits after which `tp index` learns anew, with the setting `tune`."""
CONTROLS = 3
"""Adapters that are learnt from shuffled pairs, whose MRR is averaged. With one of them rack passed with one seed of
three, since what chance taught it differed by 0.014."""
DEPTH = 10
_SAMPLES = 2_000
_MOST_CHUNKS = 20_000
"""Chunks that are learnt from: 20,000 of 384 dimensions are 31 MB."""
_LEAST_WORDS = 4
_MOST_MESSAGE = 4_000
_TRAILER = re.compile(r"^\s*(?:[A-Z][a-z]+(?:-[A-Za-z]+)+: .*|\(cherry picked from .*|-{3,}\s*)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_SAYS_NOTHING = re.compile(
    r"(?:merge|revert|bump|release|prepare|version|upgrade|update (?:dep|to|version)|backport)\b", re.I
)
"""How messages begin that say nothing of code; they would be learnt, and found, by heart."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A message and the numbers of the indexed files of code that its commit changed."""

    commit: str
    text: str
    files: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` found. `figures` has R@1, R@3, R@10 and MRR@10 of the held-out commits in each ranking, `gained` the
    gain in MRR over each that had to be beaten, with its 95% interval by bootstrap; `why` says why it was refused."""

    accepted: bool
    why: str = ""
    learnt_from: int = 0
    held_out: int = 0
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gained: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    seconds: float = 0.0


def tune(index: Index, *, seed: int = 0, tell: Callable[[str], None] | None = None, remember: bool = False) -> Tuning:
    """Learn an adapter for an index, measure it, and keep it where it won; else the index has none afterwards, or with
    `remember` the note that nothing was won.

    The files are taken as they are indexed. Raises `UsageError` for an index without vectors, or with some missing, and
    `TurboPropError` where Git does not tell its commits, or the adapter cannot be kept.
    """
    from turboprop.index.adapter import keep_adapter, remove_adapter

    started = time.monotonic()
    found, adapter = _tried(index, seed, tell or (lambda _: None))
    directory, header = index.location.directory, index.reader.header
    try:
        if found.accepted or remember:
            keep_adapter(directory, header, adapter)
        else:
            remove_adapter(directory, header.table)
    except OSError as error:
        raise SettingsError(f"the adapter in {directory} cannot be kept: {error.strerror}") from error
    return replace(found, seconds=time.monotonic() - started)


def renew(index: Index) -> list[str]:
    """With the setting `tune`: learn anew where `RENEWED_EVERY` commits came since the last time; what came of it, in
    a sentence. Nothing is raised: an index is as good without."""
    from turboprop.index.adapter import AdapterError, read_adapter

    directory, header = index.location.directory, index.reader.header
    if not index.settings.tune or not header.vectors or header.waiting:
        return []
    with suppress(AdapterError):
        known = read_adapter(directory, header)
        if known is not None and commits_since(directory, known.saw) < RENEWED_EVERY:
            return []
    try:
        found = tune(index, remember=True)
    except TurboPropError as error:
        return [f"Nothing was learnt from the commits: {error}"]
    return [told(found)]


def remove(index: Index) -> bool:
    """Search without what was learnt; returns whether anything was. Raises `SettingsError`."""
    from turboprop.index.adapter import remove_adapter

    try:
        return remove_adapter(index.location.directory, index.reader.header.table)
    except OSError as error:
        raise SettingsError(f"the adapter in {index.location.directory} cannot be removed: {error.strerror}") from error


def told(found: Tuning) -> str:
    """What came of it, in a sentence."""
    if not found.accepted:
        return f"Nothing was learnt that helps: {found.why}"
    before, now = found.figures["as it is"], found.figures["tuned"]
    return (
        f"Learnt from {found.learnt_from:,} commits: on the {found.held_out:,} newest MRR {before['MRR']:.3f} -> "
        f"{now['MRR']:.3f}, R@3 {before['R@3']:.3f} -> {now['R@3']:.3f}"
    )


def export(index: Index, file: Path) -> int:
    """Write a pair a line as JSON, and return how many: `anchor` (the message), `positive` (the chunk of a changed file
    that is nearest to it) and `negative` (the nearest chunk of other files), as sentence-transformers takes them;
    chunks as they are embedded. Raises what `tune` raises."""
    import numpy as np

    from turboprop.index.schema import text_to_embed
    from turboprop.search.tuning import compared

    reader = index.reader
    _check(index)
    pairs, _ = _pairs(index)
    lines: list[str] = []
    if pairs:
        queries = _unit(_embedded(index, [pair.text for pair in pairs]))
        chunks, rows = _chunks(reader, pairs, 0)
        file_of = np.asarray(reader.lexicon.file_of).astype(np.int64)[rows]
        nearest, hard = compared(queries, [pair.files for pair in pairs], chunks, file_of, negatives=1)
        wanted = reader.lexicon.row_ids[rows[np.concatenate([nearest, hard[:, 0]])]].tolist()
        found = reader.fetch(wanted, ("path", "symbol", "text"))
        texts = [text_to_embed(row["path"], row["symbol"], row["text"]) for row in found]
        others = file_of[hard[:, 0]].tolist()
        for pair, other, positive, negative in zip(pairs, others, texts, texts[len(pairs) :], strict=False):
            if other in pair.files:
                continue  # the commit changed every file that is looked at
            lines.append(json.dumps({"anchor": pair.text, "positive": positive, "negative": negative}) + "\n")
    try:
        replace_file(file, "".join(lines).encode())
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from error
    return len(lines)


def _check(index: Index) -> None:
    header = index.reader.header
    if not index.has_model:
        said = "is indexed by words alone, so there is no model whose queries could be tuned: `tp index --model NAME`"
        raise UsageError(f"{index.repo} {said}")
    if header.waiting or not header.vectors:
        raise UsageError(f"{header.waiting:,} chunks of {index.repo} have no vector yet: run `tp index` first")


def _tried(index: Index, seed: int, tell: Callable[[str], None]) -> tuple[Tuning, Adapter]:
    """What was found, and the adapter that won, or one that changes nothing."""
    import numpy as np

    from turboprop.index.adapter import Adapter
    from turboprop.search.search import Learnt
    from turboprop.search.tuning import train

    reader = index.reader
    _check(index)
    pairs, past = _pairs(index)
    seen = digits_of(past)
    width = reader.header.spec.dimensions
    nothing = Adapter(np.zeros((width, 0), np.float32), np.zeros((0, width), np.float32), seen)
    if len(pairs) < FEWEST:
        said = f"{len(pairs):,} commits say something of indexed code, and {FEWEST} are the least that tell anything"
        return Tuning(False, said), nothing
    held = min(HELD_OUT, len(pairs) // 4)
    newest, others = pairs[:held], pairs[held:]
    tell(f"embedding {len(pairs):,} messages")
    queries = _embedded(index, [pair.text for pair in pairs])
    tell(f"learning from {len(others):,} commits")
    chunks, rows = _chunks(reader, others, seed)
    file_of = np.asarray(reader.lexicon.file_of).astype(np.int64)[rows]
    learn = partial(train, _unit(queries[held:]), vectors=chunks, file_of=file_of)
    touched = [pair.files for pair in others]
    adapter = Adapter(*learn(touched, seed=seed), seen)
    shuffled = []
    for turn in range(seed, seed + CONTROLS):
        order = np.random.default_rng(turn).permutation(len(touched))
        shuffled.append(Adapter(*learn([touched[at] for at in order], seed=turn)))
    tell(f"searching for the {held:,} newest")
    at = {one.hash: place for place, one in enumerate(past)}
    older = History(past[at[newest[-1].commit] + 1 :], [path for path, _ in reader.lexicon.files])

    def before() -> History | None:
        return older if older.commits else None

    rankings = {
        "as it is": [Learnt(before)],
        "tuned": [Learnt(before, adapter)],
        "shuffled": [Learnt(before, each) for each in shuffled],
        "as it is, with history": [Learnt(before, always=True)],
        "tuned, with history": [Learnt(before, adapter, always=True)],
    }
    places = {
        name: np.array([_places(reader, newest, queries, learnt) for learnt in several])
        for name, several in rankings.items()
    }
    figures = {name: _figures(each) for name, each in places.items()}
    gained = {over: _gain(places[name], places[against], seed) for over, (name, against) in _BARS.items()}
    lost = [
        f"{gain:+.3f} over {over} ({low:+.3f} to {high:+.3f})" for over, (gain, low, high) in gained.items() if low <= 0
    ]
    why = f"on the {held:,} newest commits MRR gains no more than chance may: {'; '.join(lost)}" if lost else ""
    found = Tuning(not lost, why, len(others), held, figures, gained)
    return found, nothing if lost else replace(adapter, gained={**_kept(found)})


_BARS = {
    "the search as it is": ("tuned", "as it is"),
    "what shuffled pairs teach": ("tuned", "shuffled"),
    "alike messages for every query": ("tuned, with history", "as it is, with history"),
}
"""What has to be beaten: which ranking by which."""


def _kept(found: Tuning) -> dict[str, Any]:
    names = ("as it is", "tuned")
    return {
        "learnt_from": found.learnt_from,
        "held_out": found.held_out,
        **{figure: [found.figures[name][figure] for name in names] for figure in ("R@3", "MRR")},
    }


def _pairs(index: Index) -> tuple[list[Pair], list[PastCommit]]:
    """The commits that say something of indexed code, and all that Git tells; both the newest first."""
    try:
        told = list(commits(str(index.repo), MOST_COMMITS))
    except GitError as error:
        raise TurboPropError(f"the commits cannot be read: {error}") from error
    files = index.reader.lexicon.files
    numbers = {path: number for number, (path, language) in enumerate(files) if _is_code(path, language)}
    past = [past_commit(commit) for commit in told]
    pairs: dict[str, Pair] = {}
    for commit, one in zip(told, as_today(past), strict=True):
        touched = tuple(sorted({numbers[path] for path in one.files if path in numbers}))
        text = _TRAILER.sub("", commit.message[:_MOST_MESSAGE]).strip()
        says = len({word.lower() for word in _WORD.findall(text)}) >= _LEAST_WORDS and not _SAYS_NOTHING.match(text)
        if 1 <= len(touched) <= MOST_FILES and says:
            pairs.setdefault(
                text, Pair(commit.hash, text, touched)
            )  # a message of two commits would be learnt by heart
    return list(pairs.values()), past


def _is_code(path: str, language: str) -> bool:
    place = place_of(path, language)
    return not (place.is_test or place.is_prose or language in DATA_LANGUAGES)


def _embedded(index: Index, texts: Sequence[str]) -> Floats:
    """The vectors of queries, float32 [n, dimensions], as a search makes each one."""
    import numpy as np

    from turboprop.workspace.together import embedded_parts, of_parts

    parts = [embedded_parts(text) for text in texts]
    flat = list(dict.fromkeys(part for each in parts for part in each))
    at = {part: number for number, part in enumerate(flat)}
    with index.embedding() as lease:
        vectors = lease.model.embed_queries(flat, overlong="truncate")
    return np.array([of_parts([vectors[at[part]] for part in each]) for each in parts], np.float32)


def _chunks(reader: IndexReader, pairs: Sequence[Pair], seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Vectors of chunks, float32 [m, dimensions] of length 1, and their rows: where they are too many, those of the
    changed files before others, drawn."""
    import numpy as np

    lexicon = reader.lexicon
    file_of = np.asarray(lexicon.file_of).astype(np.int64)
    changed = np.isin(file_of, np.unique(np.concatenate([pair.files for pair in pairs])))
    turn = np.where(changed, 1, 2)
    turn[np.unique(file_of, return_index=True)[1]] -= 1  # the first chunk of each changed file stands before all
    drawn = np.random.default_rng(seed).permutation(lexicon.rows)
    rows = np.sort(drawn[np.argsort(turn[drawn], kind="stable")][:_MOST_CHUNKS])
    parts = [
        reader.vectors(lexicon.row_ids[rows[begin : begin + 2_000]].tolist()).astype(np.float32)
        for begin in range(0, len(rows), 2_000)
    ]
    return _unit(np.concatenate(parts)), rows


def _unit(vectors: Floats) -> Floats:
    import numpy as np

    lengths = np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True))
    unit: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def _places(reader: IndexReader, pairs: Sequence[Pair], queries: Floats, learnt: Learnt) -> NDArray[np.float64]:
    """The place of the first file that each commit changed, infinite where it is not among the first `DEPTH`."""
    import numpy as np

    from turboprop.search.search import search

    paths = [path for path, _ in reader.lexicon.files]
    found = []
    for pair, vector in zip(pairs, queries, strict=False):
        wanted = {paths[number] for number in pair.files}
        hits = search(reader, pair.text, vector, limit=DEPTH, by="file", learnt=[learnt])
        found.append(next((at for at, hit in enumerate(hits, 1) if hit.path in wanted), np.inf))
    return np.array(found, np.float64)


def _figures(places: NDArray[np.float64]) -> dict[str, float]:
    """Of places [n] or, of several rankings that count alike, [rankings, n]."""
    reached = {f"R@{k}": round(float((places <= k).mean()), 4) for k in (1, 3, 10)}
    return {**reached, "MRR": round(float((1 / places).mean()), 4)}


def _gain(places: NDArray[np.float64], before: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """What MRR gains, with its 95% interval by bootstrap of the queries; places [rankings, n] of each side."""
    import numpy as np

    gains = (1 / places).mean(axis=0) - (1 / before).mean(axis=0)
    drawn = np.random.default_rng(seed).integers(0, len(gains), (_SAMPLES, len(gains)))
    low, high = np.quantile(gains[drawn].mean(axis=1), [0.025, 0.975])
    return round(float(gains.mean()), 4), round(float(low), 4), round(float(high), 4)
