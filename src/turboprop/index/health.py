"""Is an index what it says it is: its files, rows against manifest, vectors, search indexes, leftovers.

Reads everything that an index holds (0.2 s for 25,000 rows of 384 dimensions) and changes nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from turboprop.errors import IndexUntrustedError, RepositoryIndexError
from turboprop.files import UNFINISHED
from turboprop.index import maintain, refresh, schema
from turboprop.index.adapter import AdapterError, read_adapter
from turboprop.index.failures import translated
from turboprop.index.holder import HOLDER_FILE, read_holder
from turboprop.index.integrity import find_damage, irregular_entries
from turboprop.index.lance_table import damaged_versions
from turboprop.index.lexicon import Lexicon, LexiconError
from turboprop.index.lexicon_build import made_from
from turboprop.index.lock import LOCK_FILE, is_being_written
from turboprop.index.manifest import Header, read_manifest
from turboprop.index.provenance import manifest_files
from turboprop.index.read import IndexReader
from turboprop.index.recover import ignores_all, made_with, newest_version, right_hint
from turboprop.index.reuse import vector_array
from turboprop.index.schema import lexicon_file
from turboprop.settings.project import INDEX_ENTRY

Repair = Literal["", "rebuild", "index", "maintain", "remove", "caches"]
"""What mends a finding: a new index, an ordinary run, upkeep alone, deleting a leftover, mending what is kept beside
indexes; nothing by itself."""
FOREIGN = "index of someone else"
"""The subject of a finding that only the user can settle; beside one, no index is made anew."""
_EXAMPLES = 3
_UPKEEP = "mend it: tp doctor --fix"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and its repair in words and as a step.

    `path` is what a leftover is called in the index folder, `model` what a rebuild or a run is made with.
    """

    subject: str
    problem: str
    advice: str
    repair: Repair = ""
    path: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What was looked at. Sizes in bytes. `made_here`: the user chose the model, or else it is a name to compare."""

    table: str
    model: str
    rows: int
    files: int
    versions: int
    bytes: int
    made_here: bool = True


def examine(directory: Path) -> tuple[list[IndexFacts], list[Finding]]:
    """Look at every table of an index folder, the one written last at the end. Never raises for what is wrong in it."""
    facts: list[IndexFacts] = []
    findings: list[Finding] = []
    try:
        manifests = manifest_files(directory)
        if found := next(irregular_entries(directory), None):
            raise IndexUntrustedError(
                f"{found} is a link, no file, or a folder in a file's place, and an index has none"
            )
    except IndexUntrustedError as error:
        return [], [Finding("index", str(error), "look at it and remove it, then make the index anew: tp index")]
    except OSError as error:
        return [], [Finding("index", f"{directory} cannot be read: {error.strerror}", "change its permissions")]
    sound: list[Header] = []
    for path in manifests:
        try:
            manifest = read_manifest(path)
        except IndexUntrustedError as error:
            findings.append(Finding(FOREIGN, str(error), "use it: tp trust; or make your own: tp index --rebuild"))
        except RepositoryIndexError as error:
            table = schema.table_folder(directory, path.name.removesuffix(".manifest.json"))
            findings.append(_rebuild("index", str(error), made_with(table)))
        else:
            sound.append(manifest.header)
    for header in sorted(sound, key=lambda header: header.updated):
        findings += _table(directory, header, facts)
    if not manifests:
        orphan = next((made_with(folder) for folder in sorted(directory.glob("chunks_*.lance"))), "")
        findings.append(
            Finding("index", f"there is none in {directory}", f"make one: {_command(orphan)}", "index", model=orphan)
        )
    if directory.exists():
        findings += _folder(directory, manifests)
    return facts, findings


def _table(directory: Path, header: Header, facts: list[IndexFacts]) -> Iterator[Finding]:
    """What is wrong with one table whose manifest is sound."""
    model = header.spec.model if header.made_here else ""
    path = schema.manifest_file(directory, header.table)
    folder = schema.table_folder(directory, header.table)
    try:
        with translated(directory, "examine the index"):
            manifest = read_manifest(path)
            damage = list(find_damage(folder, manifest.stored))
            for problem in damage[:_EXAMPLES]:
                yield _rebuild("stored file", problem, model)
            if damage:
                return
            with IndexReader.open(directory, header.spec.fingerprint, header.spec.model) as reader:
                facts.append(_facts(directory, reader, len(manifest.files)))
                yield from _rows(reader, {name: file.chunks for name, file in manifest.files.items()}, model)
                yield from _upkeep(directory, reader, folder)
                yield from _adapter(directory, header)
            if not header.complete:
                yield Finding("index", f"{path.name} is of a run that did not end", "go on: tp index", "index")
            elif header.waiting and not is_being_written(directory):
                yield Finding("vectors", f"{header.waiting} chunks have none yet", "go on: tp index", "index")
    except RepositoryIndexError as error:
        yield _rebuild("index", str(error), model)


def _rebuild(subject: str, problem: str, model: str) -> Finding:
    lost = "" if model else " (with which model it was made cannot be read)"
    return Finding(subject, problem + lost, f"make it anew: {_command(model, '--rebuild')}", "rebuild", model=model)


def _command(model: str, *options: str) -> str:
    return " ".join(["tp index", *options, *(["--model", model] if model else [])])


def remove_leftover(directory: Path, finding: Finding) -> None:
    """Delete what a `remove` finding names, inside the index folder only."""
    path = directory / finding.path
    if not finding.path or path.resolve().parent != directory.resolve():
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _facts(directory: Path, reader: IndexReader, files: int) -> IndexFacts:
    header = reader.header
    folder = schema.table_folder(directory, header.table)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    versions = len(reader.dataset.version_refs())
    return IndexFacts(header.table, header.spec.model, header.rows, files, versions, size, header.made_here)


def _rows(reader: IndexReader, chunks: dict[str, int], model: str) -> Iterator[Finding]:
    """Rows against the manifest, and every vector."""
    import numpy as np

    width = reader.header.spec.dimensions
    counted: dict[str, int] = {}
    broken = 0
    zero = 0
    waiting = 0
    columns = [schema.PATH, *([schema.VECTOR] if width else [])]
    for batch in reader.dataset.scanner(columns=columns).to_batches():
        for path in batch[schema.PATH].to_pylist():
            counted[path] = counted.get(path, 0) + 1
        if not width:
            continue
        waiting += batch[schema.VECTOR].null_count
        vectors = vector_array(_Column(batch[schema.VECTOR].drop_null()), width)
        broken += int((~np.isfinite(vectors).all(axis=1)).sum())
        zero += int((~vectors.any(axis=1)).sum())
    if orphans := sorted(set(counted) - set(chunks)):
        yield _rebuild("rows", f"{len(orphans)} files have rows and are not in the manifest{_some(orphans)}", model)
    if wrong := sorted(path for path, count in chunks.items() if counted.get(path, 0) != count):
        yield _rebuild("rows", f"{len(wrong)} files have other rows than the manifest says{_some(wrong)}", model)
    if waiting != reader.header.waiting:
        told = f"{waiting} rows have no vector where the manifest says {reader.header.waiting}"
        yield _rebuild("vectors", told, model)
    if broken:
        yield _rebuild("vectors", f"{broken} vectors are not finite", model)
    if zero:
        yield _rebuild("vectors", f"{zero} vectors are all zero and can never be found by meaning", model)


class _Column:
    """One array with the face of a chunked one."""

    def __init__(self, array: Any) -> None:
        self.chunks = [array]


def _upkeep(directory: Path, reader: IndexReader, folder: Path) -> Iterator[Finding]:
    header = reader.header
    for index in maintain.coverage(reader.dataset).values():
        if index.unindexed_rows > maintain.UNINDEXED_VECTORS:
            yield Finding("search index", f"{index.unindexed_rows} rows are not in it yet", _UPKEEP, "maintain")
    path = lexicon_file(directory, header.table, header.version)
    try:
        Lexicon.open(path, header.version, made_from(directory, header.table, header.version))
    except OSError:
        yield Finding("words", f"{path.name} is missing; each search makes it anew", _UPKEEP, "maintain")
    except LexiconError as error:
        yield Finding("words", str(error), _UPKEEP, "maintain")
    if is_being_written(directory):
        return  # what follows is how a run looks in its middle
    if damaged := damaged_versions(reader.dataset, folder):
        problem = f"what describes {len(damaged)} old ones is damaged{_some([str(version) for version in damaged])}"
        yield Finding("versions", problem, _UPKEEP, "maintain")
    if newest_version(folder) != header.version:
        problem = "a run died between two of its steps; what it wrote last counts for nothing"
        yield Finding("versions", problem, _UPKEEP, "maintain")
    elif not right_hint(folder):
        yield Finding("versions", "the note of the newest version is missing or damaged", _UPKEEP, "maintain")


def _adapter(directory: Path, header: Header) -> Iterator[Finding]:
    try:
        read_adapter(directory, header)
    except AdapterError as error:
        name = schema.adapter_file(directory, header.table).name
        yield Finding(
            "adapter", f"{error}; it is not used", "learn it anew: tp tune; or tp doctor --fix", "remove", name
        )


def _folder(directory: Path, manifests: list[Path]) -> Iterator[Finding]:
    """The small files beside the tables, and what no table needs."""
    if manifests:
        if not ignores_all(directory):
            yield Finding("folder", ".gitignore does not keep the index out of Git", _UPKEEP, "maintain")
        lock = directory / LOCK_FILE
        if not lock.exists() or lock.stat().st_size:
            yield Finding("folder", f"{LOCK_FILE} is missing or is not empty", _UPKEEP, "maintain")
    yield from _leftovers(directory, {path.name.removesuffix(".manifest.json") for path in manifests})


def _leftovers(directory: Path, tables: set[str]) -> Iterator[Finding]:
    """Tables that no manifest names, and temporary files of writers that died."""
    written = is_being_written(directory)
    for path in sorted(directory.glob("*")):
        name = path.name
        if not INDEX_ENTRY.fullmatch(name):
            continue  # what lies here beside an index is someone else's
        orphan = name.endswith(".lance") and name.removesuffix(".lance") not in tables
        words = name.endswith((".lexicon", ".adapter")) and name.split(".")[0] not in tables
        if orphan or words:
            what = "of a table that no manifest names"
        elif name.startswith((UNFINISHED, ".lexicon-")) or (name == HOLDER_FILE and _is_left(path)):
            what = "a temporary file of a run that died"
        elif name == refresh.CHECK_FILE and not refresh.is_sound(directory):
            what = "damaged; it says how long a look for changes takes, and is written anew"
        else:
            continue
        if not written:
            yield Finding("leftover", f"{name} is {what}", "remove it: tp doctor --fix", "remove", name)


def _is_left(path: Path) -> bool:
    """Whether nobody can be behind the file that names a writer: one on another machine may be at work."""
    holder = read_holder(path)
    return holder is None or holder.is_gone()


def _some(paths: list[str]) -> str:
    return f": {', '.join(paths[:_EXAMPLES])}" + (", ..." if len(paths) > _EXAMPLES else "")
