"""What indexing a folder would take in and leave out, without doing it."""

from __future__ import annotations

from dataclasses import dataclass

from turboprop.code.read import read_source
from turboprop.code.walk import Skipped, Walk
from turboprop.types import DEFAULT_SCOPE, IndexScope


@dataclass(frozen=True, slots=True)
class Preview:
    """What `tp index --dry-run` tells. `languages` maps to (files, bytes), `left_out` maps a reason to
    (count, some paths)."""

    files: int
    bytes: int
    languages: dict[str, tuple[int, int]]
    left_out: dict[str, tuple[int, list[str]]]
    notes: list[str]


def preview(found: Walk, scope: IndexScope = DEFAULT_SCOPE) -> Preview:
    """Read every file of a walk (of `scope`) as indexing would, and say what becomes of it; writes nothing."""
    languages: dict[str, tuple[int, int]] = {}
    left: dict[str, tuple[int, list[str]]] = {}
    skipped = list(found.skipped)
    files = size = 0
    for file in found.files[: scope.limit]:
        source = read_source(file, max_filesize=scope.max_filesize)
        if isinstance(source, Skipped):
            skipped.append(source)
            continue
        count, total = languages.get(source.language, (0, 0))
        languages[source.language] = (count + 1, total + file.size)
        files, size = files + 1, size + file.size
    for item in skipped:
        count, examples = left.get(item.reason, (0, []))
        left[item.reason] = (count + 1, [*examples, item.path][:3])
    return Preview(
        files,
        size,
        dict(sorted(languages.items(), key=lambda entry: -entry[1][1])),
        dict(sorted(left.items(), key=lambda entry: -entry[1][0])),
        found.notes,
    )
