"""The development set of `scripts/bench localize`: fixes in the history of real repositories, held out by time.

    .venv-bench/bin/python benchmarks/localize_set.py --corpora DIR --labels DIR [--only NAMES]

DIR/<name> is a clone, with its history, of each repository of LABELS/semble/repos.json. Of the newest commits those are
taken that say at length (more than 20 different words) what was wrong, or name an issue, and change one to ten files
of code. Merges, releases, updates of dependencies, formatting, documentation and tests are not, nor are messages that
give the name of a file which they change. `base` is the parent of the oldest one: what is indexed ends there, and the
history, too. The result, benchmarks/localize.json, is a list of hashes with the touched files that are there at `base`;
no text of anybody's is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from turboprop.code.detect import language_by_name
from turboprop.search.analysis import LONG_WORDS
from turboprop.search.path_rules import place_of

RESULT = Path(__file__).parent / "localize.json"
MOST, LOOKED_AT = 40, 6_000
MOST_FILES = 10
_WRONG = re.compile(
    r"\b(?:fix\w*|bugs?|issues?|errors?|crash\w*|wrong\w*|incorrect\w*|regress\w*|broken|breaks?|fail\w*|leak\w*|races?|"
    r"deadlock\w*|panic\w*|invalid|unexpected\w*|missing|prevent\w*|avoid\w*|instead of|should(?:n't)?)\b|#\d+",
    re.IGNORECASE,
)
_DROPPED = re.compile(
    r"(?:merge|revert|bump|release|prepare|version|upgrade|update (?:dep|to|version|go|readme)|deps|chore|ci|tests?"
    r"|style|lint|format|backport|build)\b"
    r"|[^\n]*(?:\b(?:typos?|rustfmt|prettier|clippy|reformat\w*|changelog|warnings?|readme)\b|doc(?:s|umentation)?\b)",
    re.IGNORECASE,
)
_SET_UP = re.compile(
    r"(?:^|/)(?:setup|conf|noxfile)\.py$|(?:^|/)(?:mix\.exs|Package\.swift|build\.rs|Rakefile)$|^examples?/"
)
_TRAILER = re.compile(r"^\s*(?:[A-Z][a-z]+(?:-[A-Za-z]+)+: .*|\(cherry picked from .*|-{3,}\s*)$", re.MULTILINE)
_NUMBER = re.compile(r"\s*\(?(?:(?:fix|close|resolve)\w* +)?(?:[\w.-]+/[\w.-]+)?(?:#|\bGH-)\d+\)?", re.IGNORECASE)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def query_of(message: str) -> str:
    """What a message says was wrong: without trailers and the numbers of issues, which name the fix itself."""
    return _NUMBER.sub("", _TRAILER.sub("", message)).strip()


def is_code(path: str) -> bool:
    name = path.rpartition("/")[2]
    language = language_by_name(name, Path(name).suffix.lower())
    place = place_of(path, language)
    data = language in ("", "json", "yaml", "toml", "xml", "csv", "html", "css", "ini")
    return not (data or place.is_test or place.is_prose or _SET_UP.search(path))


def made(root: Path) -> dict[str, Any] | None:
    """The base and the held-out commits of one repository, None where it has too few."""
    marked = git(
        root,
        "log",
        "origin/HEAD",
        f"-{LOOKED_AT}",
        "--no-merges",
        "--format=%x01%H%x02%B%x03",
        "--name-only",
        "--no-renames",
    )
    chosen: list[tuple[str, list[str]]] = []
    for entry in marked.split("\x01")[1:]:
        commit, _, rest = entry.partition("\x02")
        message, _, names = rest.partition("\x03")
        files = [name for name in names.strip().split("\n") if name and is_code(name)]
        text = query_of(message)
        if not 1 <= len(files) <= MOST_FILES or _DROPPED.match(message) or not _WRONG.search(message):
            continue
        if len(set(re.findall(r"\w+", text.lower()))) <= LONG_WORDS:
            continue
        # A message that names its file by name and ending needs no search.
        if any(name.rpartition("/")[2].lower() in text.lower() for name in files):
            continue
        chosen.append((commit, files))
    best: list[dict[str, Any]] = []
    base = ""
    # The base moves back with each commit that is taken, and a file that is not there yet cannot be found.
    for count in range(MOST, len(chosen) + MOST, MOST // 4):
        base = git(root, "rev-parse", f"{chosen[:count][-1][0]}^").strip()
        there = set(git(root, "ls-tree", "-r", "--name-only", "-z", base).split("\0"))
        kept = [(commit, [name for name in files if name in there]) for commit, files in chosen[:count]]
        best = [{"commit": commit, "files": files} for commit, files in kept if files]
        if len(best) >= MOST:
            break
    return {"base": base, "fixes": best[:MOST]} if len(best) >= MOST // 2 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--only", help="names of repositories, by commas")
    options = parser.parse_args()
    result = {}
    entries = json.loads((options.labels / "semble" / "repos.json").read_text())
    for entry in entries:
        root = options.corpora / entry["name"]
        if not root.is_dir() or (options.only and entry["name"] not in options.only.split(",")):
            continue
        found = made(root)
        print(entry["name"], "too few" if found is None else len(found["fixes"]))
        if found is not None:
            result[entry["name"]] = {"url": entry["url"], **found}
    rows = (f'  "{name}": {json.dumps(one)}' for name, one in result.items())
    RESULT.write_text("{\n" + ",\n".join(rows).replace('{"commit"', '\n   {"commit"') + "\n}\n")


if __name__ == "__main__":
    main()
