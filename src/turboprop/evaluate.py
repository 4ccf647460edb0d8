"""How well settings find things in a user's own repository: queries from what it says about itself.

A docstring (or the comment above a definition) becomes a query for that definition, and is taken out of what is
indexed; the subject of a commit becomes a query for the files that it changed.
"""

from __future__ import annotations

import math
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from turboprop.code.documented import Documented, documented, without
from turboprop.code.git import GitError
from turboprop.code.gitview import commits
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import Skipped, walk
from turboprop.errors import RepositoryIndexError, UsageError
from turboprop.index.adapter import Adapter, AdapterError, keep_adapter, read_adapter
from turboprop.index.history import DIGITS
from turboprop.index.manifest import index_tables
from turboprop.limits import MODES, Mode
from turboprop.machine import peak_resident_bytes
from turboprop.settings import Settings, load_settings
from turboprop.types import Hit
from turboprop.workspace.index import Index
from turboprop.workspace.location import Location, checked_repo

TOP = 10
_WORDS = re.compile(r"[A-Za-z][A-Za-z'_-]+")
_FEWEST_WORDS, _MOST_WORDS = 4, 30
_MOST_FILES = 3
"""A commit that changed more files says little about each of them."""
_LAST_COMMITS = 2_000
_LONGEST_SUBJECT = 500
"""In characters. Nobody asks more, and looking for an issue's number takes the square of it."""
_ROUNDS = 1_000
_CONVENTIONAL = re.compile(r"^(?:\w+(?:\([^)]*\))?!?:|\[[^\]]*\])\s+|\s*\(#\d+\)$")

