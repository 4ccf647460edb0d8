"""Postings of one published version of a table, in a file that is mapped into memory.

The file is derived: `build_lexicon` makes it from the table whenever it is missing, damaged or of another
version, so it may be deleted at any time. All integers are little-endian.

    magic         8 bytes   "TPLEX002"
    head length   uint64    bytes of the JSON that follows
    head          JSON      {"table_version", "made_from", "rows", "average_length", "sampled",
                             "arrays": {name: [dtype, offset, count]}}
    arrays                  each at its offset from the file's start, a multiple of 64
    checksum      16 bytes  xxh3-128 of everything before
    signature     16 bytes  of the checksum, by the user's key: one that came with a repository is not read

    terms         uint32    the different term hashes, rising
    starts        uint64    where the postings of each term begin; one more at the end
    posting_rows  uint32    rows (0 to rows - 1, rising within a term)
    weights       uint16    as `terms_column` packs them
    row_ids       uint64    Lance's row ids, rising
    lengths       float32   terms of the row's text over the average
    file_of       uint32    the file of each row
    paths         uint8     paths and languages of the files: UTF-8, `path\\0language\\n`
    stem_words    uint32    hashes of the words of file names, rising, and in how many files they occur:
    stem_files    uint32
    folder_words  uint32    the same of the innermost folders
    folder_files  uint32
    sample        float16   `sampled` row vectors of unit length, up to 512, one after the other
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.code.terms import term_hash
from turboprop.files import open_regular
from turboprop.settings import user_data_home
from turboprop.settings.trust import is_signed

if TYPE_CHECKING:
    from typing import Self

MAGIC = b"TPLEX002"
DIGEST_BYTES = 16
ALIGNMENT = 64
ARRAYS: dict[str, str] = {
    "terms": "<u4",
    "starts": "<u8",
    "posting_rows": "<u4",
    "weights": "<u2",
    "row_ids": "<u8",
    "lengths": "<f4",
    "file_of": "<u4",
    "paths": "|u1",
    "stem_words": "<u4",
    "stem_files": "<u4",
    "folder_words": "<u4",
    "folder_files": "<u4",
    "sample": "<f2",
}
K1 = 2.0
"""How soon further occurrences of a term stop counting (BM25's k1)."""
B = 0.4
"""How much a long text is held against it (BM25's b)."""


class LexiconError(Exception):
    """The file is not a sound lexicon of the wanted version; make it anew."""


class Lexicon:
    """Term statistics and postings of one version; arrays may be views of a mapped file."""

    def __init__(self, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.version: int = head["table_version"]
        self.rows: int = head["rows"]
        self._sampled: int = head["sampled"]
        self._a = arrays
        self.row_ids: NDArray[np.uint64] = arrays["row_ids"]
        self.file_of: NDArray[np.uint32] = arrays["file_of"]
        self._files: list[tuple[str, str]] | None = None
        self._file_lengths: NDArray[np.float64] | None = None
        self._idfs: dict[tuple[str, str], float] = {}

    @classmethod
    def open(cls, path: Path, version: int, made_from: str) -> Self:
        """Map a file. Raises `LexiconError` unless it is whole, this user's and made from that version of that table.

        `made_from` is the digest of the file in which Lance describes the version. Raises OSError where there is none.
        """
        with open_regular(path) as file:
            try:
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except ValueError as error:
                raise LexiconError(f"{path} is empty") from error
        end = len(view) - 2 * DIGEST_BYTES
        if end < 16 or bytes(view[:8]) != MAGIC:
            raise LexiconError(f"{path} is no lexicon")
        checksum = bytes(view[end : end + DIGEST_BYTES])
        # Before the rest is read: a stranger's file may have any length.
        if not is_signed(user_data_home(), checksum, bytes(view[end + DIGEST_BYTES :]).hex()):
            raise LexiconError(f"{path} is damaged, or was not made here by you")
        if xxhash.xxh3_128_digest(view[:end]) != checksum:
            raise LexiconError(f"{path} is damaged")
        length = int.from_bytes(view[8:16], "little")
        try:
            if length > end - 16:
                raise ValueError("the head is longer than the file")
            head = json.loads(bytes(view[16 : 16 + length]))
            if head["table_version"] != version:
                raise LexiconError(f"{path} is of version {head['table_version']}, not {version}")
            if head["made_from"] != made_from:
                raise LexiconError(f"{path} is of another table")
            arrays = {name: _array(view, end, name, head["arrays"][name]) for name in ARRAYS}
            _check(head["rows"], head["sampled"], arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise LexiconError(f"{path} is no sound lexicon: {error}") from error
        return cls(head, arrays)

    @property
    def files(self) -> list[tuple[str, str]]:
        """Path and language of every file, in the order of `file_of`."""
        if self._files is None:
            lines = self._a["paths"].tobytes().decode("utf-8").split("\n")[:-1]
            self._files = [(path, language) for path, _, language in (line.partition("\0") for line in lines)]
        return self._files

    @property
    def sample(self) -> NDArray[np.float16]:
        """Vectors of some rows, spread evenly over those that have one, float16 [n, dimensions], unit length."""
        return self._a["sample"].reshape(self._sampled, -1 if self._sampled else 0)

    def postings(self, term: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Rows that hold a term, rising, and the weights it has there."""
        terms = self._a["terms"]
        at = int(np.searchsorted(terms, np.uint32(term)))
        if at == len(terms) or terms[at] != term:
            return self._a["posting_rows"][:0], self._a["weights"][:0]
        begin, end = int(self._a["starts"][at]), int(self._a["starts"][at + 1])
        return self._a["posting_rows"][begin:end], self._a["weights"][begin:end]

    def scores(
        self, query: Mapping[int, float], in_all: int | None = None, holding: Mapping[int, int] | None = None
    ) -> NDArray[np.float32]:
        """BM25F of every row for weighted terms, float32 [rows], as a share of what the terms could reach.

        `holding` counts the rows that hold each term among the `in_all` rows of the tables that are searched
        together, so that their scores compare; without them this table counts alone.

        The share counts terms that nothing holds too, so a weak match looks weak. After Robertson, Zaragoza
        and Taylor, "Simple BM25 extension to multiple weighted fields" (CIKM 2004); the fields that name a
        chunk are not normalised by length, as they have a few words each.
        """
        total = np.zeros(self.rows, np.float32)
        reachable = 0.0
        lengths = self._a["lengths"]
        for term, weight in query.items():
            rows, packed = self.postings(term)
            held, among = (len(rows), self.rows) if holding is None or in_all is None else (holding[term], in_all)
            idf = _idf(among, held)
            reachable += weight * idf
            if not len(rows):
                continue
            counts = (packed & 0xFF).astype(np.float32) / (1 - B + B * lengths[rows]) + (packed >> 8)
            total[rows] += np.float32(weight * idf) * counts / (counts + np.float32(K1))
        return total / np.float32(reachable) if reachable else total

    def file_scores(self, query: Mapping[int, float], numbers: NDArray[np.uint32]) -> NDArray[np.float64]:
        """BM25F of some files for weighted terms, float64 [files]: `scores` with a file for a document, and no share.

        `numbers` are those of the files, rising. How rare a term is is counted over rows, as there.
        """
        norms = 1 - B + B * self._lengths_of_files()[numbers]
        place = np.full(len(self.files), -1)
        place[numbers] = np.arange(len(numbers))
        place_of_row = place[self.file_of]
        total = np.zeros(len(numbers))
        for term, weight in query.items():
            rows, packed = self.postings(term)
            at = place_of_row[rows]
            at, packed = at[at >= 0], packed[at >= 0]
            named = np.zeros(len(numbers))
            np.maximum.at(named, at, packed >> 8)
            counts = np.bincount(at, packed & 0xFF, len(numbers)) / norms + named
            total += weight * _idf(self.rows, len(rows)) * counts / (counts + K1)
        return total

    def _lengths_of_files(self) -> NDArray[np.float64]:
        """Terms of each file over the average, float64 [files]."""
        if self._file_lengths is None:
            lengths = np.bincount(self.file_of, self._a["lengths"].astype(np.float64), len(self.files))
            self._file_lengths = lengths / max(float(lengths.sum()) / max(len(lengths), 1), 1e-9)
        return self._file_lengths

    def stem_idf(self, word: str) -> float:
        """How rare a lower-case word is among the names of files."""
        return self._idf("stem", word)

    def folder_idf(self, word: str) -> float:
        """How rare a lower-case word is among the innermost folders."""
        return self._idf("folder", word)

    def _idf(self, which: str, word: str) -> float:
        if (known := self._idfs.get((which, word))) is not None:  # the words of file names, asked at each search
            return known
        words = self._a[f"{which}_words"]
        wanted = term_hash(word)
        at = int(np.searchsorted(words, np.uint32(wanted)))
        found = at < len(words) and words[at] == wanted
        idf = math.log(1 + len(self.files) / int(self._a[f"{which}_files"][at])) if found else 1.0
        self._idfs[which, word] = idf
        return idf

    def rows_of(self, row_ids: Sequence[int] | NDArray[np.uint64]) -> NDArray[np.int64]:
        """The rows of Lance row ids, int64 [n], -1 for an id that is not there."""
        wanted = np.asarray(row_ids, np.uint64)
        if not self.rows:
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.row_ids, wanted), self.rows - 1)
        return np.where(self.row_ids[at] == wanted, at, -1)


def _idf(among: int, held: int) -> float:
    """How rare what `held` of `among` documents hold is."""
    return math.log(1 + (among - held + 0.5) / (held + 0.5))


def _array(view: memoryview, end: int, name: str, entry: Any) -> NDArray[Any]:
    dtype, offset, count = entry
    if dtype != ARRAYS[name] or not isinstance(offset, int) or not isinstance(count, int):
        raise ValueError(f"the array {name} is {entry}")
    size = np.dtype(dtype).itemsize * count
    if offset < 0 or count < 0 or offset % ALIGNMENT or offset + size > end:
        raise ValueError(f"the array {name} lies outside of the file")
    return np.frombuffer(view, dtype, count, offset)


def _check(rows: int, sampled: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """That no index in the arrays leads out of another; the checksum has shown that they are what was written."""
    if not len(arrays["row_ids"]) == len(arrays["lengths"]) == len(arrays["file_of"]) == rows:
        raise ValueError("the arrays of rows differ in length")
    if len(arrays["sample"]) % (sampled or 1) or (not sampled and len(arrays["sample"])):
        raise ValueError("the sample is not one of whole vectors")
    starts, postings = arrays["starts"], arrays["posting_rows"]
    if (
        len(starts) != len(arrays["terms"]) + 1
        or int(starts[-1]) != len(postings)
        or len(arrays["weights"]) != len(postings)
    ):
        raise ValueError("the postings do not fit their terms")
    if len(postings) and int(postings.max()) >= rows:
        raise ValueError("a posting names a row that is not there")
