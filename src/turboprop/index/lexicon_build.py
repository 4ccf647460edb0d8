"""Making a lexicon from a table, and keeping its file."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
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
    table = dataset.scanner(
        columns=[schema.PATH, schema.LANGUAGE, schema.TERMS, schema.WEIGHTS, schema.LENGTH], with_row_id=True
    ).to_table()
    row_ids = table["_rowid"].to_numpy()
    if len(row_ids) > 1 and not (row_ids[1:] > row_ids[:-1]).all():
        table = table.take(np.argsort(row_ids))
        row_ids = table["_rowid"].to_numpy()
    lengths = table[schema.LENGTH].to_numpy().astype(np.float32)
    average = float(lengths.mean()) if len(lengths) else 0.0
    files, file_of, paths = _files(table)
    arrays: dict[str, NDArray[Any]] = {
        **_postings(table),
        "row_ids": row_ids,
        "lengths": lengths / max(average, 1e-9),
        "file_of": file_of,
        "paths": np.frombuffer("".join(f"{path}\0{lang}\n" for path, lang in files).encode(), np.uint8),
        **_name_words(paths, "stem", lambda path: path.stem),
        **_name_words(paths, "folder", lambda path: path.parent.name),
        "sample": _sample(dataset, row_ids),
    }
    head = {"table_version": int(dataset.version), "rows": len(row_ids), "average_length": average}
    return head, {name: np.ascontiguousarray(arrays[name], ARRAYS[name]).reshape(-1) for name in ARRAYS}


def _postings(table: pa.Table) -> dict[str, NDArray[Any]]:
    terms = table[schema.TERMS].combine_chunks()
    flat = terms.flatten().to_numpy().astype(np.uint32, copy=False)
    weights = table[schema.WEIGHTS].combine_chunks().flatten().to_numpy().astype(np.uint16, copy=False)
    counts = np.diff(terms.offsets.to_numpy())
    rows = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
    order = np.argsort(flat, kind="stable")  # stable: rows rise within a term
    ordered = flat[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, np.int64)
    return {
        "terms": ordered[starts],
        "starts": np.r_[starts, len(ordered)].astype(np.uint64),
        "posting_rows": rows[order],
        "weights": weights[order],
    }


def _files(table: pa.Table) -> tuple[list[tuple[str, str]], NDArray[np.uint32], list[PurePosixPath]]:
    encoded = table[schema.PATH].combine_chunks().dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    file_of = encoded.indices.to_numpy().astype(np.uint32)
    _, first = np.unique(file_of, return_index=True)
    languages: list[str] = table[schema.LANGUAGE].combine_chunks().take(first).to_pylist() if len(first) else []
    # A line end in a name would end its record; such a file is found, and shown with a blank.
    files = [(name.replace("\n", " "), lang) for name, lang in zip(names, languages, strict=True)]
    return files, file_of, [PurePosixPath(name) for name in names]


def name_words(name: str) -> list[str]:
    """The lower-case parts of a file's or folder's name, unstemmed."""
    return [part for word in words(name) for part in split_identifier(word)]


def _name_words(
    paths: list[PurePosixPath], which: str, name_of: Callable[[PurePosixPath], str]
) -> dict[str, NDArray[Any]]:
    counted = Counter(term_hash(word) for path in paths for word in set(name_words(name_of(path))))
    ordered = sorted(counted)
    return {
        f"{which}_words": np.array(ordered, np.uint32),
        f"{which}_files": np.array([counted[word] for word in ordered], np.uint32),
    }


def _sample(dataset: Any, row_ids: NDArray[np.uint64]) -> NDArray[np.float16]:
    if not len(row_ids):
        return np.empty(0, np.float16)
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