Source = Literal["documentation", "commit"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, and where it is: any of `paths`, in `symbol` where that is given."""

    text: str
    source: Source
    paths: tuple[str, ...]
    symbol: str = ""

    def rank(self, hits: Sequence[Hit]) -> int | None:
        """The 1-based place of the first right hit."""
        last = self.symbol.rpartition(".")[2]
        for place, hit in enumerate(hits, 1):
            if hit.path in self.paths and (not last or last in re.split(r"[.,\s]+", hit.symbol) or last in hit.text):
                return place
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One setting over all queries. `mrr` is the mean reciprocal rank within `TOP`, `low` and `high` its 95%
    interval over the queries (bootstrap), `found` the share that is within `TOP`, `first` the share at the top.

    Milliseconds are of one query, its embedding included; `index_seconds` of indexing, with vectors that are known
    taken from where they are kept, and `embedded` the chunks that were not.
    """

    model: str
    mode: Mode
    queries: int
    mrr: float
    low: float
    high: float
    found: float
    first: float
    by_source: dict[str, float]
    p50_ms: float
    p95_ms: float
    index_seconds: float
    embedded: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All settings over one set of queries. `peak_memory` in bytes."""

    repo: Path
    files: int
    documentation_queries: int
    commit_queries: int
    outcomes: tuple[Outcome, ...]
    peak_memory: int | None


def evaluate(
    repo: str | Path,
    models: Sequence[str | None] = (None,),
    modes: Sequence[Mode] = MODES,
    *,
    queries: int = 100,
    files: int = 400,
    seed: int = 0,
    settings: Settings | None = None,
    tell: Callable[[str], None] | None = None,
) -> Evaluation:
    """Compare models and modes on a repository, of which at most `files` files are taken (the larger it is, the
    longer it takes and the harder it is to find something).

    `queries` of each source at most. Raises `UsageError` where the repository says too little about itself.
    """
    root = checked_repo(repo)
    settings = settings or load_settings(root)
    say = tell or (lambda _: None)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    sources = _sources(root, files, chance, settings)
    from_docs, held_out = _documentation(sources, queries, chance)
    tuned = _adapters(root, settings)
    # What an adapter learnt from would be found by heart.
    seen = {digits for adapter in tuned.values() for digits in adapter.saw}
    try:
        from_commits = _commits(root, {source.path for source in sources}, queries, chance, seen)
    except GitError as error:
        say(f"no queries from commits: {error}")
        from_commits = []
    wanted = [*from_docs, *from_commits]
    if len(wanted) < 10:
        raise UsageError(
            f"{root} has too few docstrings and commits to make queries from ({len(wanted)}); "
            "ten are the least that say anything"
        )
    say(f"{len(from_docs)} queries from documentation, {len(from_commits)} from commits")
    with tempfile.TemporaryDirectory(prefix="turboprop-bench-") as scratch:
        copy = Path(scratch) / "repository"
        for source in sources:
            target = copy / source.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(without(source.text, held_out.get(source.path, [])), "utf-8", newline="\n")
        outcomes: list[Outcome] = []
        for number, model in enumerate(models):
            say(f"indexing with {model or settings.model}")
            with Index.create(copy, model, index_dir=Path(scratch) / f"index{number}", settings=settings) as index:
                for mode in modes:
                    if mode == "lexical" and any(outcome.mode == mode for outcome in outcomes):
                        continue  # words are the same with every model
                    outcomes.append(_outcome(index, mode, wanted))
                    say(f"{index.model_name}, {mode}: MRR {outcomes[-1].mrr:.3f}")
                header = index.reader.header
                if (adapter := tuned.get(header.spec.fingerprint)) is not None:
                    keep_adapter(index.location.directory, header, adapter)
                    for mode in modes:
                        if mode != "lexical":
                            found = _outcome(index, mode, wanted)
                            outcomes.append(replace(found, model=f"{found.model}, tuned"))
                            say(f"{outcomes[-1].model}, {mode}: MRR {found.mrr:.3f}")
    return Evaluation(root, len(sources), len(from_docs), len(from_commits), tuple(outcomes), peak_resident_bytes())


def _adapters(root: Path, settings: Settings) -> dict[str, Adapter]:
    """What `tp tune` learnt for the repository's own index, by the fingerprint of the model."""
    directory = Location.at(root, None, settings).directory
    found: dict[str, Adapter] = {}
    with suppress(RepositoryIndexError):
        for header in index_tables(directory):
            with suppress(AdapterError):
                adapter = read_adapter(directory, header)
                if adapter is not None and not adapter.is_identity:
                    found[header.spec.fingerprint] = adapter
    return found


def _sources(root: Path, most: int, chance: random.Random, settings: Settings) -> list[SourceText]:
    found = walk(root, max_filesize=settings.max_filesize, exclude=settings.exclude, include=settings.include).files
    chosen = sorted(chance.sample(found, min(most, len(found))), key=lambda file: file.path)
    read = (read_source(file, max_filesize=settings.max_filesize) for file in chosen)
    return [source for source in read if not isinstance(source, Skipped)]


def _documentation(
    sources: Sequence[SourceText], most: int, chance: random.Random
) -> tuple[list[Query], dict[str, list[Documented]]]:
    candidates = [
        (source, part, text)
        for source in sources
        for part in documented(source.text, source.language)
        if (text := _first_sentence(part))
    ]
    chosen = chance.sample(candidates, min(most, len(candidates)))
    held_out: dict[str, list[Documented]] = {}
    for source, part, _ in chosen:
        held_out.setdefault(source.path, []).append(part)
    return [Query(text, "documentation", (source.path,), part.symbol) for source, part, text in chosen], held_out


def _first_sentence(part: Documented) -> str:
    """The first sentence where it is a query that somebody could have asked; '' where it is not."""
    paragraph = " ".join(part.text.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph)[0].rstrip(".")
    words = _WORDS.findall(sentence)
    name = part.symbol.rpartition(".")[2]
    plain = sum(map(len, words)) >= 0.7 * len(sentence.replace(" ", ""))
    if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS or not plain or (len(name) > 3 and name in sentence):
        return ""
    return sentence


def _commits(root: Path, paths: set[str], most: int, chance: random.Random, seen: Container[str] = ()) -> list[Query]:
    candidates = []
    for commit in commits(str(root), _LAST_COMMITS):
        if commit.hash[:DIGITS] in seen:
            continue
        subject, changed = commit.message.partition("\n")[0].strip(), commit.files
        if len(subject) > _LONGEST_SUBJECT:
            continue
        text = _CONVENTIONAL.sub("", _CONVENTIONAL.sub("", subject)).strip()
        there = tuple(sorted(path for path in changed if path in paths))
        if there and len(changed) <= _MOST_FILES and len(_WORDS.findall(text)) >= _FEWEST_WORDS:
            candidates.append(Query(text, "commit", there))
    unique = list({query.text: query for query in candidates}.values())
    return chance.sample(unique, min(most, len(unique)))


def _outcome(index: Index, mode: Mode, queries: Sequence[Query]) -> Outcome:
    summary = index.summary
    assert summary is not None
    index.search("warm up", 1, mode)
    gains: list[float] = []
    times: list[float] = []
    by_source: dict[str, list[float]] = {}
    for query in queries:
        started = time.perf_counter()
        hits = index.search(query.text, TOP, mode, by="chunk" if query.symbol else "file")
        times.append((time.perf_counter() - started) * 1000)
        rank = query.rank(hits)
        gains.append(1 / rank if rank else 0.0)
        by_source.setdefault(query.source, []).append(gains[-1])
    low, high = interval(gains)
    return Outcome(
        model=index.model_name if mode != "lexical" else "(no model)",
        mode=mode,
        queries=len(queries),
        mrr=statistics.mean(gains),
        low=low,
        high=high,
        found=sum(gain > 0 for gain in gains) / len(gains),
        first=sum(gain == 1 for gain in gains) / len(gains),
        by_source={source: statistics.mean(values) for source, values in by_source.items()},
        p50_ms=statistics.median(times),
        p95_ms=sorted(times)[math.ceil(0.95 * len(times)) - 1],
        index_seconds=summary.seconds,
        embedded=summary.embedded_chunks,
        index_bytes=summary.bytes_on_disk,
    )


def interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the mean by bootstrap (percentiles of 1,000 resamples)."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    means = sorted(statistics.mean(chance.choices(values, k=len(values))) for _ in range(_ROUNDS))
    return means[round(0.025 * _ROUNDS)], means[round(0.975 * _ROUNDS) - 1]
