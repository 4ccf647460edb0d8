"""What a run of `tp index` would take: tokens, time, memory and disk, from a short measurement on this machine."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from turboprop.code.chunk import chunk_text
from turboprop.code.preview import Preview, preview
from turboprop.code.read import read_source
from turboprop.code.walk import Skipped, SourceFile
from turboprop.embed.documents import IndexingEmbedder
from turboprop.errors import ModelNotFoundError, UsageError
from turboprop.index.changes import differing
from turboprop.index.schema import embedded_text
from turboprop.machine import peak_resident_bytes
from turboprop.runtime.leases import LoadOptions
from turboprop.runtime.manager import DEFAULT_MANAGER
from turboprop.types import MAX_CHUNK_CHARS, IndexScope
from turboprop.workspace.location import Location
from turboprop.workspace.survey import survey
from turboprop.workspace.update import DATA_LANGUAGES

_SAMPLE_FILES = 60
_SAMPLE_SECONDS = 3.0
_ROW_BYTES = 2.2
"""Bytes on disk for each byte of a chunk's text, the search indexes included; 2.0 to 2.4 on seven repositories."""
_LARGEST = 8

_NOT_SOURCE = {
    "build output": {"build", "dist", "out", "target", "bin", "obj", "_build", "coverage", "public"},
    "other people's code": {"vendor", "vendored", "third_party", "thirdparty", "3rdparty", "extern", "node_modules"},
    "data": {"data", "dataset", "datasets", "fixtures", "testdata", "samples", "snapshots", "cassettes", "corpus"},
}
_NOTEWORTHY_SHARE = 0.2
_NOTEWORTHY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What indexing would take. Sizes in bytes; None where no model was here to measure with.

    `files` and `bytes` are those that changed since the last run; `seconds` is for them, embedding included.
    """

    model: str
    files: int
    bytes: int
    chunks: int
    tokens: int | None
    seconds: float | None
    memory: int | None
    disk: int


@dataclass(frozen=True, slots=True)
class Preflight:
    """A preview with what it would cost, the largest files and folders, and what looks wrong."""

    preview: Preview
    estimate: Estimate
    largest_files: tuple[tuple[str, int], ...]
    largest_folders: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


def preflight(
    location: Location,
    model: str | None = None,
    *,
    scope: IndexScope,
    engine: str | None = None,
    quick: bool = False,
) -> Preflight:
    """Look at a repository and run the model over a sample of it, a tenth as long where it has to be `quick`; writes
    and downloads nothing."""
    settings, recorded = location.settings, location.recorded_model()
    seen = survey(location, scope)
    files = seen.walk.files[: scope.limit]
    changed: Sequence[SourceFile] = files
    if seen.known is not None and model is None and recorded is not None:
        # As the run itself, which reads what was touched, and finds most of it as it was.
        known = seen.differing
        changed = differing(seen.changes.to_read, seen.known, scope.max_filesize) if known is None else known
    plan = preview(seen.walk, scope)
    name = model or recorded or settings.model
    options = LoadOptions(engine, settings=replace(settings, offline=True))
    estimate = _estimate(changed, scope, name, options, 0.1 if quick else 1.0)
    folders: Counter[str] = Counter()
    for file in files:
        for parent in _folders(file.path):
            folders[parent] += file.size
    return Preflight(
        plan,
        estimate,
        tuple((file.path, file.size) for file in sorted(files, key=lambda file: -file.size)[:_LARGEST]),
        tuple((folder, size) for folder, size in folders.most_common(_LARGEST)),
        tuple(_warnings(plan, folders)),
    )


def _estimate(
    files: Sequence[SourceFile], scope: IndexScope, name: str, options: LoadOptions, effort: float
) -> Estimate:
    size = sum(file.size for file in files)
    started = time.perf_counter()
    texts, sampled = _sample(files, scope, round(_SAMPLE_FILES * effort))
    chunking = (time.perf_counter() - started) / sampled * size if sampled else 0.0
    chunks = round(len(texts) * size / sampled) if sampled else 0
    chars = sum(map(len, texts)) / len(texts) * chunks if texts else 0.0
    try:
        lease = DEFAULT_MANAGER.embedding(name, options)
    except (ModelNotFoundError, UsageError):
        return Estimate(name, len(files), size, chunks, None, None, None, round(chars * _ROW_BYTES))
    with lease:
        model = lease.model
        disk = round(chars * _ROW_BYTES + chunks * model.dimensions * 2)
        if not texts:
            return Estimate(model.name, len(files), size, 0, 0, 0.0, peak_resident_bytes(), 0)
        tokens = round(sum(model.count_tokens(texts)) / len(texts) * chunks)
        embedder = IndexingEmbedder(model, keep=False)
        embedder.embed_documents(texts[:4])  # the first call compiles
        rate = 0.0
        begun, done, before = time.perf_counter(), 0, model.tokens_embedded
        while done < len(texts) and (time.perf_counter() - begun < _SAMPLE_SECONDS * effort or not done):
            embedder.embed_documents(texts[done : done + 16])
            done += 16
            rate = (model.tokens_embedded - before) / (time.perf_counter() - begun)
        seconds = chunking + tokens / rate
        return Estimate(model.name, len(files), size, chunks, tokens, seconds, peak_resident_bytes(), disk)


def _sample(files: Sequence[SourceFile], scope: IndexScope, most: int) -> tuple[list[str], int]:
    """Chunks of some files as they would be embedded, and the size of those files."""
    chosen = random.Random(0).sample(list(files), min(most, len(files)))  # noqa: S311 - not for secrets
    texts: list[str] = []
    size = 0
    for file in chosen:
        source = read_source(file, max_filesize=scope.max_filesize)
        size += file.size
        if not isinstance(source, Skipped):
            chunks = chunk_text(source.path, source.text, source.language, max_chars=MAX_CHUNK_CHARS)
            texts += [embedded_text(chunk) for chunk in chunks]
    return texts, size


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))]


def _warnings(plan: Preview, folders: Counter[str]) -> list[str]:
    found: list[str] = []
    told: list[str] = []
    for folder, size in folders.most_common():
        what = next((what for what, names in _NOT_SOURCE.items() if folder.split("/")[-2].lower() in names), None)
        if what is None or size < max(_NOTEWORTHY_BYTES, _NOTEWORTHY_SHARE * plan.bytes):
            continue
        if any(folder.startswith(other) for other in told):
            continue
        told.append(folder)
        found.append(
            f"{folder} looks like {what} and is {size / max(plan.bytes, 1):.0%} of what would be indexed; "
            f"a line `/{folder}` in .tpignore leaves it out"
        )
    for language, (files, size) in plan.languages.items():
        if language in DATA_LANGUAGES and size > max(_NOTEWORTHY_BYTES, 0.5 * plan.bytes):
            found.append(
                f"{files:,} files of {language or 'plain text'} are {size / plan.bytes:.0%} of what would be indexed; "
                "if they are data, leave them out with lines in .tpignore"
            )
    return found
