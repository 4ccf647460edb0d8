"""Making a lexicon from a table, and keeping its file."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.code.terms import split_identifier, term_hash, words
from turboprop.files import open_regular, replacing
from turboprop.index import schema
from turboprop.index.lease import version_file
from turboprop.index.lexicon import ALIGNMENT, ARRAYS, MAGIC, Lexicon, LexiconError
from turboprop.index.reuse import vector_array
from turboprop.index.schema import lexicon_file, table_folder
from turboprop.settings import user_data_home
from turboprop.settings.trust import sign

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 512
"""Vectors that stand for the table where a query's mean cosine and its spread are wanted: with 512 both are within
2% of those of all rows (100,000 chunks, all-MiniLM-L6-v2)."""

_TERM_PARTS = 16
_PART_SIZE = np.uint32(1 << 28)


def open_lexicon(directory: Path, table: str, dataset: Any) -> Lexicon:
    """The lexicon of an opened version: from its file, else made anew in memory."""
    version = int(dataset.version)
    try:
        return Lexicon.open(lexicon_file(directory, table, version), version, made_from(directory, table, version))
    except (LexiconError, OSError):
        head, arrays = build_lexicon(dataset)
        return Lexicon(head, arrays)


def keep_lexicon(directory: Path, table: str, dataset: Any) -> None:
    """Write the lexicon of the newest version, and remove those of others.

    The file is a convenience of readers: one that cannot be written costs them the time to make it.
    """
    version = int(dataset.version)
    path = lexicon_file(directory, table, version)
    try:
        Lexicon.open(path, version, made_from(directory, table, version))
    except (LexiconError, OSError):
        with contextlib.suppress(OSError):
            head, arrays = build_lexicon(dataset)
            write_lexicon(path, {**head, "made_from": made_from(directory, table, version)}, arrays)
    for other in directory.glob(f"{table}.*.lexicon"):
        if other != path:
            with contextlib.suppress(OSError):  # a reader on Windows may hold it; the next run tries again
                other.unlink()


def made_from(directory: Path, table: str, version: int) -> str:
    """The xxh3-128, in hex, of the file in which Lance describes a version: two tables never share one, as it names
    data files that have random names. Raises `OSError`."""
    with open_regular(version_file(table_folder(directory, table), version)) as stream:
        return xxhash.xxh3_128_hexdigest(stream.read())


def build_lexicon(dataset: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Head and arrays of the lexicon of a `lance.LanceDataset`."""
    names = dataset.scanner(columns=[schema.PATH, schema.LANGUAGE, schema.LENGTH], with_row_id=True).to_table()
    row_ids = names["_rowid"].to_numpy()
    if len(row_ids) > 1 and not (row_ids[1:] > row_ids[:-1]).all():
        names = names.take(np.argsort(row_ids))
        row_ids = names["_rowid"].to_numpy()
    lengths = names[schema.LENGTH].to_numpy().astype(np.float32)
    average = float(lengths.mean()) if len(lengths) else 0.0
    paths, languages, file_of = _files(names)
    del names
    sample = _sample(dataset)
    arrays: dict[str, NDArray[Any]] = {
        **_postings(dataset, row_ids),
        "row_ids": row_ids,
        "lengths": lengths / max(average, 1e-9),
        "file_of": file_of,
        "paths": np.frombuffer("".join(map(_file_record, paths, languages)).encode(), np.uint8),
        **_name_words(paths, "stem", lambda path: path.stem),
        **_name_words(paths, "folder", lambda path: path.parent.name),
        "sample": sample,
    }
    head = {
        "table_version": int(dataset.version),
        "rows": len(row_ids),
        "average_length": average,
        "sampled": len(sample),
    }
    return head, {name: np.ascontiguousarray(arrays[name], ARRAYS[name]).reshape(-1) for name in ARRAYS}


