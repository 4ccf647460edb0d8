"""What an agent pays for an answer: tokens of returned text until the relevant file is among them.

    scripts/bench agent --corpora DIR --labels DIR [--indexes DIR] [--model NAME] [--only NAMES]

As the semble benchmark counts (its README, "Token efficiency"): the 50 best chunks are read in their order; a file with
a label is covered once any returned text comes from it; tokens are those of cl100k_base; a query that finds no labelled
file costs 32,000. Two texts of a hit are counted: its chunk (what Python and JSON give), and what the MCP tool
`search_code` prints for it, with its place and line numbers.

tiktoken fetches cl100k_base at its first use; without network, `TIKTOKEN_CACHE_DIR` names a folder that holds it (the
wheel of litellm does, under `litellm_core_utils/tokenizers`). Results: benchmarks/results/agent.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tiktoken

sys.path.insert(0, str(Path(__file__).parent))
from retrieval_score import Found, Label, category, labels, meets
from turboprop import Index
from turboprop.edges.mcp.text import SNIPPET_LINES, hits_page
from turboprop.types import Hit

RESULTS = Path(__file__).parent / "results" / "agent.json"
BUDGETS = (500, 1_000, 2_000, 4_000, 8_000)
HITS, NEVER = 50, 32_000


def printed(hit: Hit) -> str:
    """What `search_code` prints for a hit, without the line that heads a page."""
    return hits_page([hit], 0, 1, SNIPPET_LINES).partition("\n")[2]


TEXTS: dict[str, Callable[[Hit], str]] = {"whole chunks": lambda hit: hit.text, "search_code of MCP": printed}


def cost(hits: Sequence[Hit], prefix: str, wanted: Sequence[Label], tokens: Sequence[int]) -> list[int | None]:
    """Tokens read when each labelled file first appeared, None for one that never did."""
    files = {label.path: Label(label.path, None, None) for label in wanted}
    read = 0
    covered: dict[str, int] = {}
    for hit, count in zip(hits, tokens, strict=True):
        read += count
        here = Found(prefix + hit.path, hit.start_line, hit.end_line)
        for path, label in files.items():
            if meets(here, label):
                covered.setdefault(path, read)
    return [covered.get(path) for path in files]


def summary(costs: Sequence[list[int | None]]) -> dict[str, Any]:
    """Mean recall within each budget, and mean tokens to the first relevant hit."""

    def recall(budget: int) -> float:
        return statistics.fmean(
            sum(at is not None and at <= budget for at in each) / len(each) for each in costs if each
        )

    first = [min((at for at in each if at is not None), default=NEVER) for each in costs if each]
    return {
        "queries": len(first),
        "recall": {str(budget): round(recall(budget), 4) for budget in BUDGETS},
        "expected tokens": round(statistics.fmean(first)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, default=Path(tempfile.gettempdir()) / "tp-bench-indexes")
    parser.add_argument("--model")
    parser.add_argument("--only", help="names of repositories, by commas")
    options = parser.parse_args()
    counter = tiktoken.get_encoding("cl100k_base")
    entries = json.loads((options.labels / "semble" / "repos.json").read_text())
    only = set(options.only.split(",")) if options.only else {entry["name"] for entry in entries}
    costs: dict[str, list[tuple[str, list[int | None]]]] = {name: [] for name in TEXTS}
    for entry in entries:
        root = options.corpora.resolve() / entry["name"] / (entry["benchmark_root"] or "")
        if entry["name"] not in only or not root.is_dir():
            continue
        prefix = f"{entry['benchmark_root']}/" if entry["benchmark_root"] else ""
        items = json.loads((options.labels / "semble" / "annotations" / f"{entry['name']}.json").read_text())
        with Index.create(root, options.model, index_dir=options.indexes / entry["name"]) as index:
            model = index.model_name
            for item in items:
                hits = index.search(item["query"], HITS)
                for name, text in TEXTS.items():
                    tokens = [len(counter.encode(text(hit), disallowed_special=())) for hit in hits]
                    costs[name].append((category(item), cost(hits, prefix, labels(item), tokens)))
        print(entry["name"], file=sys.stderr)
    result: dict[str, Any] = {"model": model}
    for name, rows in costs.items():
        kinds = sorted({kind for kind, _ in rows})
        result[name] = {
            **summary([each for _, each in rows]),
            "categories": {of: summary([each for kind, each in rows if kind == of]) for of in kinds},
        }
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result["commit"] = commit.stdout.strip()
    print(json.dumps(result, indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
