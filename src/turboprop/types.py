"""The frozen values that cross from one room of the house to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CHUNKER = "syntax-5"
"""Recorded in every index: a change in where chunks begin or what they are called (`code.chunk`) must change it."""

WeightFormat = Literal["auto", "float32", "float16", "bfloat16", "int8", "int4", "stored"]
"""What weights are computed with; each engine offers some of them. `stored`: weights of few bits as a GGUF file has
them, others int8."""
WEIGHT_FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)

MAX_CHUNK_CHARS = 1_500
"""How large chunks are cut. Of 900 and 1,500 characters the larger ranks better (NDCG@10 0.939 against 0.928 on nine
repositories with all-MiniLM-L6-v2) and makes half the rows."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole lines of one file: the unit that is embedded, stored and found.

    `start_line` and `end_line` are 1-based and inclusive. `path` is relative to the repository's
    root, with `/`; bytes of a name that are not UTF-8 appear as `\\xNN`. `symbol` is qualified
    (`Class.method`) and empty where the chunk defines nothing; `kind` is one of
    `turboprop.code.languages.KINDS`. `signature` is the defining line(s), without the body. `symbols` are the records
    of what its lines define and refer to (`turboprop.code.symbols`), None where no syntax tree told.
    """

    path: str
    language: str
    kind: str
    symbol: str
    start_line: int
    end_line: int
    text: str
    signature: str = ""
    symbols: str | None = None


class Match(NamedTuple):
    """A word of the query in a hit: characters `begin` to `end` of the file's `line` (1-based).

    `weight` says how much it tells beside the hit's other matches.
    """

    line: int
    begin: int
    end: int
    weight: float


Sureness = Literal["strong", "weak", "nothing"]
SURENESS: tuple[Sureness, ...] = get_args(Sureness)
"""How sure a hit is; what speaks for each is in `turboprop.search.sureness`."""


CopyKind = Literal["older", "newer", "variant"]
"""What a copy is beside its hit: another version, or the same for another platform."""


class Copy(NamedTuple):
    """Lines `start_line` to `end_line` (1-based, inclusive) of `path`, which do what a hit does."""

    path: str
    start_line: int
    end_line: int
    kind: CopyKind


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: lines `start_line` to `end_line` (1-based, inclusive) of `path`, relative to the repository.

    `score` grows with relevance and has no upper end: 0 is no match, and about 1 a chunk that holds all words of the
    query or stands out by its meaning as the best one of a good query does; rules (names, definitions) add to it. It
    compares between queries of one index and between indexes of one model. With a reranker it is 0 to 1, and for
    `similar` the cosine. `parts` say what it is made of, by rule: "words" is the share of the query's words (0 to 1),
    "cosine" the cosine similarity, the others what their rule added or multiplied. `sure` is the mark of a hit of a
    search, None for `similar`. `why` says what it is, where the query asked for definitions, calls or implementations
    of a name, and where a query names a line beyond the end of the file; `matches` are words of the query in its text.
    `copies` are other versions of the same thing, and its implementations for other platforms, which are no hits of
    their own.
    """

    path: str
    start_line: int
    end_line: int
    score: float
    language: str
    symbol: str
    text: str
    kind: str = ""
    parts: Mapping[str, float] = field(default_factory=dict, compare=False, hash=False)
    sure: Sureness | None = field(default=None, compare=False, hash=False)
    why: str = ""
    matches: tuple[Match, ...] = field(default=(), compare=False, hash=False)
    copies: tuple[Copy, ...] = field(default=(), compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token ids of several inputs, packed end to end without padding.

    `ids` is int32 [sum(lengths)], `lengths` int32 [n]. The first `skip` tokens of every input (a
    prompt that the model's card excludes) take no part in the pooling. `second` is int32 [n] where the
    inputs are pairs of texts: how many tokens of each come before its second text. `seen` is int32 [n] where only the
    first tokens of each input are attended to: how many.

    An engine that tokenizes by itself is given `texts` and no ids; `lengths` are in characters then. `asked` are
    fields of the request that go with them, such as the side whose prompt a server puts before them.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    skip: int = 0
    second: NDArray[np.int32] | None = None
    texts: tuple[str, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    seen: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class Prompts:
    """What stands before a text, by the side it is on. Empty means bare."""

    query: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which chunks may be found; applied before the top k is taken.

    `globs` are matched against the path in order, a leading `!` excludes; `languages` and
    `extensions` (with the dot, lower case) widen within themselves and narrow each other. `below`
    is a folder, relative to the root, that all of it lies in; '' is the root. `regex` is a regular expression that a
    line of the chunk has to match.
    """

    languages: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    below: str = ""
    regex: str = ""

    @classmethod
    def of(
        cls, globs: Iterable[str], languages: Iterable[str], extensions: Iterable[str], regex: str = ""
    ) -> SearchFilter:
        """What a user wrote: any case, extensions with the dot or without."""
        dotted = (ending if ending.startswith(".") else f".{ending}" for ending in extensions)
        return cls(tuple(map(str.lower, languages)), tuple(map(str.lower, dotted)), tuple(globs), regex=regex)


@dataclass(frozen=True, slots=True)
class IndexScope:
    """Which files of a repository an index is of: the first `limit` of those of at most `max_filesize` bytes
    that `exclude` (gitignore syntax, from the root) does not match, and those that `include` matches, whatever would
    leave them out. `root` is where the repository was then."""

    max_filesize: int = 1_000_000
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    root: str = field(default="", compare=False)
    include: tuple[str, ...] = ()


DEFAULT_SCOPE = IndexScope()


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What the manifest knows of one file. `digest` is the xxh3-128 of its bytes, in hex."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    digest: str
    chunks: int
    language: str = ""


NO_MODEL = "none"
"""What an index of words alone has in the place of a model's name."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that is not indexed. `reason` is one of `turboprop.code.exclude.Reason`, `detail` may be ''."""

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """What one run of `tp index` did. Times in seconds, sizes in bytes."""

    files: int
    chunks: int
    embedded_chunks: int
    unchanged_files: int
    removed_files: int
    tokens: int
    seconds: float
    bytes_on_disk: int
    model: str
    skipped: dict[str, int] = field(default_factory=dict)
    cached_chunks: int = 0
    """Chunks whose vectors were kept from another index of this user."""
    notes: tuple[str, ...] = ()
    """Whole sentences for the user about how the files were found."""
    left_out: tuple[LeftOut, ...] = ()
    """Files that look like source and are not indexed for what is in them, for their size or by an attribute."""
    waiting_chunks: int = 0
    """Chunks that have no vector yet and are found by their words alone."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What `tp status` tells. `updated` is in seconds since the epoch, sizes in bytes."""

    repo: Path
    directory: Path
    model: str
    dimensions: int
    files: int
    chunks: int
    bytes_on_disk: int
    updated: float
    complete: bool
    """Whether it holds all that its last run was asked for, cut by the rules of now."""
    stale: tuple[str, ...]
    """Files whose content was added or changed since they were indexed."""
    removed: tuple[str, ...]
    """Files that are indexed and no longer there."""
    left_out: tuple[LeftOut, ...] = ()
    """As in `IndexSummary`, with the folders that were not looked into; empty where no file was looked at."""
    vectors: int = 0
    """Chunks that have a vector; the others are found by their words alone."""
    tuned: Mapping[str, Any] | None = None
    """What `tp tune` learnt: from how many commits, how many came since, and MRR and R@3 of those that were held out,
    each without it and with it. None where nothing was learnt."""

    @property
    def vectors_note(self) -> str:
        """`vectors_note` of this index."""
        return vectors_note(self.vectors, self.chunks) if self.dimensions else ""


def vectors_note(vectors: int, chunks: int) -> str:
    """How far the vectors of an index with a model are, '' where all are there."""
    if vectors >= chunks:
        return ""
    return f"{vectors:,} of {chunks:,} chunks have vectors, the others are found by their words alone"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What `Index.bring_in` did. `left` says why it did nothing; '' where nothing was left to do.

    `changed` counts the files that were brought in, or were left.
    """

    left: str = ""
    changed: int = 0
    summary: IndexSummary | None = None
    failed: bool = False
    """Whether `left` is an error."""


@dataclass(frozen=True, slots=True)
class CacheFault:
    """Something of the user's caches that is not as it was written. `subject` names what, `problem` is a sentence."""

    subject: str
    problem: str
    path: Path
