"""Indexing another worktree of a repository, as a share of indexing the first.

    scripts/bench second_worktree --repo FOLDER

FOLDER is a Git repository; both worktrees are made anew in a scratch folder, with a cache of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from turboprop import EmbeddingModel, Index
from turboprop.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "second_worktree.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = replace(load_settings(), cache_home=Path(scratch) / "cache")
        EmbeddingModel.load(settings=settings).close()  # the conversion of the model is not what is measured
        result: dict[str, object] = {}
        seconds = []
        for name in ("first", "second"):
            tree = Path(scratch) / name
            subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", options.repo, tree], check=True)
            started = time.perf_counter()
            with Index.create(tree, settings=settings) as index:
                summary = index.summary
            seconds.append(time.perf_counter() - started)
            assert summary is not None
            result[name] = {
                "seconds": round(seconds[-1], 2),
                "chunks": summary.chunks,
                "embedded": summary.embedded_chunks,
                "known": summary.cached_chunks,
            }
    result["times_faster"] = round(seconds[0] / seconds[1], 1)
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
