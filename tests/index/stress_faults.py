"""Damage one file of an index at random; `tp doctor` must find it and `tp doctor --fix` mend it.

    python tests/index/stress_faults.py [--repo FOLDER] [--faults 500] [--seed 0] [--model NAME]

FOLDER (this project's index room) is copied and indexed once. Each fault works on a copy of that index: a flipped
bit, a cut, a deletion, bytes that are zeroed or appended, at a random place of a random file of `.turboprop`. Then
the doctor must name it, the repair must leave an index whose rows, vectors and rankings are those of before, and
nothing may end in anything but an error of ours. A fault that nothing finds counts only where the whole content of
the index is as before. Prints one line of JSON and ends with 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from turboprop import Index
from turboprop.errors import TurboPropError
from turboprop.workspace.diagnosis import diagnose, repair
from turboprop.workspace.location import Location

KINDS = ("flip", "cut", "delete", "zero", "append")
QUERIES = ("write rows to the table", "hold a version while reading", "sum of a file")


def damage(file: Path, kind: str, source: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = source.randrange(len(content)) if content else 0
    if kind == "flip" and content:
        content[at] ^= 1 << source.randrange(8)
    elif kind == "cut" and content:
        del content[at:]
    elif kind == "zero" and content:
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif kind == "append" or not content:
        content += source.randbytes(1 + source.randrange(40))
    if kind == "delete":
        file.unlink()
    else:
        file.write_bytes(content)


def content_of(root: Path) -> Any:
    """Rows with their vectors, and what three questions find; errors of ours are an answer, too."""
    try:
        with Index.open(root) as index:
            rows = index.reader.rows_where("start_line > 0", ["path", "start_line", "end_line", "text", "vector"])
            ranked = [
                [
                    (hit.path, hit.start_line, round(hit.score, 4))
                    for hit in index.search(query, limit=10, freshness="none")
                ]
                for query in QUERIES
            ]
    except TurboPropError as error:
        return type(error).__name__
    return sorted(
        (row["path"], row["start_line"], row["end_line"], row["text"], str(row["vector"])) for row in rows
    ), ranked


def outcome(root: Path, file: str, kind: str, source: random.Random, before: Any) -> str:
    """What became of one fault: empty where it was found and mended, or changed nothing."""
    target = root / ".turboprop" / file
    saved = target.read_bytes()
    damage(target, kind, source)
    if target.exists() and target.read_bytes() == saved:
        return ""  # zeros over zeros
    found = diagnose(Location.at(root))
    seen = content_of(root)
    if not found.findings:
        # A folder says of itself what is not needed: a missing record of how long a look takes, say.
        return "" if seen == before else "changed what is found, and the doctor says that all is well"
    repair(Location.at(root), found)
    if left := diagnose(Location.at(root)).findings:
        return f"not mended: {left[0].problem}"
    return "" if content_of(root) == before else "mended into something else"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, default=Path(__file__).parents[2] / "src" / "turboprop" / "index")
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    given = parser.parse_args()
    os.environ["TP_SERVER"] = "0"
    source = random.Random(given.seed)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        sound, root = Path(scratch) / "sound", Path(scratch) / "repository"
        shutil.copytree(given.repo, root)
        for path in root.rglob("*"):
            os.utime(path, (1.6e9, 1.6e9))
        Index.create(root, given.model).close()
        (root / next(path.name for path in sorted(root.iterdir()) if path.suffix == ".py")).open("a").write("# more\n")
        with Index.create(root) as index:
            index.bring_in()
        before = content_of(root)
        assert diagnose(Location.at(root)).findings == []
        shutil.copytree(root / ".turboprop", sound)
        for number in range(given.faults):
            shutil.rmtree(root / ".turboprop")
            shutil.copytree(sound, root / ".turboprop")
            files = sorted(str(path.relative_to(sound)) for path in sound.rglob("*") if path.is_file())
            file, kind = source.choice(files), source.choice(KINDS)
            try:
                if wrong := outcome(root, file, kind, source, before):
                    failures.append(f"{number}: {kind} of {file}: {wrong}")
            except Exception as error:  # a traceback is what must never come
                failures.append(f"{number}: {kind} of {file}: {type(error).__name__}: {error}")
            if sys.stderr.isatty() or number % 50 == 49:
                print(f"{number + 1} faults, {len(failures)} failures", file=sys.stderr)
    print(json.dumps({"faults": given.faults, "seed": given.seed, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