def _postings(dataset: Any, row_ids: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
    """Terms in their order, and for each the rows that have it, which rise, with their weights.

    Sorted a part of the terms at a time: hashes are even, so a part is a sixteenth of the postings. Beside what stays,
    10 bytes a posting, that holds 10 for all of them and 28 for those of one part.
    """
    parts: list[tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.uint32]]] = []
    for batch in dataset.scanner(columns=[schema.TERMS, schema.WEIGHTS], with_row_id=True).to_batches():
        terms, weights = batch[schema.TERMS], batch[schema.WEIGHTS]
        rows = np.searchsorted(row_ids, batch["_rowid"].to_numpy()).astype(np.uint32)
        counts = np.diff(terms.offsets.to_numpy())
        parts.append((terms.flatten().to_numpy(), weights.flatten().to_numpy(), np.repeat(rows, counts)))
    count = sum(len(part[0]) for part in parts)
    posting_rows, posting_weights = np.empty(count, np.uint32), np.empty(count, np.uint16)
    found: list[NDArray[np.uint32]] = []
    starts: list[NDArray[np.uint64]] = []
    begin = 0
    for number in range(_TERM_PARTS):
        chosen = [terms // _PART_SIZE == number for terms, _, _ in parts]
        terms = _together([part[0][mask] for part, mask in zip(parts, chosen, strict=True)], np.uint32)
        rows = _together([part[2][mask] for part, mask in zip(parts, chosen, strict=True)], np.uint32)
        order = np.argsort(terms.astype(np.uint64) << np.uint64(32) | rows)
        ordered = terms[order]
        end = begin + len(ordered)
        posting_rows[begin:end] = rows[order]
        posting_weights[begin:end] = _together(
            [part[1][mask] for part, mask in zip(parts, chosen, strict=True)], np.uint16
        )[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
        found.append(ordered[first])
        starts.append((first + begin).astype(np.uint64))
        begin = end
    return {
        "terms": _together(found, np.uint32),
        "starts": np.r_[_together(starts, np.uint64), np.uint64(count)],
        "posting_rows": posting_rows,
        "weights": posting_weights,
    }


def _together(parts: list[Any], kind: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _files(table: pa.Table) -> tuple[list[str], list[str], NDArray[np.uint32]]:
    """The files in the order in which they first occur, their languages, and the number of each row's file."""
    encoded = table[schema.PATH].combine_chunks().dictionary_encode()
    paths: list[str] = encoded.dictionary.to_pylist()
    file_of = encoded.indices.to_numpy().astype(np.uint32)
    _, first = np.unique(file_of, return_index=True)
    languages: list[str] = table[schema.LANGUAGE].combine_chunks().take(first).to_pylist() if len(first) else []
    return paths, languages, file_of


def _file_record(path: str, language: str) -> str:
    """A line end in a name would end its record; such a file is found, and shown with a blank."""
    return f"{path}\0{language}".replace("\n", " ") + "\n"


@lru_cache(16_384)  # each search looks at some hundred names, mostly the same ones
def name_words(name: str) -> tuple[str, ...]:
    """The lower-case parts of a file's or folder's name, unstemmed."""
    return tuple(part for word in words(name) for part in split_identifier(word))


def _name_words(paths: list[str], which: str, name_of: Callable[[PurePosixPath], str]) -> dict[str, NDArray[Any]]:
    counted = Counter(term_hash(word) for path in paths for word in set(name_words(name_of(PurePosixPath(path)))))
    ordered = sorted(counted)
    return {
        f"{which}_words": np.array(ordered, np.uint32),
        f"{which}_files": np.array([counted[word] for word in ordered], np.uint32),
    }


def _sample(dataset: Any) -> NDArray[np.float16]:
    """Vectors of rows that have one, of unit length, float16 [n, dimensions]."""
    if schema.VECTOR not in dataset.schema.names:
        return np.empty((0, 0), np.float16)
    found = dataset.scanner(columns=[], filter=f"{schema.VECTOR} IS NOT NULL", with_row_id=True).to_table()
    row_ids = np.sort(found["_rowid"].to_numpy())
    if not len(row_ids):
        return np.empty((0, 0), np.float16)
    chosen = row_ids[np.linspace(0, len(row_ids) - 1, min(SAMPLE_ROWS, len(row_ids))).astype(np.int64)]
    table = dataset.scanner(
        columns=[schema.VECTOR], filter=f"_rowid IN ({','.join(map(str, chosen.tolist()))})"
    ).to_table()
    width = dataset.schema.field(schema.VECTOR).type.list_size
    vectors = vector_array(table[schema.VECTOR], width).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.float32(1e-12)), np.float16)


def write_lexicon(path: Path, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a lexicon file by one rename."""
    places: dict[str, list[Any]] = {name: [ARRAYS[name], 0, len(arrays[name])] for name in ARRAYS}
    # The head's own length decides where the arrays begin: numbers of fixed width settle it.
    reserved = len(json.dumps({**head, "arrays": places})) + 20 * len(places) + 64
    offset = -(-(16 + reserved) // ALIGNMENT) * ALIGNMENT
    for name in ARRAYS:
        places[name][1] = offset
        offset = -(-(offset + arrays[name].nbytes) // ALIGNMENT) * ALIGNMENT
    encoded = json.dumps({**head, "arrays": places}).encode().ljust(reserved)
    digest = xxhash.xxh3_128()
    with replacing(path) as file:

        def write(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        write(MAGIC + len(encoded).to_bytes(8, "little") + encoded)
        for name in ARRAYS:
            write(b"\0" * (places[name][1] - file.tell()))
            write(arrays[name].tobytes())
        checksum = digest.digest()
        file.write(checksum + bytes.fromhex(sign(user_data_home(), checksum)))
